"""Bounds of what a gate compares of two means over the same rows: their ratio, their difference, or one of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from titrant.runtime.contract.statistics.means import AT_ANY_TIME, AT_ONCE, Bets, UnitMeans, unit_means, upper_bound
from titrant.runtime.contract.statistics.proportions import crossing

# One row's values where each of the two has it right or wrong.
RIGHT_OR_WRONG = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
_LARGEST_RATIO = 1024.0
_STEPS = 32
# Beyond so many rows, which leave a bound narrower than what a step of the grid costs, 4096 steps are enough.
_MANY_ROWS, _GRID = 1 << 17, 1 << 12
# comparison → the factors of the original's and the candidate's value
_WEIGHTS = {"drop_at_most": (1.0, -1.0), "rise_at_most": (-1.0, 1.0), "at_least": (0.0, 1.0), "at_most": (0.0, 1.0)}


@dataclass(frozen=True)
class ComparedMeans:
    """Bounds by betting of the ratio candidate / original, of their difference, or of the candidate's mean alone.

    Values of many rows are rounded to a grid, to the side on which what bounds them holds for the values themselves.

    `corners` (n, 2): the values that a row could have at worst, of the original and the candidate. Rows of a unit may
    all have them at once, and no variance is estimated: see `mean_upper_bound`.
    """

    lenient: UnitMeans  # as the candidate is at best, and the original at worst, within a step of the grid
    strict: UnitMeans  # the other way round
    corners: np.ndarray
    comparison: str
    confidence: float

    def bounds(self) -> tuple[float, float | None]:
        """Return the one-sided lower and upper bound; no upper bound where the ratio may be any."""
        if self.comparison == "retention":
            return self._ratio_bounds()
        weights = np.array(_WEIGHTS[self.comparison])
        return -self._upper(-weights), self._upper(weights)

    def proves(self, threshold: float, times: float = 1.0) -> bool:
        """Whether the threshold is proven to be met; `times` as if there were so much more evidence."""
        return self.proving(threshold)(times)

    def proving(self, threshold: float) -> Callable[[float], bool]:
        """Return what tells how many times the evidence would prove the threshold, which is asked many times."""
        weights, mean = self._claim(threshold)
        gathered, due = self._gathered(weights), -math.log(1 - self.confidence)
        won = gathered.won(weights, mean, self._highest(weights))
        return lambda times: won is None or gathered.wealth_of(won, times) >= due

    def log_wealth(self, threshold: float) -> float:
        """Return the log of what bets have won against the claim that the threshold is not met."""
        return self._log_wealth(*self._claim(threshold))

    def _claim(self, threshold: float) -> tuple[np.ndarray, float]:
        """Return the weights of the columns and the mean that they have at least where the threshold is not met."""
        if self.comparison == "retention":
            return np.array([threshold, -1.0]), 0.0
        weights = np.array(_WEIGHTS[self.comparison])
        return (-weights, -threshold) if self.comparison == "at_least" else (weights, threshold)

    def _ratio_bounds(self) -> tuple[float, float | None]:
        before, after = (float(value) for value in self.strict.average)
        estimate = after / before

        # How far the wealth is beyond what refutes; just enough refutes.
        def above(ratio: float) -> float:
            return self._excess(np.array([ratio, -1.0]), 0.0) or 1.0

        def below(ratio: float) -> float:
            return -self._excess(np.array([-ratio, 1.0]), 0.0) or -1.0

        lower = crossing(above, 1e-9, estimate, _STEPS) if estimate > 0 else 0.0
        if below(_LARGEST_RATIO) > 0:
            return max(lower, 0.0), None
        # The bound is far below what is tried first: the upper end of the last step is the safe one.
        high = _LARGEST_RATIO
        while high > 2 * max(estimate, 1e-9) and below(high / 2) < 0:
            high /= 2
        return max(lower, 0.0), crossing(below, max(estimate, 0.0), high, _STEPS) + high / 2**_STEPS

    def _upper(self, weights: np.ndarray) -> float:
        return upper_bound(self._gathered(weights), weights, self.confidence, self._highest(weights))

    def _excess(self, weights: np.ndarray, mean: float) -> float:
        return self._log_wealth(weights, mean) + math.log(1 - self.confidence)

    def _log_wealth(self, weights: np.ndarray, mean: float) -> float:
        return self._gathered(weights).log_wealth(weights, mean, self._highest(weights))

    def _gathered(self, weights: np.ndarray) -> UnitMeans:
        return self.strict if weights[1] < 0 else self.lenient

    def _highest(self, weights: np.ndarray) -> float:
        return float((self.corners @ weights).max())


def box(original: tuple[float, float], candidate: tuple[float, float]) -> np.ndarray:
    """Return the corners (4, 2) of what a row may be, given the least and the most by either model."""
    return np.array([(old, new) for old in original for new in candidate])


def compare_means(
    comparison: str,
    original: np.ndarray,
    candidate: np.ndarray,
    units: np.ndarray,
    *,
    confidence: float,
    corners: np.ndarray = RIGHT_OR_WRONG,
) -> ComparedMeans:
    """Gather both models' values (rows,), of which larger is better where a ratio is compared, and units (rows,)."""
    return _gather(comparison, (original, candidate, units), confidence, corners, AT_ONCE)


def compare_at_any_time(
    comparison: str,
    original: np.ndarray,
    candidate: np.ndarray,
    units: np.ndarray,
    *,
    confidence: float,
    corners: np.ndarray = RIGHT_OR_WRONG,
) -> ComparedMeans:
    """Gather values as `compare_means` does, with bets that hold however often rows are added and judged.

    The wealth is a test martingale, and the chance that it ever reaches 1 / alpha under the claim is at most alpha
    (Ville 1939; Waudby-Smith and Ramdas 2024, section 4). That takes rows that are units each.
    """
    return _gather(comparison, (original, candidate, units), confidence, corners, AT_ANY_TIME)


def _gather(
    comparison: str, values: tuple[np.ndarray, ...], confidence: float, corners: np.ndarray, bets: Bets
) -> ComparedMeans:
    original, candidate, units = values
    columns = np.stack([original, candidate], axis=1).astype(np.float64)
    if len(columns) <= _MANY_ROWS:
        gathered = unit_means(columns, units, bets)
        return ComparedMeans(gathered, gathered, corners, comparison, confidence)
    low, high = corners.min(axis=0), corners.max(axis=0)
    step = np.where(high > low, (high - low) / _GRID, 1.0)
    below, above = (low + np.clip(way((columns - low) / step), 0, _GRID) * step for way in (np.floor, np.ceil))
    exact = columns.mean(axis=0)
    strict = replace(unit_means(np.stack([above[:, 0], below[:, 1]], axis=1), units, bets), average=exact)
    lenient = replace(unit_means(np.stack([below[:, 0], above[:, 1]], axis=1), units, bets), average=exact)
    return ComparedMeans(lenient, strict, corners, comparison, confidence)
