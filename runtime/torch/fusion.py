"""Fold batch normalization into the layer before it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch.nn.utils import fusion  # noqa: TID253 - its very subject
from torch.overrides import TorchFunctionMode  # noqa: TID253 - its very subject
from torch.utils._pytree import tree_leaves  # noqa: TID253 - its very subject

from titrant.runtime.torch.decisions import SHAPE_ONLY, refuse_decisions
from titrant.runtime.torch.examples import zeros
from titrant.runtime.torch.layout import tensor_of
from titrant.runtime.torch.rewriting import rewritten
from titrant.runtime.values import TorchModel

CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
NORMALIZATIONS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)


def fused_model(model: TorchModel) -> tuple[TorchModel, int]:
    """Return a model with every foldable pair folded, and how many there were; the given one stays as it is."""
    arrays = zeros(model.inputs)
    module = model.module.eval()
    refuse_decisions(module, arrays)
    found = pairs(module, [tensor_of(array) for array in arrays])
    if not found:
        return model, 0
    return rewritten(model, "model.fuse", {"pairs": [list(pair) for pair in found]}), len(found)


def pairs(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> list[tuple[str, str]]:
    """Find (layer, normalization) where the normalization alone reads the layer's only answer.

    Seen on one forward pass, so it holds for every module whose path does not depend on values.
    """
    watch = _Watch(module)
    try:
        with torch.inference_mode(), watch:
            answer = module(*inputs)
    finally:
        watch.remove()
    returned = {id(leaf) for leaf in tree_leaves(answer)}
    found = []
    for normalization, source in watch.reads.items():
        layer = watch.made.get(source)
        if layer is None or source in returned or watch.uses.get(source) != 1:
            continue
        if watch.calls[layer] == watch.calls[normalization] == 1 and _fits(module, layer, normalization):
            found.append((layer, normalization))
    return found


def fold(module: torch.nn.Module, pairs: Iterable[Sequence[str]]) -> torch.nn.Module:
    """Fold the named pairs in place: the layer takes over, the normalization becomes an identity."""
    for layer_name, normalization_name in pairs:
        layer: Any = module.get_submodule(layer_name)
        normalization: Any = module.get_submodule(normalization_name)
        trainable: bool = layer.weight.requires_grad
        folded: torch.nn.Module = (
            fusion.fuse_linear_bn_eval(layer, normalization)
            if isinstance(layer, torch.nn.Linear)
            else fusion.fuse_conv_bn_eval(layer, normalization)
        )
        module.set_submodule(layer_name, folded.requires_grad_(trainable))
        module.set_submodule(normalization_name, torch.nn.Identity().eval())
    return module


class _Watch(TorchFunctionMode):
    """Record which tensor each layer makes, which each normalization reads, and how often a tensor is read."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.made: dict[int, str] = {}
        self.reads: dict[str, int] = {}
        self.uses: dict[int, int] = {}
        self.calls: dict[str, int] = {}
        self._kept: list[Any] = []  # a tensor that is freed gives its id to the next one
        self._hooks = [
            hook
            for name, layer in module.named_modules()
            if isinstance(layer, (*CONVOLUTIONS, torch.nn.Linear, *NORMALIZATIONS))
            for hook in self._watch(name, layer)
        ]

    def _watch(self, name: str, layer: torch.nn.Module) -> tuple[Any, ...]:
        def entered(_layer: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            self.calls[name] = self.calls.get(name, 0) + 1
            if isinstance(layer, NORMALIZATIONS) and inputs:
                self.reads[name] = id(inputs[0])

        def left(_layer: torch.nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
            if not isinstance(layer, NORMALIZATIONS):
                self._kept.append(output)
                self.made[id(output)] = name

        return layer.register_forward_pre_hook(entered), layer.register_forward_hook(left)

    def remove(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in SHAPE_ONLY:
            for leaf in tree_leaves((args, kwargs)):
                if id(leaf) in self.made:
                    self.uses[id(leaf)] = self.uses.get(id(leaf), 0) + 1
        return func(*args, **(kwargs or {}))


def _fits(module: torch.nn.Module, layer_name: str, normalization_name: str) -> bool:
    """Whether the normalization works on the layer's output channels and has statistics to fold."""
    layer: Any = module.get_submodule(layer_name)
    normalization: Any = module.get_submodule(normalization_name)
    if normalization.running_mean is None or _shared(module, layer) or _shared(module, normalization):
        return False
    channels = layer.out_features if isinstance(layer, torch.nn.Linear) else layer.out_channels
    return bool(channels == normalization.num_features)


def _shared(module: torch.nn.Module, layer: torch.nn.Module) -> bool:
    """Whether a weight of the layer is also another layer's."""
    own = {id(weight) for weight in layer.parameters()}
    elsewhere = [
        weight
        for other in module.modules()
        if other is not layer
        for weight in other.parameters(recurse=False)
        if id(weight) in own
    ]
    places = sum(found is layer for _, found in module.named_modules(remove_duplicate=False))
    return bool(elsewhere) or places > 1
