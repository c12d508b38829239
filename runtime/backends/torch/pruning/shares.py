"""Decide how many units each group keeps: the same share of all, or more where it harms less.

The distribution by harm is an integer program, as the mixtures of precisions are: it has to save at least the time and
the parameters that the same share of all does, and does the least damage on the way.
"""

import math
from collections.abc import Callable, Sequence

from titrant.schema.values.frozen import dataclass

# Counts of a group whose damage is measured, and that can be chosen, at most; spread evenly.
MOST_MEASURED, MOST_COUNTS = 6, 48
_PATIENCE = 5.0
_STEPS = 12

Kept = tuple[int, ...]
# The parameters that are removed where each group keeps so many units.
Removes = Callable[[Kept], int]


@dataclass(frozen=True)
class Choices:
    """The numbers of units that a group can keep, from all of them down; `weakest` is the share of the scores below."""

    counts: tuple[int, ...]
    score_lost: tuple[float, ...]  # share of the sum of the group's scores that goes with each

    @classmethod
    def of(cls, units: int, block: int, scores: Sequence[float]) -> "Choices":
        """Return all units, then multiples of a block down to one block."""
        fewer = range((units - 1) // block * block, 0, -block)
        counts = (units, *fewer)
        ordered, total = sorted(scores), math.fsum(scores) or 1.0
        return cls(counts, tuple(math.fsum(ordered[: units - count]) / total for count in counts))

    def at_least(self, share: float) -> int:
        """Return the smallest count that keeps a share of the units."""
        least = self.counts[0] * share
        return min(count for count in self.counts if count >= least - 1e-9)

    def below(self, count: int) -> int | None:
        """Return the next smaller count; None where there is none."""
        place = self.counts.index(count) + 1
        return self.counts[place] if place < len(self.counts) else None


def uniform(choices: Sequence[Choices], removes: Removes, limit: int) -> Kept:
    """Return what each group keeps if all keep the same share, rounded up, and no more than `limit` parameters go."""
    shares = sorted({count / each.counts[0] for each in choices for count in each.counts}, reverse=True)
    low, high = 0, len(shares) - 1  # of the shares the first keeps all
    while low < high:
        middle = (low + high + 1) // 2
        if removes(tuple(each.at_least(shares[middle]) for each in choices)) <= limit:
            low = middle
        else:
            high = middle - 1
    return tuple(each.at_least(shares[low]) for each in choices)


def filled(choices: Sequence[Choices], kept: Kept, removes: Removes, limit: int) -> Kept:
    """Return the same with what rounding left of the limit, block by block where the weakest units score least."""
    open_places = {*range(len(choices))}
    while open_places:
        steps = []
        for place in open_places:
            fewer = choices[place].below(kept[place])
            lost = choices[place].score_lost[choices[place].counts.index(fewer)] if fewer is not None else math.inf
            steps.append((lost, place, fewer))
        _, place, fewer = min(steps, key=lambda step: step[:2])
        further = kept if fewer is None else (*kept[:place], fewer, *kept[place + 1 :])
        if fewer is not None and removes(further) <= limit:
            kept = further
        else:  # what does not fit now fits no better when more is gone
            open_places.discard(place)
    return kept


@dataclass(frozen=True)
class PricedCounts:
    """A group's counts with what each does alone: its damage, the parameters it removes, the work it saves."""

    counts: tuple[int, ...]
    damage: tuple[float, ...]
    parameters: tuple[float, ...]
    work: tuple[float, ...]


def some_counts(counts: Sequence[int], most: int) -> tuple[int, ...]:
    """Return all counts, or `most` at even distances with the first and the last."""
    if len(counts) <= most:
        return tuple(counts)
    return tuple(counts[round(place * (len(counts) - 1) / (most - 1))] for place in range(most))


def between(counts: Sequence[int], measured: Sequence[int], damage: Sequence[float]) -> tuple[float, ...]:
    """Return the damage of counts on straight lines between those measured, which fall; less kept is never less."""
    import numpy as np

    rising = np.maximum.accumulate(damage)
    return tuple(np.interp(counts, measured[::-1], rising[::-1]).tolist())


def by_damage(priced: Sequence[PricedCounts], even: Kept, removes: Removes, least: int, limit: int) -> Kept | None:
    """Return what each group keeps for the least damage, removing `least` to `limit` parameters; None for no answer.

    With x_gc = 1 where group g keeps count c it solves, for a number P of parameters,

        minimize  Σ damage_gc x_gc
        subject to  Σ_c x_gc = 1,  Σ parameters_gc x_gc ≥ P,  Σ work_gc x_gc ≥ what the same counts as `even` save

    by `scipy.optimize.milp`. Groups share layers, so that less goes than the sum says: P is found by bisection, as the
    smallest with which at least `least` go.
    """
    saved = _work(priced, even)
    low, high = 0.0, 2.0 * limit
    best: Kept | None = None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        kept = _solved(priced, middle, saved)
        gone = None if kept is None else removes(kept)
        if gone is not None and gone < least:
            low = middle
            continue
        high = middle
        if gone is not None and gone <= limit:
            best = kept
    return best


def _work(priced: Sequence[PricedCounts], kept: Kept) -> float:
    """Return the work that some counts save, as a straight line between those that were tried."""
    total = 0.0
    for each, count in zip(priced, kept, strict=True):
        points = sorted(zip(each.counts, each.work, strict=True))
        low, high = (
            max(point for point in points if point[0] <= count),
            min(point for point in points if point[0] >= count),
        )
        share = 0.0 if high[0] == low[0] else (count - low[0]) / (high[0] - low[0])
        total += low[1] + share * (high[1] - low[1])
    return total


def _solved(priced: Sequence[PricedCounts], parameters: float, work: float) -> Kept | None:
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp

    damages = np.array([damage for each in priced for damage in each.damage])
    width = len(damages)
    single = np.zeros((len(priced), width))
    start = 0
    for row, each in enumerate(priced):
        single[row, start : start + len(each.counts)] = 1
        start += len(each.counts)
    rows = [LinearConstraint(single, 1, 1)]
    for asked, figures in ((parameters, [each.parameters for each in priced]), (work, [each.work for each in priced])):
        flat = np.array([figure for every in figures for figure in every])
        if asked > 0:  # brought to about 1, since the solver's tolerances are absolute
            rows.append(LinearConstraint(flat[None] / asked, lb=1 - 1e-9))
    scale = float(damages.max(initial=0.0)) or 1.0
    options = {"time_limit": _PATIENCE, "mip_rel_gap": 0}
    answer = milp(damages / scale, integrality=np.ones(width), bounds=Bounds(0, 1), constraints=rows, options=options)
    if answer.x is None:
        return None
    kept, start = [], 0
    for each in priced:
        part = answer.x[start : start + len(each.counts)]
        kept.append(each.counts[int(np.argmax(part))])
        start += len(each.counts)
    return tuple(kept)
