"""List a module's layers and count its bytes, tied weights once."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from titrant.schema.facts import Layer

if TYPE_CHECKING:
    import torch


def list_layers(module: "torch.nn.Module", flops: Mapping[str, int], unread: Collection[str] = ()) -> tuple[Layer, ...]:
    """List the leaf modules, and others with weights of their own, in the order in which they are registered.

    `flops` counts one case by module name, `unread` names modules whose weights the forward pass does not read. Tied
    weights belong to the first layer that has them.
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
        weight = _weight(part)
        kind = _type(part)
        layers.append(
            Layer(
                name=name or type(part).__name__,
                type=kind,
                parameters=sum(tensor.numel() for tensor in first),
                weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in [*first, *buffers]),
                weight_shape=tuple(getattr(weight, "shape", ())),
                flops=flops.get(name),
                trainable=sum(tensor.numel() for tensor in first if tensor.requires_grad),
                dtype=dtype_name(weight if hasattr(weight, "dtype") else next(iter([*own, *buffers]), None)),
                groups=getattr(part, "groups", 1) if kind.startswith("Conv") else 1,
                custom=not type(part).__module__.startswith("torch."),
                unread=name in unread,
            )
        )
    return tuple(layers)


def _weight(part: "torch.nn.Module") -> Any:
    """Return a part's weight: attention holds those of query, key and value as one."""
    weight = getattr(part, "weight", None)
    return getattr(part, "in_proj_weight", None) if weight is None else weight


def _type(part: "torch.nn.Module") -> str:
    """Name a part's class; torch puts one of its own before that of a part whose weight is made of others."""
    made = type(part)
    return made.__bases__[0].__name__ if hasattr(part, "parametrizations") else made.__name__


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
