"""Prune a live model's structure: find what goes together, score it, decide how much goes, and cut."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.session import insisted_batch
from titrant.runtime.backends.torch.arguments import arguments_of
from titrant.runtime.backends.torch.call import call, example_arrays, named, zeros
from titrant.runtime.backends.torch.pruning.costs import Products, multiply_adds, products_of
from titrant.runtime.backends.torch.pruning.cut import cut_for_now, parameters_without
from titrant.runtime.backends.torch.pruning.distances import moved
from titrant.runtime.backends.torch.pruning.groups import ATTENTION, CHANNELS, Group, Left, record_without
from titrant.runtime.backends.torch.pruning.scores import group_l2, ranked, taylor
from titrant.runtime.backends.torch.pruning.shares import (
    Choices,
    Kept,
    Priced,
    by_damage,
    filled,
    tried_counts,
    uniform,
)
from titrant.runtime.backends.torch.pruning.trial import removable
from titrant.runtime.catalog import Context
from titrant.runtime.mixture.damage import spread
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError
from titrant.schema.values.frozen import dataclass

# Channels of a convolution that kernels compute at once: fewer take as long.
KERNEL_BLOCK = 16
# Neurons of a linear layer that go together, of layers with at least two such blocks.
_NEURONS = 8
# Up to this share all groups lose alike.
EVEN_UP_TO = 0.2
_BATCH = 64
_TRIED_ROWS = 2


@dataclass(frozen=True)
class Asked:
    """What is asked of a pruning; see the operator's parameters."""

    sparsity: float
    skip: tuple[str, ...]
    round_to: int | Literal["auto"]
    importance: Literal["magnitude", "taylor"]
    distribution: Literal["auto", "uniform", "heterogeneous"]
    rows: int


@dataclass(frozen=True)
class Pruned:
    """The record of a pruning, and what is told of it."""

    record: Mapping[str, Any]
    told: Mapping[str, Any]


def prune(model: TorchModel, train: Rows | None, tuning: Rows | None, asked: Asked, context: Context) -> Pruned:
    """Decide what is removed from a model; the model itself stays as it is.

    Raises PreconditionError X540 where nothing can be removed, X542 where the forward cannot be traced; StepError X541
    for Taylor scores without labels, X543 for a distribution by damage without tuning rows.
    """
    if tuning is None and asked.distribution == "heterogeneous":
        message = "distribution heterogeneous weighs what each group does to the answers, and there are no tuning rows"
        raise StepError(Diagnostic("X543", message, help="hand over tuning rows, or write distribution: uniform"))
    arrays = example_arrays(model, tuning, _TRIED_ROWS) if tuning is not None else _numbers(model, context)
    found, left = removable(model.module, arrays, model.outputs, asked.skip)
    work = _Work(model, found, left, asked, arrays)
    if not work.groups:
        raise _nothing(work)
    work.score(train if train is not None else tuning)
    even = uniform(work.choices, work.removes, work.limit)
    alike = filled(work.choices, even, work.removes, work.limit)
    kept, kl = alike, {}
    if tuning is not None:
        answers = _Answers(model, tuning, asked.rows)
        kl["uniform"] = answers.moved(work.record(alike))
        # Blocks may be too coarse for the same share of all.
        uneven = asked.sparsity > EVEN_UP_TO or work.removes(even) < work.limit / 2
        if asked.distribution == "heterogeneous" or (asked.distribution == "auto" and uneven):
            priced = work.priced(answers, context)
            other = by_damage(priced, even, work.removes, work.removes(alike), work.limit)
            if other is not None and other != alike:
                kl["heterogeneous"] = answers.moved(work.record(other))
                kept = other if kl["heterogeneous"] < kl["uniform"] else alike
    if kept == work.whole:
        raise _nothing(work)
    record = work.record(kept)
    return Pruned(record, work.told(kept, alike, kl, record))


