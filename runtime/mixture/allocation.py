"""Price mixtures of int8 and float over regions, and find by an integer program the fastest for every damage.

A mixture's time is that of its regions, each in its own precision, with what it costs to convert the tensors between
regions of different precision; its damage is the sum of what each region does when it alone is in int8. Most mixtures
are slower than both ends, since a conversion costs about as much as a region gains: what is to be chosen are borders.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

# Budgets of damage that are swept at most.
POINTS = 14
# Seconds that one program may take; with twenty regions it takes milliseconds.
_PATIENCE = 5.0
# What two sums of the same damages may differ by, and what the solver may overdraw a budget by.
_ROUNDING, _TOLERANCE = 1e-9, 1e-6


@dataclass(frozen=True)
class RegionPrice:
    """One region's seconds a batch in either precision, and the damage that it does in int8 when all else is float.

    `fixed` in float is one that the engine does not compute in int8.
    """

    name: str
    fp32: float
    int8: float
    damage: float
    fixed: bool = False


@dataclass(frozen=True)
class Conversion:
    """A tensor that one region writes and others read, with the seconds of converting it once for all that read it.

    `quantize` where the producer is in float and a consumer in int8, `dequantize` the other way round.
    """

    producer: str
    consumers: tuple[str, ...]
    quantize: float
    dequantize: float


@dataclass(frozen=True)
class Priced:
    """The regions in the order of the network, what lies between them, and the seconds that no precision changes.

    `whole` is the damage of all regions in int8 at once, None where it was not measured: damages add up while they are
    small, and their sum may be a third of the whole's where that is large.
    """

    regions: tuple[RegionPrice, ...]
    conversions: tuple[Conversion, ...] = ()
    rest: float = 0.0
    whole: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Name the regions in order."""
        return tuple(region.name for region in self.regions)

    def seconds(self, int8: Collection[str]) -> float:
        """Return the seconds of one batch with these regions in int8 and the others in float."""
        nodes = sum(region.int8 if region.name in int8 else region.fp32 for region in self.regions)
        edges = sum(_converting(conversion, int8) for conversion in self.conversions)
        return nodes + edges + self.rest

    def damage(self, int8: Collection[str]) -> float:
        """Return the damage of these regions in int8: their sum, bent towards the `whole` the nearer it comes to all.

        Of a share s of the sum S of all it is s·S·(1 + s·(whole / S - 1)): the sum where s is small, the whole at 1.
        A whole under half the sum counts as half, else more regions could do less damage.
        """
        total, added = self.added(self.names), self.added(int8)
        if self.whole is None or not total:
            return added
        return added * (1 + added / total * (max(self.whole / total, 0.5) - 1))

    def added(self, int8: Collection[str]) -> float:
        """Return the sum of what these regions do in int8, each alone."""
        return math.fsum(region.damage for region in self.regions if region.name in int8)


@dataclass(frozen=True)
class Mix:
    """One mixture: the regions that it has in int8 and those left in float, in order, with what is predicted of it."""

    int8: tuple[str, ...]
    left: tuple[str, ...]
    seconds: float
    damage: float


@dataclass(frozen=True)
class Frontier:
    """Mixtures from the fastest to the gentlest: each is slower and does less damage than the one before.

    `unsolved` are the budgets of damage for which the solver gave no mixture.
    """

    mixes: tuple[Mix, ...]
    unsolved: tuple[float, ...] = ()


def mix_of(priced: Priced, int8: Collection[str]) -> Mix:
    """Return the mixture that has these regions in int8; KeyError for one that is not there."""
    unknown = sorted({*int8} - {*priced.names})
    if unknown:
        raise KeyError(unknown[0])
    chosen = tuple(name for name in priced.names if name in int8)
    left = tuple(name for name in priced.names if name not in int8)
    return Mix(chosen, left, priced.seconds(chosen), priced.damage(chosen))


def frontier(priced: Priced, points: int = POINTS) -> Frontier:
    """Return the fastest mixture for each of at most `points` budgets of damage, without those that another beats.

    For a budget B it solves, with x_r = 1 where region r is in int8 and q_t, d_t = 1 where tensor t is quantized or
    dequantized,

        minimize  rest + Σ_r fp32_r + (int8_r - fp32_r) x_r + Σ_t quantize_t q_t + dequantize_t d_t
        subject to  Σ_r damage_r x_r ≤ B,  q_t ≥ x_c - x_p  and  d_t ≥ x_p - x_c  for each consumer c of producer p

    by `scipy.optimize.milp` (HiGHS), in milliseconds. The budgets fall geometrically from the sum of all damages to the
    smallest, and end at 0; one under which the last mixture already stays is passed over. Raises ValueError for a
    price or damage that is negative or not finite, and for a name that stands twice or nowhere.
    """
    _check(priced)
    mixes: list[Mix] = []
    unsolved: list[float] = []
    spent = math.inf
    for budget in _budgets([region.damage for region in priced.regions], points):
        if spent <= budget:
            continue
        int8 = _solve(priced, budget)
        if int8 is None:
            unsolved.append(budget)
            continue
        mixes.append(mix_of(priced, int8))
        spent = priced.added(int8)
    return Frontier(_not_beaten(mixes), tuple(unsolved))


