"""Find who makes and who reads each input of a linear layer, by watching one forward pass.

Seen on one pass, so it holds for every module whose path does not depend on values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch.overrides import TorchFunctionMode  # noqa: TID253 - its very subject
from torch.utils._pytree import tree_leaves  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.arguments import arguments_of
from titrant.runtime.backends.torch.call import SHAPE_ONLY

_F, _T = torch.nn.functional, torch.Tensor
# What leaves the channels of the last dimension where they are and multiplies by no number of its own: a scale of each,
# which is positive, goes through.
_PASSING = frozenset({
    torch.relu, _F.relu, _T.relu, _F.dropout, torch.dropout, _T.contiguous, _T.reshape, _T.view, torch.reshape,
    _T.flatten, torch.flatten, torch.clone, _T.clone,
})  # fmt: skip
# What is seen of a layer from within while it answers.
_INSIDE = frozenset({_F.linear, _F.layer_norm, _F.rms_norm, torch.rms_norm, _F.batch_norm, torch.layer_norm})
_MATRIX = 2


@dataclass
class SharedInput:
    """A tensor that linear layers read: the module that makes it, "" for none, all its readers, and why it is left.

    `others` counts the calls that read it beside `layers`.
    """

    maker: str = ""
    layers: list[str] = field(default_factory=list)
    others: int = 0


def shared_inputs(module: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> tuple[SharedInput, ...]:
    """List the inputs of linear layers in the order in which they are first read; `inputs` are some by name."""
    watch = _Watch(module)
    try:
        with torch.inference_mode(), watch.reading():
            answer = arguments_of(module, tuple(inputs)).call(module, tuple(inputs.values()))
    finally:
        watch.remove()
    for leaf in tree_leaves(answer):
        if id(leaf) in watch.source:
            watch.others[watch.source[id(leaf)]] = watch.others.get(watch.source[id(leaf)], 0) + 1
    called_again = {name for name, count in watch.calls.items() if count > 1}
    every = []
    for source, layers in watch.readers.items():
        maker = watch.made.get(source, "")
        again = len({maker, *layers} & called_again)
        every.append(SharedInput(maker, layers, watch.others.get(source, 0) + again))
    return tuple(every)


def _is_maker(layer: torch.nn.Module) -> bool:
    return isinstance(layer, (torch.nn.LayerNorm, torch.nn.RMSNorm, torch.nn.BatchNorm1d, torch.nn.Linear))


class _Watch:
    """Record which layer makes a tensor, which linear layers read it, and who else does.

    A tensor that a passing function gives has the source of what the function was given.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.source: dict[int, int] = {}
        self.made: dict[int, str] = {}
        self.readers: dict[int, list[str]] = {}
        self.others: dict[int, int] = {}
        self.calls: dict[str, int] = {}
        self._kept: list[Any] = []  # a tensor that is freed gives its id to the next one
        self._inside = 0
        self._hooks = [
            hook
            for name, layer in module.named_modules()
            if _is_maker(layer)
            for hook in (
                layer.register_forward_pre_hook(self._entering(name)), layer.register_forward_hook(self._leaving(name))
            )
        ]  # fmt: skip

    def _entering(self, name: str) -> Any:
        def entered(layer: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            self._inside += 1
            self.calls[name] = self.calls.get(name, 0) + 1
            if not inputs:
                return
            source = self._source_of(inputs[0])
            if type(layer) is torch.nn.Linear:
                self.readers.setdefault(source, []).append(name)
            else:
                self.others[source] = self.others.get(source, 0) + 1

        return entered

    def _leaving(self, name: str) -> Any:
        def left(layer: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self._inside -= 1
            # Of (batch, channels, length) batch normalization scales the dimension in the middle.
            in_last = not isinstance(layer, torch.nn.BatchNorm1d) or inputs[0].ndim == _MATRIX
            if isinstance(output, torch.Tensor) and in_last:
                self.made[self._source_of(output)] = name

        return left

    def _source_of(self, tensor: torch.Tensor) -> int:
        if id(tensor) not in self.source:
            self._kept.append(tensor)
            self.source[id(tensor)] = id(tensor)
        return self.source[id(tensor)]

    def remove(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()

    def reading(self) -> TorchFunctionMode:
        """Return the mode under which every call of torch counts the tensors that it reads."""
        watch = self

        class Reading(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
            ) -> Any:
                result = func(*args, **(kwargs or {}))
                if func not in SHAPE_ONLY and not (watch._inside and func in _INSIDE):
                    watch.note(func, args, kwargs or {}, result)
                return result

        return Reading()

    def note(self, func: Any, args: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> None:
        """Record that a function read its arguments; one that passes channels on hands their source to its result."""
        read = {id(leaf): leaf for leaf in tree_leaves((args, named)) if isinstance(leaf, torch.Tensor)}
        sourced = [leaf for leaf in read.values() if id(leaf) in self.source]
        if func in _PASSING and len(sourced) == 1 and sourced[0].shape[-1:] == result.shape[-1:]:
            if result is not sourced[0]:
                self._kept.append(result)
                self.source[id(result)] = self.source[id(sourced[0])]
            return
        for leaf in sourced:
            source = self.source[id(leaf)]
            self.others[source] = self.others.get(source, 0) + 1
