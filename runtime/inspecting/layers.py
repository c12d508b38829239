"""List a module's layers and count its bytes, tied weights once."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from titrant.schema.facts import Layer

if TYPE_CHECKING:
    import torch


def list_layers(module: "torch.nn.Module", flops: Mapping[str, int]) -> tuple[Layer, ...]:
    """List the leaf modules, and others with weights of their own, in the order in which they are registered.

    `flops` counts one case by module name. Tied weights belong to the first layer that has them.
    """
    seen: set[int] = set()
    layers = []
    for name, part in module.named_modules():
        own = list(part.parameters(recurse=False))
        if next(part.children(), None) is not None and not own:
            continue
        first = [tensor for tensor in own if id(tensor) not in seen]
        seen |= {id(tensor) for tensor in own}
        buffers = [tensor for _, tensor in _saved_buffers(part)]
        weight = getattr(part, "weight", None)
        layers.append(
            Layer(
                name=name or type(part).__name__,
                type=type(part).__name__,
                parameters=sum(tensor.numel() for tensor in first),
                weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in [*first, *buffers]),
                weight_shape=() if weight is None or not hasattr(weight, "shape") else tuple(weight.shape),
                flops=flops.get(name),
                trainable=sum(tensor.numel() for tensor in first if tensor.requires_grad),
                dtype=dtype_name(weight if hasattr(weight, "dtype") else next(iter([*own, *buffers]), None)),
                groups=getattr(part, "groups", 1) if type(part).__name__.startswith("Conv") else 1,
                custom=not type(part).__module__.startswith("torch."),
            )
        )
    return tuple(layers)


def model_bytes(module: "torch.nn.Module") -> int:
    """Return the bytes of all parameters and saved buffers, tied ones once: what a weights file holds."""
    tensors: dict[int, torch.Tensor] = {id(tensor): tensor for tensor in module.parameters()}
    tensors |= {id(tensor): tensor for part in module.modules() for _, tensor in _saved_buffers(part)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def dtype_name(tensor: "torch.Tensor | None") -> str:
    """Write a tensor's dtype as torch names it, such as float32; "" for none."""
    return "" if tensor is None else str(tensor.dtype).removeprefix("torch.")


def _saved_buffers(part: "torch.nn.Module") -> "Iterator[tuple[str, torch.Tensor]]":
    unsaved = part._non_persistent_buffers_set
    return ((name, tensor) for name, tensor in part.named_buffers(recurse=False) if name not in unsaved)