def timed_frontier(priced: Priced, timed: Mapping[frozenset[str], float]) -> Frontier:
    """Return the mixtures that were timed, {regions in int8: seconds}, without those that another beats."""
    fixed = {region.name for region in priced.regions if region.fixed}
    made = [replace(mix_of(priced, int8), seconds=seconds) for int8, seconds in timed.items() if not fixed & int8]
    return Frontier(_not_beaten(made))


def _check(priced: Priced) -> None:
    figures = [figure for region in priced.regions for figure in (region.fp32, region.int8, region.damage)]
    figures += [figure for edge in priced.conversions for figure in (edge.quantize, edge.dequantize)]
    figures += [priced.rest, *([] if priced.whole is None else [priced.whole])]
    wrong = [figure for figure in figures if not (math.isfinite(figure) and figure >= 0)]
    if wrong:
        raise ValueError(f"a price or damage is {wrong[0]}")
    names = priced.names
    twice = next((name for name in names if names.count(name) > 1), None)
    ends = {name for edge in priced.conversions for name in (edge.producer, *edge.consumers)}
    strange = next(iter(sorted(ends - {*names})), None)
    if twice is not None or strange is not None:
        raise ValueError(f"the region {twice} stands twice" if strange is None else f"there is no region {strange}")


def _converting(conversion: Conversion, int8: Collection[str]) -> float:
    inside = conversion.producer in int8
    crosses = any((consumer in int8) != inside for consumer in conversion.consumers)
    return (conversion.dequantize if inside else conversion.quantize) if crosses else 0.0


def _budgets(damages: Sequence[float], points: int) -> list[float]:
    """Return falling budgets: geometric from the sum of the damages to the smallest of them, and 0."""
    total = math.fsum(damages)
    if not total or points < 2:
        return [total] if points == 1 else [0.0]
    smallest = min(damage for damage in damages if damage > 0)
    steps = max(points - 2, 1)
    ratio = (smallest / total) ** (1 / steps)
    return [total * ratio**step for step in range(points - 1)] + [0.0]


def _solve(priced: Priced, budget: float) -> frozenset[str] | None:
    """Return the regions in int8 of the fastest mixture within a budget; None where the solver has no answer."""
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp

    regions, edges = priced.regions, priced.conversions
    gains = [region.int8 - region.fp32 for region in regions]
    prices = [price for edge in edges for price in (edge.quantize, edge.dequantize)]
    costs = np.array([*gains, *prices])
    # The solver's tolerances are absolute: both what is minimized and what is spent are brought to about 1.
    scale = float(np.abs(costs).max(initial=0.0)) or 1.0
    shares = np.array([_share(region.damage, budget) for region in regions])
    highest = np.ones(len(costs))
    highest[: len(regions)] = [
        share <= 1 + _ROUNDING and not region.fixed for share, region in zip(shares, regions, strict=True)
    ]
    spent = np.zeros((1, len(costs)))
    spent[0, : len(regions)] = np.minimum(shares, 1.0)
    rows = [LinearConstraint(spent, ub=1 + _ROUNDING)]
    if edges:
        rows.append(LinearConstraint(_crossings(priced), lb=0))
    answer = milp(
        costs / scale,
        integrality=np.ones(len(costs)),
        bounds=Bounds(0, highest),
        constraints=rows,
        options={"time_limit": _PATIENCE, "mip_rel_gap": 0},
    )
    if answer.x is None:
        return None
    int8 = frozenset(region.name for region, value in zip(regions, answer.x, strict=False) if value > 0.5)
    # What rounding or a limit of time left beyond the budget is no answer.
    return int8 if priced.added(int8) <= budget * (1 + _TOLERANCE) else None


def _share(damage: float, budget: float) -> float:
    if not damage:
        return 0.0
    return min(damage / budget, 2.0) if budget else 2.0


def _crossings(priced: Priced) -> "np.ndarray":
    """Return one row for each direction and consumer of every tensor: q - x_c + x_p ≥ 0 and d - x_p + x_c ≥ 0."""
    import numpy as np

    place = {name: index for index, name in enumerate(priced.names)}
    width = len(priced.regions) + 2 * len(priced.conversions)
    rows = []
    for number, edge in enumerate(priced.conversions):
        for consumer in edge.consumers:
            for direction, sign in enumerate((1.0, -1.0)):
                row = np.zeros(width)
                row[len(priced.regions) + 2 * number + direction] = 1
                row[place[edge.producer]] += sign
                row[place[consumer]] -= sign
                rows.append(row)
    return np.array(rows)


def _not_beaten(mixes: Sequence[Mix]) -> tuple[Mix, ...]:
    """Order mixtures from the fastest, without one that is neither faster nor gentler than another."""
    kept: list[Mix] = []
    for mix in sorted(mixes, key=lambda mix: (mix.seconds, mix.damage)):
        if not kept or mix.damage < kept[-1].damage:
            kept.append(mix)
    return tuple(kept)
