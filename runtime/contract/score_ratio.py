"""Bounds of the ratio of two paired proportions."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from titrant.runtime.contract.binomial import bounds as exact_bounds

# Below this many changed cases the normal approximation of the score test is not trusted.
FEW_CHANGES = 5
_HIGHEST = 1e6


@dataclass(frozen=True)
class Pairs:
    """Counts of paired cases: both right, only the new right (gained), only the original right (lost), neither."""

    both: int
    gained: int
    lost: int
    neither: int

    @property
    def cases(self) -> int:
        """All pairs."""
        return self.both + self.gained + self.lost + self.neither

    @property
    def changed(self) -> int:
        """Pairs that decide the test."""
        return self.gained + self.lost

    @property
    def ratio(self) -> float | None:
        """New proportion over original proportion, None when the original is never right."""
        before = self.both + self.lost
        return (self.both + self.gained) / before if before else None


def constrained(pairs: Pairs, ratio: float) -> tuple[float, float]:
    """Return the maximum likelihood estimates of P(gained) and P(lost) when p_new = ratio · p_orig.

    Nam and Blackwelder (2002), "Analysis of the ratio of marginal probabilities in a matched-pair setting",
    Statistics in Medicine 21, with r the ratio and all p observed shares:

    p̃_gained = [−p_new + r² (p_orig + 2 p_gained) + √((p_new − r² p_orig)² + 4 r² p_gained p_lost)] / (2 r (r + 1))
    p̃_lost   = r p̃_gained − (r − 1)(1 − p_neither)
    """
    n = pairs.cases
    new, old = (pairs.both + pairs.gained) / n, (pairs.both + pairs.lost) / n
    gained, lost = pairs.gained / n, pairs.lost / n
    root = math.sqrt((new - ratio**2 * old) ** 2 + 4 * ratio**2 * gained * lost)
    estimate = (-new + ratio**2 * (old + 2 * gained) + root) / (2 * ratio * (ratio + 1))
    return estimate, ratio * estimate - (ratio - 1) * (1 - pairs.neither / n)


def statistic(pairs: Pairs, ratio: float) -> float:
    """Return the score statistic of H0: p_new = ratio · p_orig, standard normal under H0.

    T = (p_new − r p_orig) / √(r (p̃_gained + p̃_lost) / n): the variance is the one under the constrained estimate.
    """
    n = pairs.cases
    gained, lost = constrained(pairs, ratio)
    variance = ratio * (max(gained, 0.0) + max(lost, 0.0)) / n
    difference = (pairs.both + pairs.gained - ratio * (pairs.both + pairs.lost)) / n
    if variance <= 0:
        return 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return difference / math.sqrt(variance)


def score_bounds(pairs: Pairs, confidence: float) -> tuple[float, float]:
    """Return the ratios at which the score statistic reaches ± z: one-sided bounds at `confidence`."""
    z = NormalDist().inv_cdf(confidence)
    estimate = pairs.ratio
    if not estimate:
        return 0.0, _HIGHEST
    # The statistic falls as the hypothetical ratio grows.
    lower = _crossing(lambda ratio: statistic(pairs, ratio) - z, 1e-9, estimate)
    upper = _crossing(lambda ratio: statistic(pairs, ratio) + z, estimate, _HIGHEST)
    return lower, upper


def _crossing(fall, low: float, high: float) -> float:  # type: ignore[no-untyped-def]
    """Find by bisection (on the logarithm) where a falling function crosses zero."""
    if fall(high) > 0:
        return high
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fall(middle) > 0 else (low, middle)
    return low


def few_change_bounds(pairs: Pairs, confidence: float) -> tuple[float, float]:
    """Return bounds that hold exactly for any number of changed cases; they are wider than they would need to be.

    Lower: p_new / p_orig is at least the share of the originally right cases that stay right, whose exact bound is
    Clopper and Pearson's. Upper: that share's upper bound plus the upper bound of P(gained) over the lower bound of
    p_orig, each at a third of the error probability (Bonferroni).
    """
    before = pairs.both + pairs.lost
    if not before:
        return 0.0, _HIGHEST
    lower = exact_bounds(pairs.both, before, confidence)[0]
    third = 1 - (1 - confidence) / 3
    kept = exact_bounds(pairs.both, before, third)[1]
    gained = exact_bounds(pairs.gained, pairs.cases, third)[1]
    right = exact_bounds(before, pairs.cases, third)[0]
    return lower, kept + gained / right if right > 0 else _HIGHEST


def ratio_bounds(pairs: Pairs, confidence: float) -> tuple[float, float, str]:
    """Return lower bound, upper bound and the method's name for the ratio of paired proportions."""
    if pairs.changed < FEW_CHANGES:
        return (*few_change_bounds(pairs, confidence), "exact bound on the share kept (fewer than 5 changed cases)")
    return (*score_bounds(pairs, confidence), "score test of Nam and Blackwelder (2002)")
