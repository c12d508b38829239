"""What each case scores under two models, and bounds of what a gate compares of it.

Every comparison is a claim on means over cases: "the mean of a (t) · columns is 0 or more", where the gate does not
hold at the threshold t. A claim is refuted by bets (`UnitMeans`), for any number of cases and any shape of the
distribution, given how far one case can go; the bound of the gate is the last threshold that is refuted.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from titrant.runtime.contract.statistics.means import AT_ANY_TIME, AT_ONCE, BETTING, UnitMeans, unit_means
from titrant.schema.gate import SMALLER_IS_BETTER
from titrant.schema.recipe.tasks import CASE_METRICS, CaseMetric

# Where a bound is looked for at most: of a ratio, and of what has no end of its own, as a multiple of the range.
_LARGEST_RATIO = 1024.0
_STEPS = 48
# Beyond it an exponential is more than a float holds.
_LARGEST_EXPONENT = 700.0


class Unassessable(Exception):  # noqa: N818 - not an error: the gate answers INCONCLUSIVE with this reason
    """Why a gate cannot be computed on these cases, as a clause for a person."""


@dataclass(frozen=True)
class CaseScores:
    """What cases score: `original` and `candidate` (cases,), each from `low` to `high`, and their units (cases,).

    `weights` (cases,), 0 or more, say how much of the mean a case is (None: all the same): the tokens of a document.
    `spread` (cases,) is the squared distance of a label from the mean label, for what is explained of it.
    `changed` (cases,) bool says which are answered otherwise, where other scores do not tell it.
    `words` names the slice, "" for all cases. `unseen` says what the metric leaves out that the candidate does more
    often, "" for nothing: a gate on it is open then.
    """

    metric: str
    original: np.ndarray
    candidate: np.ndarray
    units: np.ndarray
    low: float
    high: float
    words: str = ""
    weights: np.ndarray | None = None
    spread: np.ndarray | None = None
    changed: np.ndarray | None = None
    unseen: str = ""

    @property
    def rule(self) -> CaseMetric:
        """How the metric follows from the scores."""
        return CASE_METRICS[self.metric]

    @property
    def less_is_better(self) -> bool:
        """Whether a small score is a good one."""
        return self.rule.less_is_better or self.rule.link == "explained"

    @property
    def counted(self) -> int:
        """How many cases have a part of the mean."""
        return len(self.original) if self.weights is None else int((self.weights > 0).sum())

    @property
    def before(self) -> float | None:
        """The metric of the original; None where these cases do not define it."""
        return self._value(self.original)

    @property
    def after(self) -> float | None:
        """The metric of the candidate."""
        return self._value(self.candidate)

    def _value(self, scores: np.ndarray) -> float | None:
        if self.rule.link == "quantile":
            return float(np.quantile(scores, self.rule.share, method="inverted_cdf")) if len(scores) else None
        weights = np.ones(len(scores)) if self.weights is None else self.weights
        total = float(weights.sum())
        if not total:
            return None
        mean = float((scores * weights).sum()) / total
        if self.rule.link == "explained":
            variance = 0.0 if self.spread is None else float(self.spread.mean())
            return 1 - mean / variance if variance else None
        return self.linked(mean)

    def linked(self, mean: float) -> float:
        """Return the metric that has a mean score."""
        match self.rule.link:
            case "root":
                return math.sqrt(mean)
            case "exponential":
                return math.exp(min(mean, _LARGEST_EXPONENT))
        return mean


def compared(scores: CaseScores, comparison: str) -> float | None:
    """Return what a comparison looks at; None where a metric is not defined, or a ratio is to what is not above 0."""
    before, after = scores.before, scores.after
    if before is None or after is None:
        return None
    match comparison:
        case "retention":
            first, second = (after, before) if scores.rule.less_is_better else (before, after)
            if first <= 0:  # of a negative original a worse candidate would have the larger ratio
                return 1.0 if first == second == 0 else None
            return second / first
        case "drop_at_most":
            return before - after
        case "rise_at_most":
            return after - before
    return after


class CaseClaims:
    """The claims that a gate does not hold at a threshold, or that it does, and what refutes them."""

    method = BETTING

    def __init__(self, scores: CaseScores, comparison: str, confidence: float, *, always_valid: bool = False) -> None:
        weights = np.ones(len(scores.original)) if scores.weights is None else scores.weights
        columns = [weights, weights * scores.original, weights * scores.candidate]
        most = float(weights.max(initial=1.0))
        ends = (scores.low, scores.high)
        pairs = itertools.product(ends, repeat=2)
        corners: list[tuple[float, ...]] = [(most, most * old, most * new) for old, new in pairs]
        if scores.spread is not None:
            columns.append(scores.spread)
            corners = [(*corner, spread) for corner in corners for spread in (0.0, scores.high)]
        nothing = [tuple(0.0 for _ in columns)]
        self._corners = np.array(corners + (nothing if scores.weights is not None else []))
        self._gathered: UnitMeans = unit_means(
            np.stack(columns, axis=1), scores.units, AT_ANY_TIME if always_valid else AT_ONCE
        )
        self._scores, self._comparison, self._confidence = scores, comparison, confidence

    def proves(self, threshold: float, times: float = 1.0) -> bool:
        """Whether the threshold is proven to be met; `times` as if there were so much more evidence."""
        return self._refutes(self._weights(threshold), times)

    def log_wealth(self, threshold: float) -> float:
        """Return the log of what bets have won against the claim that the threshold is not met."""
        weights = self._weights(threshold)
        return self._gathered.log_wealth(weights, 0.0, self._highest(weights))

    def bounds(self) -> tuple[float | None, float | None]:
        """Return the one-sided lower and upper bound of what is compared; None where there is none."""
        estimate = compared(self._scores, self._comparison)
        if estimate is None:
            return None, None
        lowest, highest = self._ends()
        met, missed = self.proves, self._refutes_met
        down, up = (missed, met) if self._comparison in SMALLER_IS_BETTER else (met, missed)
        return _last(down, estimate, lowest), _last(up, estimate, highest)

    def _ends(self) -> tuple[float, float]:
        """Return the least and the most that what is compared can be."""
        scores, link = self._scores, self._scores.rule.link
        if self._comparison == "retention":
            return 0.0, _LARGEST_RATIO
        if link == "explained":
            least = 1 - _LARGEST_RATIO
            return (least, 1.0) if self._comparison in ("at_least", "at_most") else (-_LARGEST_RATIO, _LARGEST_RATIO)
        if self._comparison in ("drop_at_most", "rise_at_most"):
            return scores.low - scores.high, scores.high - scores.low
        return scores.linked(scores.low), scores.linked(scores.high)

    def _refutes_met(self, threshold: float) -> bool:
        return self._refutes(-self._weights(threshold))

    def _refutes(self, weights: np.ndarray, times: float = 1.0) -> bool:
        highest = self._highest(weights)
        # What no case can exceed, no mean does.
        return highest <= 0 or self._gathered.refutes(weights, 0.0, self._confidence, highest, times)

    def _highest(self, weights: np.ndarray) -> float:
        return float((self._corners @ weights).max())

    def _weights(self, threshold: float) -> np.ndarray:
        """Return the weights of the columns, of which the mean is 0 or more where the gate does not hold."""
        scores, rule = self._scores, self._scores.rule
        if rule.link == "explained":
            return _explained(self._comparison, threshold)
        if rule.link == "root":
            threshold = threshold**2 if threshold > 0 else threshold
        if rule.link == "exponential":
            return _of_logarithms(self._comparison, math.log(max(threshold, math.exp(-_LARGEST_EXPONENT))))
        match self._comparison:
            case "retention" if rule.less_is_better:
                weights = (0.0, -1.0, threshold)
            case "retention":
                weights = (0.0, threshold, -1.0)
            case "drop_at_most":
                weights = (-threshold, 1.0, -1.0)
            case "rise_at_most":
                weights = (-threshold, -1.0, 1.0)
            case "at_least":
                weights = (threshold, 0.0, -1.0)
            case _:
                weights = (-threshold, 0.0, 1.0)
        return np.array(weights if scores.spread is None else (*weights, 0.0))


def _of_logarithms(comparison: str, threshold: float) -> np.ndarray:
    """Return the weights of (1, original, candidate) of an exponential: a ratio of two is a difference of means."""
    match comparison:
        case "retention":
            weights = (threshold, -1.0, 1.0)
        case "at_least":
            weights = (threshold, 0.0, -1.0)
        case _:
            weights = (-threshold, 0.0, 1.0)
    return np.array(weights)


def _explained(comparison: str, threshold: float) -> np.ndarray:
    """Return the weights of (1, original, candidate, spread): what is explained is 1 - mean error / mean spread."""
    match comparison:
        case "retention":
            weights = (0.0, -threshold, 1.0, threshold - 1)
        case "drop_at_most":
            weights = (0.0, -1.0, 1.0, -threshold)
        case "rise_at_most":
            weights = (0.0, 1.0, -1.0, -threshold)
        case "at_least":
            weights = (0.0, 0.0, 1.0, threshold - 1)
        case _:
            weights = (0.0, 0.0, -1.0, 1 - threshold)
    return np.array(weights)


def _last(refuted: Callable[[float], bool], estimate: float, end: float) -> float | None:
    """Return the threshold nearest to the estimate that is refuted, from the end on; None where none is."""
    if not refuted(end):
        return None
    safe, near = end, estimate
    for _ in range(_STEPS):
        middle = (safe + near) / 2
        safe, near = (middle, near) if refuted(middle) else (safe, middle)
    return safe
