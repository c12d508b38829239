"""Find the linear layers of a module that can be replaced, and put others in their places, wherever they stand."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer in fp32: its first name, and every name that the same module, or another of the same weight, has.

    `left` says why it keeps its weight; "" where it can be replaced. Of one weight's layers those to leave stand apart.
    """

    name: str
    names: tuple[str, ...]
    left: str = ""


def linear_layers(module: "torch.nn.Module", leave: Collection[str] = ()) -> tuple[LinearLayer, ...]:
    """List the linear layers in fp32 that are called as layers, those of one weight together.

    Attention reads the weights of its projections itself, so they are none. A weight that a module of another type
    holds too, as an embedding that is tied to the head, is left: it stays in fp32 for that one's sake.
    """
    import torch

    inside = {id(child) for layer in module.modules() if _is_attention(layer) for child in layer.modules()}
    kept = {id(layer) for name, layer in module.named_modules(remove_duplicate=False) if name in leave}
    of_weight: dict[tuple[int, bool], list[str]] = {}
    elsewhere: dict[int, str] = {}
    for name, layer in module.named_modules(remove_duplicate=False):
        plain = type(layer) is torch.nn.Linear and id(layer) not in inside
        for own, parameter in layer.named_parameters(recurse=False, remove_duplicate=False):
            if not plain or own != "weight":
                elsewhere.setdefault(id(parameter), name)
            elif parameter.dtype == torch.float32:
                of_weight.setdefault((id(parameter), id(layer) in kept), []).append(name)
    return tuple(
        LinearLayer(names[0], tuple(names), _left(elsewhere.get(weight), is_kept=is_kept))
        for (weight, is_kept), names in of_weight.items()
    )


def _is_attention(layer: "torch.nn.Module") -> bool:
    import torch

    return isinstance(layer, torch.nn.MultiheadAttention)


def _left(elsewhere: str | None, *, is_kept: bool) -> str:
    if is_kept:
        return "it is to keep its precision"
    return "" if elsewhere is None else f"its weight is also that of {elsewhere}, which needs it in fp32"


def check_finite(module: "torch.nn.Module", names: Collection[str]) -> None:
    """Raise PreconditionError X290 for a weight that holds NaN or infinity: its block would be lost with it."""
    for name in names:
        weights = [value for value in module.get_submodule(name).parameters(recurse=False) if value.ndim > 1]
        broken = sum(int((~weight.isfinite()).sum()) for weight in weights)
        if broken:
            count = sum(weight.numel() for weight in weights)
            message = f"{broken} of the {count} weights of {name or 'the layer'} are NaN or infinite"
            raise PreconditionError(Diagnostic("X290", message, help="train the model again, or mend its weights"))


def replaced(module: "torch.nn.Module", layers: "Mapping[str, torch.nn.Module]") -> "torch.nn.Module":
    """Put layers in the places of a module that they are named for, in place, and return the module.

    A layer of torch's encoder reads the weights of its linear layers itself where it may: that is switched off.
    """
    import torch

    for name, layer in layers.items():
        if not name:
            return layer
        module.set_submodule(name, layer)
    for parent in module.modules():
        if isinstance(parent, torch.nn.TransformerEncoderLayer):
            parent.activation_relu_or_gelu = 0
        if isinstance(parent, torch.nn.TransformerEncoder):
            parent.use_nested_tensor = False
    return module


def weighted(module: "torch.nn.Module") -> Iterator[str]:
    """Yield the names of the layers with weights of two axes or more, those of few bits among them."""
    for name, layer in module.named_modules():
        weights = any(value.ndim > 1 for value in layer.parameters(recurse=False))
        if weights or hasattr(type(layer), "executed_precision"):
            yield name
