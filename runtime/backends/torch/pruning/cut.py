"""Cut a module's tensors down to what a record says is kept, for good or for a while."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.pruning.attention import Heads, NarrowAttention
from titrant.schema.values.frozen import dataclass

# The dimension that a layer's outputs and inputs share, as in a normalization or a depthwise convolution.
OUT, IN, BOTH, HEADS = "out", "in", "both", "heads"
_CONVOLUTION = torch.nn.modules.conv._ConvNd
_BY_CHANNEL = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.instancenorm._InstanceNorm)


@dataclass(frozen=True)
class Layout:
    """Which dimension of each tensor of a layer is its outputs or inputs, and the attributes that count these."""

    tensors: Mapping[str, tuple[str | None, ...]]
    attributes: Mapping[str, str]


def layout_of(layer: torch.nn.Module) -> Layout | None:
    """Return the layout of a layer; None for one that cannot be cut, such as a grouped convolution."""
    if isinstance(layer, _CONVOLUTION):
        return _convolution(layer)
    if isinstance(layer, torch.nn.Linear):
        return Layout({"weight": (OUT, IN), "bias": (OUT,)}, {"out_features": OUT, "in_features": IN})
    if isinstance(layer, _BY_CHANNEL):
        names = ("weight", "bias", "running_mean", "running_var")
        return Layout(dict.fromkeys(names, (BOTH,)), {"num_features": BOTH})
    if isinstance(layer, torch.nn.GroupNorm):
        return Layout(dict.fromkeys(("weight", "bias"), (BOTH,)), {"num_channels": BOTH, "num_groups": BOTH})
    if isinstance(layer, torch.nn.PReLU):
        # One slope for all channels stays one.
        return Layout({"weight": (BOTH,)} if layer.num_parameters > 1 else {}, {"num_parameters": BOTH})
    if isinstance(layer, torch.nn.Embedding):
        return Layout({"weight": (None, OUT)}, {"embedding_dim": OUT})
    return None


def _convolution(layer: Any) -> Layout | None:
    if is_depthwise(layer):
        return Layout(
            {"weight": (BOTH,), "bias": (BOTH,)}, dict.fromkeys(("out_channels", "in_channels", "groups"), BOTH)
        )
    if layer.groups > 1:
        return None
    weight = (IN, OUT) if layer.transposed else (OUT, IN)
    return Layout({"weight": weight, "bias": (OUT,)}, {"out_channels": OUT, "in_channels": IN})


def is_depthwise(layer: torch.nn.Module) -> bool:
    """Whether a layer is a convolution of each channel by itself, one output channel for each input channel."""
    return isinstance(layer, _CONVOLUTION) and 1 < layer.groups == layer.in_channels == layer.out_channels


def width_of(layer: torch.nn.Module, side: str) -> int:
    """Return how many outputs, inputs or heads a layer has."""
    if side == HEADS:
        return int(layer.num_heads)  # type: ignore[arg-type]
    layout = layout_of(layer)
    assert layout is not None
    counting = next(name for name, counted in layout.attributes.items() if counted == side)
    return int(getattr(layer, counting))


Removed = Mapping[tuple[str, str], Sequence[int]]
# (module, attribute) → what it is afterwards.
Attributes = Mapping[tuple[str, str], int]


def record_of(module: torch.nn.Module, removed: Removed, attributes: Attributes) -> dict[str, Any]:
    """Return the record of a removal, {(layer, side): places} of the module as it is, as JSON.

    Of each layer it holds the kept places by side, the side of each dimension of its tensors, and the attributes that
    change; of a `torch.nn.MultiheadAttention` the kept heads.
    """
    heads: dict[str, list[int]] = {}
    layers: dict[str, dict[str, Any]] = {}
    for (name, side), places in sorted(removed.items()):
        layer, gone = module.get_submodule(name), set(places)
        kept = [place for place in range(width_of(layer, side)) if place not in gone]
        if side == HEADS:
            heads[name] = kept
            for parent in _encoders(module, name):  # they would hand nested tensors to the fused kernel of torch's own
                layers.setdefault(parent, _entry())["attributes"]["use_nested_tensor"] = False
            continue
        layout = layout_of(layer)
        assert layout is not None
        entry = layers.setdefault(name, _entry())
        entry["kept"][side] = kept
        there = [tensor for tensor in layout.tensors if isinstance(getattr(layer, tensor, None), torch.Tensor)]
        entry["tensors"] = {tensor: list(layout.tensors[tensor]) for tensor in there}
        counting = [attribute for attribute, counted in layout.attributes.items() if counted == side]
        entry["attributes"] |= {attribute: _counted(layer, attribute, len(kept)) for attribute in counting}
    for (name, attribute), value in sorted(attributes.items()):
        layers.setdefault(name, _entry())["attributes"][attribute] = value
    return {"layers": layers, "heads": heads}


def _entry() -> dict[str, Any]:
    return {"kept": {}, "tensors": {}, "attributes": {}}


def _encoders(module: torch.nn.Module, name: str) -> Iterator[str]:
    """Yield the stacks of torch's own encoder layers in which a module lies."""
    while name:
        name = name.rpartition(".")[0]
        if isinstance(module.get_submodule(name), torch.nn.TransformerEncoder):
            yield name