class _Work:
    """The groups of a model with what can be kept of each, and what their removal comes to."""

    def __init__(
        self,
        model: TorchModel,
        found: Sequence[Group],
        left: Sequence[Left],
        asked: Asked,
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        self.model, self.module, self.asked = model, model.module, asked
        self.groups: tuple[Group, ...] = ()
        self.left = list(left)
        self.blocks: list[int] = []
        for group in found:
            block, because = _block(group, asked.round_to)
            if because:
                self.left.append(Left(group.name, because))
            else:
                self.groups, self.blocks = (*self.groups, group), [*self.blocks, block]
        self.parameters = sum(weight.numel() for weight in self.module.parameters())
        self.limit = math.floor(asked.sparsity * self.parameters)
        self.ranked: list[list[int]] = []
        self.choices: list[Choices] = []
        rows = max((len(array) for array in arrays.values()), default=1)
        self.products: Mapping[str, Products] = products_of(self.module, lambda: call(self.module, arrays), rows)

    @property
    def whole(self) -> Kept:
        """What is kept where nothing is removed."""
        return tuple(group.units for group in self.groups)

    def score(self, rows: Rows | None) -> None:
        """Rank the units of every group."""
        if self.asked.importance == "taylor":
            if rows is None:
                message = "importance taylor needs rows with labels, and there are none"
                raise StepError(
                    Diagnostic("X541", message, help="hand over train or tuning rows, or importance: magnitude")
                )
            scores = taylor(self.model, self.groups, rows, self.asked.rows)
        else:
            scores = [group_l2(self.module, group) for group in self.groups]
        self.ranked = [ranked(each) for each in scores]
        self.choices = [
            Choices.of(group.units, block, each.tolist())
            for group, block, each in zip(self.groups, self.blocks, scores, strict=True)
        ]

    def record(self, kept: Kept) -> dict[str, Any]:
        """Return the record of what is left where each group keeps its best units."""
        pairs = zip(self.groups, self.ranked, kept, strict=True)
        return record_without(self.module, [(group, order[: group.units - count]) for group, order, count in pairs])

    def removes(self, kept: Kept) -> int:
        """Return how many parameters go."""
        return self.parameters - parameters_without(self.module, self.record(kept))

    def alone(self, place: int, count: int) -> Kept:
        """Return what is kept where one group alone keeps fewer units."""
        return (*self.whole[:place], count, *self.whole[place + 1 :])

    def priced(self, answers: "_Answers", context: Context) -> list[Priced]:
        """Measure what each group's counts do to the answers, and count what they save."""
        full = multiply_adds(self.products, self.record(self.whole), KERNEL_BLOCK)
        tried = [tried_counts(each.counts) for each in self.choices]
        total, done = sum(map(len, tried)), itertools.count(1)
        made = []
        for place, counts in enumerate(tried):
            records = [self.record(self.alone(place, count)) for count in counts]
            damage = [0.0]
            for record in records[1:]:
                context.progress(next(done), total, f"what {self.groups[place].name} does to the answers")
                damage.append(answers.moved(record))
            gone = tuple(float(self.parameters - parameters_without(self.module, record)) for record in records)
            saved = tuple(full - multiply_adds(self.products, record, KERNEL_BLOCK) for record in records)
            made.append(Priced(counts, tuple(itertools.accumulate(damage, max)), gone, saved))
        return made

    def told(self, kept: Kept, alike: Kept, kl: Mapping[str, float], record: Mapping[str, Any]) -> dict[str, Any]:
        """Return as JSON what was removed, and what was left whole and why."""
        nothing: dict[str, Any] = {"layers": {}, "heads": {}}
        return {
            "groups": [
                {"group": group.name, "kind": group.kind, "units": group.units, "kept": count}
                for group, count in zip(self.groups, kept, strict=True)
            ],
            "left": [{"layer": each.name, "because": each.because} for each in self.left],
            "distribution": "uniform" if kept == alike else "heterogeneous",
            "importance": self.asked.importance,
            "sparsity": self.asked.sparsity,
            "kl": dict(kl),
            "parameters_before": self.parameters,
            "parameters_after": parameters_without(self.module, record),
            "multiply_adds_before": round(multiply_adds(self.products, nothing)),
            "multiply_adds_after": round(multiply_adds(self.products, record)),
        }


def _block(group: Group, round_to: int | str) -> tuple[int, str]:
    """Return the units of a group that go together, or why it stays whole."""
    each = len(group.members[0].places[0])
    width = each * group.units
    if group.kind == ATTENTION:
        return 1, ""
    if round_to == "auto":
        if group.kind == CHANNELS and width < 2 * KERNEL_BLOCK:
            return (
                0,
                f"{width} channels: convolutions of fewer than {KERNEL_BLOCK} are no faster; round_to: 4 prunes it",
            )
        block = KERNEL_BLOCK if group.kind == CHANNELS else _NEURONS if width >= 2 * _NEURONS else 1
    else:
        assert isinstance(round_to, int)
        block = round_to
    units = max(1, math.ceil(block / each))
    if units >= group.units:
        return 0, f"of its {width} {group.kind} one block of {block} stays, and there is no other"
    return units, ""


class _Answers:
    """What a model answers to some tuning rows, and how far that moves with a cut."""

    def __init__(self, model: TorchModel, rows: Rows, count: int) -> None:
        self._model = model
        self._size = insisted_batch(model.inputs) or _BATCH
        places = spread(len(rows), count)
        self._arrays = {name: rows.inputs[name][places] for name, _, _ in model.inputs if name in rows.inputs}
        self._arguments = arguments_of(model.module, tuple(self._arrays))
        self._before = self._answer()

    def moved(self, record: Mapping[str, Any]) -> float:
        """Return the KL divergence of the cut model's answers from the whole one's, in nats."""
        with cut_for_now(self._model.module, record):
            after = self._answer()
        return float(sum(moved(self._before[name], array) for name, array in after.items()))

    def _answer(self) -> dict[str, np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {}
        rows = len(next(iter(self._arrays.values())))
        insisted = insisted_batch(self._model.inputs) or 1
        with torch.inference_mode():
            for start in range(0, rows - insisted + 1, self._size):
                batch = {name: array[start : start + self._size] for name, array in self._arrays.items()}
                answer = call(self._model.module, batch, arguments=self._arguments)
                for name, tensor in named(answer, self._model.outputs).items():
                    if tensor.is_floating_point():
                        parts.setdefault(name, []).append(tensor.float().numpy())
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _numbers(model: TorchModel, context: Context) -> dict[str, np.ndarray]:
    """Return inputs that show what depends on what: random numbers, and index 0 for whole numbers."""
    arrays = zeros(model.inputs, _TRIED_ROWS)
    return {
        name: context.generator.normal(size=array.shape).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }


def _nothing(work: _Work) -> PreconditionError:
    reasons = "; ".join(f"{each.name}: {each.because}" for each in work.left[:4])
    if work.groups:
        smallest = min(
            work.removes(work.alone(place, each.counts[1])) / work.parameters for place, each in enumerate(work.choices)
        )
        message = (
            f"sparsity {work.asked.sparsity:g} removes no whole block: the smallest is {smallest:.4f} of the parameters"
        )
        advice = f"write sparsity: {math.ceil(smallest * 100) / 100:g} or more, or a smaller round_to"
    else:
        message = f"nothing can be removed: {reasons or 'no layer makes what another one reads'}"
        advice = "write a smaller round_to, a shorter skip, or reduction.pruning.method: magnitude, which masks weights"
    return PreconditionError(Diagnostic("X540", message, help=advice))
