"""Bound a quantile of what cases score, by counting the cases below it, and compare two models' quantiles pair by pair.

The quantile of a share q is at most t where a share q or more of all cases score at most t. Shares are bounded whatever
the scores look like, so that no range of them is assumed, as the mean of an error needs one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from titrant.runtime.contract.statistics.means import ORDER_STATISTICS, unit_means
from titrant.runtime.contract.statistics.proportions import binomial_lower_bound, binomial_upper_bound
from titrant.runtime.contract.statistics.units import NEARLY_SINGLE, effective_share
from titrant.runtime.contract.tasks.scores import CaseScores

PAIRED = "sign tests of pairs at every error that may be the original's quantile"
OF_BOTH = "order statistics of both models, half the error each (Bonferroni)"
# How much of what may go wrong says where the original's quantile is; the rest is that of the tests there.
_FOR_ITS_PLACE = 0.2
# Where a ratio is looked for at most, and how finely.
_LARGEST_RATIO, _STEPS = 1024.0, 40


class QuantileClaims:
    """The claims that a gate on a quantile holds at a threshold, or does not, and what proves them; see `CaseClaims`.

    Comparisons with the original: with s the original's quantile, that of the candidate's scores, scaled or shifted by
    the threshold, is larger than s only if fewer of these than of the original's are at most s. A sign test of the
    pairs (McNemar 1947, exact) refutes that at a given s; it is done at every s of a confidence interval of the
    original's quantile, so that the two errors add up to alpha. Where rows come in units, the two quantiles are bounded
    by themselves, each at half of alpha.
    """

    def __init__(self, scores: CaseScores, comparison: str, confidence: float) -> None:
        self._scores, self._comparison, self._confidence = scores, comparison, confidence
        self._factor = effective_share(scores.units, 1 - scores.rule.share)
        self._paired = comparison in ("retention", "rise_at_most")
        self._kept_places: dict[tuple[bool, float, float], tuple[int | None, int | None]] = {}

    @property
    def method(self) -> str:
        """What bounds it, in words."""
        if not self._paired:
            return ORDER_STATISTICS
        return PAIRED if self._factor == 1.0 else OF_BOTH

    def proves(self, threshold: float, times: float = 1.0) -> bool:
        """Whether the threshold is proven to be met; `times` as if there were so much more evidence."""
        new = self._scores.candidate
        if not self._paired:
            return self._single(new, threshold, self._confidence, times, at_most=self._comparison == "at_most")
        if self._comparison == "retention":
            return threshold <= 0 or self._no_worse(new * threshold, times)
        return self._no_worse(new - threshold, times)

    def bounds(self) -> tuple[float | None, float | None]:
        """Return the one-sided lower and upper bound of what is compared; None where there is none."""
        old, new = self._scores.original, self._scores.candidate
        if not self._paired:
            low, high = self._places(self._confidence)
            return None if low is None else float(new[low]), None if high is None else float(new[high])
        if self._comparison == "retention":
            met, missed = self.proves, lambda ratio: ratio > 0 and self._no_better(new * ratio)
            return _last(met, 0.0, _LARGEST_RATIO), _last(missed, _LARGEST_RATIO, 0.0)
        reach = float(max(old.max(initial=0.0), new.max(initial=0.0)))
        lower = _last(lambda rise: self._no_better(new - rise), -reach, reach)
        return lower, _last(self.proves, reach, -reach)

    def _single(
        self, values: np.ndarray, threshold: float, confidence: float, times: float = 1.0, *, at_most: bool = True
    ) -> bool:
        """Whether the quantile of the values is proven to be at most, or at least, a threshold."""
        share = self._scores.rule.share
        below = values <= threshold if at_most else values < threshold
        count, cases = float(below.sum()) * self._factor * times, len(values) * self._factor * times
        if self._factor >= NEARLY_SINGLE:
            if at_most:
                return binomial_lower_bound(count, cases, confidence) >= share
            return binomial_upper_bound(count, cases, confidence) < share
        marks = (~below if at_most else below).astype(np.float64)
        limit = 1 - share if at_most else share
        return unit_means(marks[:, None], self._scores.units).refutes(np.ones(1), limit, confidence, 1.0, times)

    def _places(
        self, confidence: float, times: float = 1.0, *, of_candidate: bool = True
    ) -> tuple[int | None, int | None]:
        """Return the cases with the largest and the smallest score between which a model's quantile is proven to lie.

        Which cases these are does not depend on how all scores are scaled or shifted.
        """
        key = (of_candidate, confidence, times)
        if key not in self._kept_places:
            values = self._scores.candidate if of_candidate else self._scores.original
            ordered, first = np.unique(values, return_index=True)
            low = _partition(
                len(ordered), lambda at: not self._single(values, ordered[at], confidence, times, at_most=False)
            )
            high = _partition(len(ordered), lambda at: self._single(values, ordered[at], confidence, times))
            self._kept_places[key] = (
                int(first[low - 1]) if low else None,
                int(first[high]) if high < len(ordered) else None,
            )
        return self._kept_places[key]

    def _no_worse(self, moved: np.ndarray, times: float = 1.0) -> bool:
        """Whether the quantile of the candidate's scores, as moved, is proven to be no larger than the original's."""
        return self._no_larger(moved, self._scores.original, times, of_candidate=False)

    def _no_better(self, moved: np.ndarray) -> bool:
        """Whether it is proven to be no smaller."""
        return self._no_larger(self._scores.original, moved, of_candidate=True)

    def _no_larger(self, first: np.ndarray, second: np.ndarray, times: float = 1.0, *, of_candidate: bool) -> bool:
        """Whether the quantile of the first scores is proven to be no larger than that of the second scores."""
        wrong = 1 - self._confidence
        if self._factor < 1.0:
            highest = self._places(1 - wrong / 2, times, of_candidate=not of_candidate)[1]
            lowest = self._places(1 - wrong / 2, times, of_candidate=of_candidate)[0]
            return highest is not None and lowest is not None and bool(first[highest] <= second[lowest])
        low, high = self._places(1 - wrong * _FOR_ITS_PLACE / 2, times, of_candidate=of_candidate)
        if low is None or high is None:
            return False
        every = np.concatenate([first, second])
        # Between two values that were seen the counts do not change.
        places = np.unique(np.append(every[(every > second[low]) & (every <= second[high])], second[low]))
        better, worse = first < second, second < first
        gained = _between(first[better], second[better], places) * times
        lost = _between(second[worse], first[worse], places) * times
        return bool((_sign_test(gained, lost) <= wrong * (1 - _FOR_ITS_PLACE)).all())


def _between(starts: np.ndarray, ends: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Count at each place the pairs of which the start is at most there and the end beyond."""
    begun = np.searchsorted(np.sort(starts), places, side="right")
    ended = np.searchsorted(np.sort(ends), places, side="right")
    return (begun - ended).astype(np.float64)


def _sign_test(gained: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Return how likely so many gains or more are among pairs that differ, if a loss is as likely; 1 without any."""
    from scipy.special import betainc

    chances: np.ndarray = np.where(gained > 0, betainc(np.maximum(gained, 1e-9), lost + 1, 0.5), 1.0)
    return chances


def _partition(count: int, holds: Callable[[Any], bool]) -> int:
    """Return the first of 0 … count - 1 at which a test holds that holds ever after; `count` where it never does."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _last(holds: Callable[[Any], bool], safe: float, end: float) -> float | None:
    """Return the threshold furthest from the safe end at which a test holds; None where it does not hold there."""
    if not holds(safe):
        return None
    if holds(end):
        return end
    for _ in range(_STEPS):
        middle = (safe + end) / 2
        safe, end = (middle, end) if holds(middle) else (safe, middle)
    return safe
