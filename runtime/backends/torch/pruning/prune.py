"""Prune a live model's structure: find what goes together, score it, decide how much goes, and cut."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from titrant.runtime.backends.torch.call import call, example_arrays, zeros
from titrant.runtime.backends.torch.pruning.answers import TuningAnswers
from titrant.runtime.backends.torch.pruning.costs import Products, multiply_adds, products_of
from titrant.runtime.backends.torch.pruning.cut import parameters_without
from titrant.runtime.backends.torch.pruning.groups import ATTENTION, CHANNELS, Coupled, Left, record_without
from titrant.runtime.backends.torch.pruning.scores import group_l2, ranked, taylor
from titrant.runtime.backends.torch.pruning.shares import (
    MOST_COUNTS,
    MOST_MEASURED,
    Choices,
    Kept,
    PricedCounts,
    between,
    by_damage,
    filled,
    some_counts,
    uniform,
)
from titrant.runtime.backends.torch.pruning.trial import removable
from titrant.runtime.catalog import Context
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError
from titrant.schema.values.frozen import dataclass

# Channels of a convolution that kernels compute at once: fewer take as long.
KERNEL_BLOCK = 16
# Neurons that go together, of linear layers that are wide enough for their kernels to gain by it.
_NEURONS, _WIDE = 8, 64
# Up to this share all groups lose alike.
EVEN_UP_TO = 0.2
_TRIED_ROWS = 2
# What another distribution has to remove of what the same share of all does.
_NEARLY = 0.97


@dataclass(frozen=True)
class PruningRequest:
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
    summary: Mapping[str, Any]


def prune(
    model: TorchModel, train: Rows | None, tuning: Rows | None, asked: PruningRequest, context: Context
) -> Pruned:
    """Decide what is removed from a model; the model itself stays as it is.

    Raises PreconditionError X540 where nothing can be removed, X542 where the forward cannot be traced; StepError X541
    for Taylor scores without labels, X543 for a distribution by damage without tuning rows.
    """
    if tuning is None and asked.distribution == "heterogeneous":
        message = "distribution heterogeneous weighs what each group does to the answers, and there are no tuning rows"
        raise StepError(Diagnostic("X543", message, help="hand over tuning rows, or write distribution: uniform"))
    arrays = example_arrays(model, tuning, _TRIED_ROWS) if tuning is not None else _numbers(model, context)
    groups, left = removable(model.module, arrays, model.outputs, asked.skip)
    work = _Work(model, groups, left, asked, arrays)
    if not work.groups:
        raise _nothing(work)
    work.score(train if train is not None else tuning)
    even = uniform(work.choices, work.removes, work.limit)
    alike = filled(work.choices, even, work.removes, work.limit)
    kept, kl = alike, {}
    if tuning is not None:
        answers = TuningAnswers(model, tuning, asked.rows)
        kl["uniform"] = answers.moved(work.record(alike))
        # Blocks may be too coarse for the same share of all.
        uneven = asked.sparsity > EVEN_UP_TO or work.removes(even) < work.limit / 2
        if asked.distribution == "heterogeneous" or (asked.distribution == "auto" and uneven):
            priced = work.priced(answers, context)
            least = math.floor(_NEARLY * work.removes(alike))
            other = by_damage(priced, even, work.removes, least, work.limit)
            if other is not None and other != alike:
                kl["heterogeneous"] = answers.moved(work.record(other))
                kept = other if kl["heterogeneous"] < kl["uniform"] else alike
    if kept == work.whole:
        raise _nothing(work)
    record = work.record(kept)
    return Pruned(record, work.summary(kept, alike, kl, record))


class _Work:
    """The groups of a model with what can be kept of each, and what their removal comes to."""

    def __init__(
        self,
        model: TorchModel,
        groups: Sequence[Coupled],
        left: Sequence[Left],
        asked: PruningRequest,
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        self.model, self.module, self.asked = model, model.module, asked
        self.groups: tuple[Coupled, ...] = ()
        self.left = list(left)
        self.blocks: list[int] = []
        for group in groups:
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

    def priced(self, answers: "TuningAnswers", context: Context) -> list[PricedCounts]:
        """Measure what each group's counts do to the answers, and count what they save."""
        full = multiply_adds(self.products, self.record(self.whole), KERNEL_BLOCK)
        measured = [some_counts(each.counts, MOST_MEASURED) for each in self.choices]
        total, done = sum(map(len, measured)), itertools.count(1)
        made = []
        for place, tried in enumerate(measured):
            damage = [0.0]
            for count in tried[1:]:
                context.progress(next(done), total, f"what {self.groups[place].name} does to the answers")
                damage.append(answers.moved(self.record(self.alone(place, count))))
            counts = some_counts(self.choices[place].counts, MOST_COUNTS)
            records = [self.record(self.alone(place, count)) for count in counts]
            gone = tuple(float(self.parameters - parameters_without(self.module, record)) for record in records)
            saved = tuple(full - multiply_adds(self.products, record, KERNEL_BLOCK) for record in records)
            made.append(PricedCounts(counts, between(counts, tried, damage), gone, saved))
        return made

    def summary(self, kept: Kept, alike: Kept, kl: Mapping[str, float], record: Mapping[str, Any]) -> dict[str, Any]:
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


def _block(group: Coupled, round_to: int | str) -> tuple[int, str]:
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
        block = KERNEL_BLOCK if group.kind == CHANNELS else _NEURONS if width >= _WIDE else 1
    else:
        assert isinstance(round_to, int)
        block = round_to
    units = max(1, math.ceil(block / each))
    if units >= group.units:
        return 0, f"of its {width} {group.kind} one block of {block} stays, and there is no other"
    return units, ""


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