def _counted(layer: torch.nn.Module, attribute: str, kept: int) -> int:
    if attribute == "num_groups":
        return int(layer.num_groups) * kept // int(layer.num_channels)  # type: ignore[arg-type]
    if attribute == "num_parameters" and layer.num_parameters == 1:
        return 1
    return kept


def rewrite(module: torch.nn.Module, record: Mapping[str, Any]) -> torch.nn.Module:
    """Cut the recorded layers in place: each tensor keeps what the record says of each of its dimensions."""
    for name, entry in record["layers"].items():
        layer = module.get_submodule(name)
        for tensor, sides in entry["tensors"].items():
            setattr(layer, tensor, _cut(getattr(layer, tensor), sides, entry["kept"]))
        for attribute, value in entry["attributes"].items():
            setattr(layer, attribute, value)
    for name, kept in record["heads"].items():
        attention = module.get_submodule(name)
        assert isinstance(attention, (torch.nn.MultiheadAttention, NarrowAttention))
        module.set_submodule(name, NarrowAttention(Heads.of(attention), kept).train(attention.training))
    return module


def _cut(tensor: torch.Tensor, sides: Sequence[str | None], kept: Mapping[str, Sequence[int]]) -> torch.Tensor:
    made = tensor.detach()
    for dimension, side in enumerate(sides):
        if side is not None and side in kept:
            made = made.index_select(dimension, torch.tensor(list(kept[side]), device=tensor.device))
    made = made.contiguous()
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(made, requires_grad=tensor.requires_grad)
    return made


@contextmanager
def cut_for_now(module: torch.nn.Module, record: Mapping[str, Any]) -> Iterator[torch.nn.Module]:
    """Cut a module in place, and give it back all that it had on leaving."""
    layers = [(module.get_submodule(name), entry) for name, entry in record["layers"].items()]
    before = [
        (layer, {name: getattr(layer, name) for name in (*entry["tensors"], *entry["attributes"])})
        for layer, entry in layers
    ]
    attention = {name: module.get_submodule(name) for name in record["heads"]}
    try:
        yield rewrite(module, record)
    finally:
        for layer, values in before:
            for name, value in values.items():
                setattr(layer, name, value)
        for name, part in attention.items():
            module.set_submodule(name, part)


def parameters_without(module: torch.nn.Module, record: Mapping[str, Any]) -> int:
    """Count the parameters that a record leaves, shared ones once."""
    count = sum(weight.numel() for weight in module.parameters())
    for name, entry in record["layers"].items():
        layer = module.get_submodule(name)
        for tensor, sides in entry["tensors"].items():
            value = getattr(layer, tensor)
            if isinstance(value, torch.nn.Parameter):
                shape = list(value.shape)
                for dimension, side in enumerate(sides):
                    if side in entry["kept"]:
                        shape[dimension] = len(entry["kept"][side])
                count -= value.numel() - math.prod(shape)
    for name, kept in record["heads"].items():
        heads = Heads.of(module.get_submodule(name))
        count -= (len(heads.numbers) - len(kept)) * heads.parameters
    return count
