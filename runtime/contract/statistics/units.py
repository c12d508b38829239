"""What rows that belong to one unit, such as a patient or an input that was recorded twice, are worth as evidence.

A unit may fail whole, and that its rows changed one by one so far does not show that it never will. So no design effect
is estimated: the worst pattern of failing units is reckoned with, however the rows are spread over the units.
"""

from dataclasses import dataclass

import numpy as np

# From this share of the rows on, the tests of independent cases do better than bets do, with so many cases fewer.
NEARLY_SINGLE = 0.5
_MOST_BASES = 32
# Numbers of units that are spread no wider than this are counted without sorting them.
_SPREAD = 8
# What a bettor needs to win before 95 % are reached, with 4/5 of the wealth at the full stake; it only chooses a base.
_TARGET = float(np.log(25.0))


def grouped(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number units (rows,) 0… and count their rows: (rows,) and (units,)."""
    if not len(units):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if bool((units[1:] > units[:-1]).all()):
        return np.arange(len(units)), np.ones(len(units), np.int64)
    low = int(units.min())
    if int(units.max()) - low > _SPREAD * len(units):
        _, index, sizes = np.unique(units, return_inverse=True, return_counts=True)
        return index, sizes
    counts = np.bincount(units - low)
    held = counts > 0
    return (np.cumsum(held) - 1)[units - low], counts[held]


def distinct_units(units: np.ndarray) -> np.ndarray:
    """Return the different units, rising."""
    index, sizes = grouped(units)
    names = np.empty(len(sizes), units.dtype)
    names[index] = units
    return names


def unit_count(units: np.ndarray) -> int:
    """Return how many different units there are."""
    return len(grouped(units)[1])


def effective_share(units: np.ndarray, loss: float) -> float:
    """Return the factor (0..1] by which rows are reduced so that they prove no loss as so many independent cases do.

    Let unit u with s_u rows fail whole with chance p_u, and a share `loss` (0..1) of all rows with it: Σ s_u p_u = loss
    n. No unit fails with probability Π (1 - p_u), which is largest where 1 - p_u = min(1, κ / s_u) (Lagrange): the
    large units fail. The factor is log Π (1 - p_u) / (n log(1 - loss)); 1 / s where all units have s rows, and close to
    1 where a few rows have a copy.
    """
    held = grouped(units)[1]
    if int(held.max(initial=1)) == 1:
        return 1.0
    sizes, counts = np.unique(held, return_counts=True)
    rows = float(sizes @ counts)
    if not 0 < loss < 1:
        return 1 / float(sizes[-1])
    low, high = 0.0, float(sizes[-1])
    for _ in range(100):
        middle = (low + high) / 2
        failing = float(np.maximum(sizes - middle, 0.0) @ counts)
        low, high = (middle, high) if failing > loss * rows else (low, middle)
    kept = np.minimum(1.0, high / sizes)
    return min(1.0, float(np.log(kept) @ counts) / (rows * float(np.log1p(-loss))))


@dataclass(frozen=True)
class Bases:
    """How bets on units of different sizes are weighed: `exponents` (units,), `corrections` (stakes,), logarithms.

    Unit u with s_u rows is bet on with the mean of its rows, and what it multiplies the wealth by is taken to the power
    e_u = min(s_u, b) / b for a base size b. With b the largest size, the wealth is a martingale whatever the units do:
    powers up to 1 are concave, and Σ e_u log(1 + c μ_u) is at most 0 where Σ s_u μ_u is. With a smaller b larger units
    count for less than their rows, and the wealth is divided by the most that its expectation can reach,
    max Σ e_u log(1 + c μ_u) under Σ s_u μ_u = 0 and μ_u ≥ -1.
    """

    exponents: np.ndarray
    corrections: np.ndarray


def bases(sizes: np.ndarray, stakes: np.ndarray) -> Bases:
    """Choose the base from the sizes (units,) alone, for `stakes` (stakes,) in 0..1, the first of which is 1.

    It is the one with which the smallest margin can be proven if nothing speaks against it.
    """
    largest = int(sizes.max(initial=1))
    if largest == 1 or int(sizes.min()) == largest:
        return Bases(sizes / largest, np.zeros(len(stakes)))
    distinct, counts = np.unique(sizes, return_counts=True)
    tried = np.unique(np.quantile(distinct, np.linspace(0, 1, _MOST_BASES), method="nearest"))
    margins = [
        (_TARGET + _largest_correction(distinct, counts, base)) / _bets(distinct, counts, base) for base in tried
    ]
    base = float(tried[int(np.argmin(margins))])
    return Bases(np.minimum(sizes, base) / base, _corrections(distinct, counts, base, stakes))


def _bets(sizes: np.ndarray, counts: np.ndarray, base: float) -> float:
    """Return the sum of the exponents: how many bets on a row's worth there are."""
    return float((np.minimum(sizes, base) / base) @ counts)


def _largest_correction(sizes: np.ndarray, counts: np.ndarray, base: float) -> float:
    """Return the correction at the full stake, where no floor is: v = n / Σ min(s_u, b)."""
    bets = _bets(sizes, counts, base)
    level = float(np.log(float(sizes @ counts) / (base * bets)))
    return level * bets + float(np.log(np.minimum(base / sizes, 1.0)) @ counts)


def _corrections(sizes: np.ndarray, counts: np.ndarray, base: float, stakes: np.ndarray) -> np.ndarray:
    """Return the largest log expectation of the wealth at each stake.

    By Lagrange 1 + c μ_u is v for units up to the base and max(v b / s_u, 1 - c) above, where v ≥ 1 solves
    Σ s_u (1 + c μ_u) = n.
    """
    small = sizes <= base
    below, above = float(sizes[small] @ counts[small]), sizes[~small]
    rows, floors = float(sizes @ counts), 1 - stakes[:, None]
    low, high = np.ones((len(stakes), 1)), np.full((len(stakes), 1), rows / below)
    for _ in range(60):
        middle = (low + high) / 2
        total = below * middle[:, 0] + np.maximum(middle * base, above * floors) @ counts[~small]
        low = np.where(total[:, None] > rows, low, middle)
        high = np.where(total[:, None] > rows, middle, high)
    larger: np.ndarray = np.log(np.maximum(high * base / above, np.maximum(floors, 1e-300))) @ counts[~small]
    answer: np.ndarray = np.log(high[:, 0]) * (below / base) + larger
    return answer
