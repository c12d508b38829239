"""Try each group before it counts: what is cut must answer as the whole model does that reads zeros in its place."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.arguments import arguments_of
from titrant.runtime.backends.torch.call import named, refuse_decisions
from titrant.runtime.backends.torch.determinism import plain_attention
from titrant.runtime.backends.torch.pruning.attention import NarrowAttention
from titrant.runtime.backends.torch.pruning.cut import HEADS, IN, cut_for_now, layout_of
from titrant.runtime.backends.torch.pruning.groups import (
    FAILURES,
    Coupled,
    Left,
    Traced,
    in_whole_groups,
    matching,
    own_attention,
    record_without,
    untraced,
)
from titrant.schema.diagnostics.diagnostics import PreconditionError

# How far answers may lie apart, relative to the largest: in double precision, and in single.
_APART, _APART_SINGLE = 1e-8, 1e-4
_APART_REASON = (
    "something else counts on its width: without a part of it the model answers otherwise than reading zeros"
)
_UNREAD = "it makes an output of the model, which keeps its width"


def removable(
    module: torch.nn.Module, arrays: Mapping[str, np.ndarray], outputs: tuple[str, ...], skip: Sequence[str]
) -> tuple[tuple[Coupled, ...], tuple[Left, ...]]:
    """Return the groups whose units can be removed, in the order of the model, and what is left whole.

    `arrays` are some rows, by the names of the model's inputs. Raises PreconditionError X542 for a forward that takes
    decisions on values, or that torch-pruning cannot trace.
    """
    try:
        refuse_decisions(module, arrays)
    except PreconditionError as error:
        raise untraced(error.diagnostics[0].message) from None
    trial = _Trial(module, arrays, outputs)
    skipped = matching(module, skip)
    traced = Traced(copy.deepcopy(trial.module), trial.tensors, trial.call)
    fit: list[Coupled] = []
    left: dict[str, str] = {}
    for group in own_attention(module):
        layers = {member.layer for member in group.members}
        if taken(fit, group):
            continue
        if because := _against(layers, skipped, traced.shared):
            left[group.name] = because
        elif not trial.objection(group):
            fit.append(group)
            left.pop(group.name, None)
        else:
            left[group.name] = _APART_REASON
    heads = {layer for group in fit for layer, _ in group.sides}
    inside = tuple(f"{layer}." for group in fit for layer, side in group.sides if side == HEADS)
    for traced_group in traced.groups(skipped):
        if isinstance(traced_group, Left):
            if traced_group.name not in heads and not traced_group.name.startswith(inside):
                left.setdefault(traced_group.name, traced_group.because)
            continue
        if taken(fit, traced_group) or any(layer.startswith(inside) for layer, _ in traced_group.sides):
            continue
        tried, because = _tried(trial, traced, in_whole_groups(module, traced_group))
        if because:
            left.setdefault(traced_group.name, because)
        else:
            fit.append(tried)
    order = {name: place for place, (name, _) in enumerate(module.named_modules())}
    return tuple(sorted(fit, key=lambda group: order[group.name])), tuple(Left(*item) for item in left.items())


def taken(fit: Sequence[Coupled], group: Coupled) -> bool:
    """Whether a group cuts places that another one cuts already."""
    return any(
        {*member.removed(range(group.units))} & {*other.removed(range(each.units))}
        for each in fit
        if each.sides & group.sides
        for other in each.members
        for member in group.members
        if (member.layer, member.side) == (other.layer, other.side)
    )


def _against(layers: set[str], skipped: frozenset[str], shared: Mapping[str, str]) -> str:
    for layer in sorted(layers):
        if layer in skipped:
            return "skip names it" if len(layers) == 1 else f"skip names {layer}, which goes with it"
        if layer in shared:
            return f"{layer} shares its weights with {shared[layer]}"
    return ""


def _tried(trial: "_Trial", traced: Traced, group: Coupled) -> tuple[Coupled, str]:
    """Return a group that can be cut, with units that are joined where they must be, or why none can."""
    because = trial.objection(group)
    if not because:
        return group, ""
    closed = traced.closed(group)
    if closed is not None and closed != group and not trial.objection(closed):
        return closed, ""
    return group, because


class _Trial:
    """A copy of the module in double precision, and what it answers to a few rows."""

    def __init__(self, module: torch.nn.Module, arrays: Mapping[str, np.ndarray], outputs: tuple[str, ...]) -> None:
        self._outputs, self._arguments = outputs, arguments_of(module, tuple(arrays))
        self.module, self._apart = copy.deepcopy(module).double(), _APART
        self.tensors = {name: _double(array) for name, array in arrays.items()}
        try:
            self._answers()
        except FAILURES:  # a forward that makes fp32 tensors of its own
            self.module, self._apart = copy.deepcopy(module), _APART_SINGLE
            self.tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def call(self, module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Any:
        """Answer a batch."""
        with plain_attention():
            return self._arguments.call(module, list(tensors.values()))

    def _answers(self) -> list[torch.Tensor]:
        with torch.inference_mode():
            given = {name: tensor.clone() for name, tensor in self.tensors.items()}  # a forward may write into it
            return list(named(self.call(self.module, given), self._outputs).values())

    def objection(self, group: Coupled) -> str:
        """Say why a group cannot be cut; "" where it can."""
        if group.units < 2:
            return "all of it goes together"
        if not any(member.side in (IN, HEADS) for member in group.members):
            return _UNREAD
        # In no order, since halves and pairs may belong together.
        units = np.random.default_rng(0).permutation(group.units)[: group.units // 2].tolist()
        try:
            with cut_for_now(self.module, record_without(self.module, [(group, units)])):
                made = self._answers()
        except FAILURES as error:
            return f"shapes cannot follow: the model does not run without a part of it ({type(error).__name__})"
        with _reading_zeros(self.module, group, units):
            asked = self._answers()
        if [answer.shape for answer in made] != [answer.shape for answer in asked]:
            return "an output of the model would have another width"
        return "" if all(map(self._same, made, asked)) else _APART_REASON

    def _same(self, made: torch.Tensor, asked: torch.Tensor) -> bool:
        largest = float(asked.abs().max()) if asked.numel() else 0.0
        return bool(((made - asked).abs() <= self._apart * max(largest, 1e-12)).all())


@contextmanager
def _reading_zeros(module: torch.nn.Module, group: Coupled, units: Sequence[int]) -> Iterator[None]:
    """Let the layers that read some units multiply them by zero."""
    before: list[tuple[torch.Tensor, torch.Tensor]] = []
    for member in group.members:
        layer = module.get_submodule(member.layer)
        if member.side == HEADS:
            assert isinstance(layer, (torch.nn.MultiheadAttention, NarrowAttention))
            weight: torch.Tensor = layer.out_proj.weight
            width = layer.head_dim
            places, dimension = [unit * width + place for unit in units for place in range(width)], 1
        elif member.side == IN:
            layout = layout_of(layer)
            assert layout is not None
            weight, places = layer.weight, member.removed(units)  # type: ignore[assignment]
            dimension = layout.tensors["weight"].index(IN)
        else:
            continue
        before.append((weight, weight.detach().clone()))
        with torch.no_grad():
            weight.index_fill_(dimension, torch.tensor(places), 0.0)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, values in before:
                weight.copy_(values)


def _double(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float64) if array.dtype.kind == "f" else array.copy())
