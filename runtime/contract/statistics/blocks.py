"""Bounds of a percentile from runs in blocks that lie apart in time, and whether slow blocks come in spells."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from titrant.runtime.contract.statistics.means import unit_means

# Blocks whose median is among so large a share of them are slow: a few spells, and a machine that drifts.
_SLOW_SHARES = (0.1, 0.5)
# A test for dependence refuses independent runs so often; then the gate stays open, and nothing false is passed.
DEPENDENCE_LEVEL = 0.01


def block_numbers(sizes: Sequence[int]) -> np.ndarray:
    """Return the block of each run (runs,), of blocks with so many runs each, in time order."""
    return np.repeat(np.arange(len(sizes)), sizes)


def spells(samples: np.ndarray, sizes: Sequence[int]) -> float:
    """Return the p-value (0..1] of "slow blocks come at any time": small where they follow one another.

    `samples` (runs,) in time order, in blocks of `sizes` runs. Wald and Wolfowitz (1940), "On a test whether two
    samples are from the same population", Annals of Mathematical Statistics 11: m slow ones among n, in random order,
    stand in r runs with probability C(m - 1, r - 1) C(n - m + 1, r) / C(n, m); exact, for the slowest tenth and for the
    slower half, of which the smaller p-value counts twice (Bonferroni). A spell that is longer than all blocks take
    leaves no trace, and no test finds it.
    """
    medians = _medians(samples, sizes)
    p_values = [_few_runs(medians, share) for share in _SLOW_SHARES]
    return min(1.0, len(p_values) * min(p_values))


def spell_ratio(samples: np.ndarray, sizes: Sequence[int]) -> float:
    """Return how many times (1..) slower the slowest block is than the quickest, by the medians of their runs.

    Where slow blocks follow one another, blocks prove less than their number: a bound that they give is taken as many
    times further, so that another spell of the size that was seen stays within it.
    """
    medians = _medians(samples, sizes)
    return float(medians.max() / medians.min()) if medians.min() > 0 else math.inf


def _medians(samples: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    return np.array([np.median(block) for block in np.split(np.asarray(samples), np.cumsum(sizes)[:-1])])


def block_means(samples: np.ndarray, sizes: Sequence[int]) -> list[float]:
    """Return the mean seconds of a run in each block, ascending: what one after another took, slow ones included.

    `samples` (runs,) are seconds in the order of the runs, `sizes` how many of them are in each block.
    """
    blocks = np.split(np.asarray(samples), np.cumsum(sizes)[:-1])
    return sorted(float(block.mean()) for block in blocks)


def _few_runs(medians: np.ndarray, share: float) -> float:
    count = len(medians)
    slow = medians > np.quantile(medians, 1 - share, method="lower")
    held = int(slow.sum())
    if held < 2 or held == count:
        return 1.0
    runs = int(slow[0]) + int((slow[1:] & ~slow[:-1]).sum())
    ways = sum(math.comb(held - 1, r - 1) * math.comb(count - held + 1, r) for r in range(1, runs + 1))
    return ways / math.comb(count, held)


def block_percentile_bounds(
    samples: np.ndarray, sizes: Sequence[int], share: float, confidence: float
) -> tuple[float | None, float | None]:
    """Return one-sided bounds of the `share` quantile (0..1) of a run's seconds, of runs in blocks; None where none is.

    Runs of one block may all be slow together: the upper bound is the smallest sample above which fewer than 1 - share
    of all runs lie, by bets on the blocks (see `mean_upper_bound`); the lower bound likewise.
    """
    ordered, blocks = np.unique(samples), block_numbers(sizes)

    def proven(place: int, upper: bool) -> bool:
        beyond = samples > ordered[place] if upper else samples < ordered[place]
        gathered = unit_means(beyond[:, None].astype(np.float64), blocks)
        return gathered.refutes(np.ones(1), 1 - share if upper else share, confidence, 1.0)

    upper = _first_place(len(ordered), lambda place: proven(place, upper=True))
    lower = _first_place(len(ordered), lambda place: proven(len(ordered) - 1 - place, upper=False))
    return (
        None if lower is None else float(ordered[len(ordered) - 1 - lower]),
        None if upper is None else float(ordered[upper]),
    )


def _first_place(count: int, holds: Callable[[int], bool]) -> int | None:
    """Return the first place at which a condition holds that goes on holding from there; None where it never does."""
    low, high = -1, count - 1
    if not holds(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
