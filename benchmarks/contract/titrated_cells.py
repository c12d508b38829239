"""Mixtures of precision that are searched for on tuning rows and judged on others: several are tried before one is."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np
from contract.cells import FLIPS, Cell, Draw

from titrant.runtime.contract.statistics.proportions import Pairs, paired_ratio_lower_bound
from titrant.runtime.contract.statistics.tuning_bound import tuning_bound
from titrant.runtime.mixture.allocation import Frontier, Priced, RegionPrice, frontier
from titrant.runtime.mixture.proposal import TriedMix, propose

# As the search has it: so many mixtures are made, the damage of each region is a guess of what it loses.
MIXTURES, RIGHT, GAINS, SHARE = 4, 0.9, 0.005, 0.2
DAMAGES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)
GROUPS = ("whole", "subgroup")
# group → the counts of its cases: both right, lost, gained, neither
Tables = Mapping[str, tuple[int, int, int, int]]
EACH, GENTLEST, SUBGROUP, FASTER = PATTERNS = (
    "each mixture at the margin", "the gentlest at the margin", "a subgroup pays", "the faster ones at the margin",
)  # fmt: skip
# The region that costs what is forbidden: every mixture has the first, only the faster ones the fourth.
PAYING = {EACH: "r0", GENTLEST: "r0", SUBGROUP: "r0", FASTER: "r3"}


@cache
def priced() -> Priced:
    """Eight regions, each faster in int8, the fast ones as damaging as the slow."""
    regions = [RegionPrice(f"r{place}", 20e-6, (10 + place % 4) * 1e-6, damage) for place, damage in enumerate(DAMAGES)]
    return Priced(tuple(regions))


@cache
def searched() -> Frontier:
    """The mixtures that the integer program gives for them."""
    return frontier(priced())


def titrated() -> Iterator[Cell]:
    """Retention of a mixture that a search chose, with the worst subgroup where one is judged."""
    for cases in (1000, 5000):
        for r in (0.98, 0.99):
            for pattern in PATTERNS:
                yield Cell(
                    "titrated release",
                    pattern,
                    f"{cases} + {cases}",
                    r,
                    lambda n=cases, r=r, p=pattern: _draw(n, r, p),
                    True,
                )  # type: ignore[misc]


def _draw(cases: int, r: float, pattern: str) -> Draw:
    """Search on `cases` rows and judge on as many others: whether a forbidden mixture, or any faithful, is released.

    Before: what chose judges too, by its bound, and the fastest that it keeps is released.
    """

    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
        def counted(lost: np.ndarray, int8: Sequence[str]) -> Tables:
            # Mixtures share regions, and so the rows that these lose; where each is at the margin it has its own.
            own = _losses(rng, cases, r, pattern, margin) if margin and pattern == EACH else lost
            return _tables(cases, own, int8)

        tuning, judging = (_losses(rng, cases, r, pattern, margin) for _ in range(2))
        tried: list[TriedMix] = []
        while len(tried) < MIXTURES and (mix := propose(priced(), searched(), tried, r)) is not None:
            lower = _tuning(_whole(counted(tuning, mix.int8)), r)
            tried.append(TriedMix(frozenset(mix.int8), lower >= r, 1 - lower))
        gentle_first = sorted(
            (attempt.int8 for attempt in tried if attempt.kept), key=lambda int8: priced().damage(int8)
        )
        passing = []
        for int8 in gentle_first:
            tables = counted(judging, sorted(int8))
            if min(_bound(_whole(tables)), _bound(tables["subgroup"])) < r:
                break
            passing.append(int8)
        released = [names[-1] if names else frozenset() for names in (gentle_first, passing)]
        before, after = (bool(int8) and (not margin or PAYING[pattern] in int8) for int8 in released)
        return before, after

    return draw


def _losses(rng: np.random.Generator, cases: int, r: float, pattern: str, margin: bool) -> np.ndarray:
    """Draw for both parts of the rows how many right cases each region loses, and how many cases are gained.

    Shape (2, regions + 1), of rows outside the subgroup and in it; what is gained comes last.
    """
    regions = len(DAMAGES)
    sizes = np.array([round((1 - SHARE) * cases), round(SHARE * cases)])
    chances = np.zeros((2, regions + 1))
    if not margin:
        chances[:, :regions] = FLIPS / regions
        chances[:, regions] = FLIPS
        return rng.binomial(sizes[:, None], chances)
    loss = RIGHT * (1 - r) + GAINS
    chances[:, regions] = GAINS
    if pattern == SUBGROUP:
        chances[1, 0] = loss  # the subgroup alone pays
        chances[0, regions] = 0.0
    elif pattern == FASTER:
        chances[:, :regions] = FLIPS / regions
        chances[:, 3] = loss
    else:
        chances[:, 0] = loss
        chances[:, 1:regions] = FLIPS if pattern == GENTLEST else 0.0
    return rng.binomial(sizes[:, None], chances)


def _tables(cases: int, lost: np.ndarray, int8: Sequence[str]) -> Tables:
    """Count the cases of the whole and of the subgroup by what a mixture with these regions in int8 makes of them."""
    places = [int(name[1:]) for name in int8]
    tables = {}
    for name, rows, part in (("rest", 1 - SHARE, lost[0]), ("subgroup", SHARE, lost[1])):
        count = round(rows * cases)
        right = round(RIGHT * count)
        gone, gained = min(int(part[places].sum()), right), int(part[-1])
        tables[name] = (right - gone, gone, gained, count - right - gained)
    return tables


def _whole(tables: Tables) -> tuple[int, int, int, int]:
    """Add the parts up."""
    both, lost, gained, neither = (sum(counts) for counts in zip(*tables.values(), strict=True))
    return both, lost, gained, neither


@cache
def _bound(table: tuple[int, int, int, int]) -> float:
    """Bound what is kept from below at 95 %."""
    return paired_ratio_lower_bound(Pairs(*table), 0.95)[0]


@cache
def _tuning(table: tuple[int, int, int, int], r: float) -> float:
    """Bound what is kept on tuning rows, as the search does."""
    bound = tuning_bound({"pairs": dict(zip(("both", "lost", "gained", "neither"), table, strict=True))}, r)
    return 0.0 if bound is None else bound.lower
