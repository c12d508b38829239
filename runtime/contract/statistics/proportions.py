"""Bounds of one proportion, of the ratio or difference of two paired ones, and of the ratio of two groups'.

Rows that belong to one unit, such as a patient, count as fewer cases.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from titrant.runtime.contract.statistics.special import beta_quantile
from titrant.schema.samples.groups import ratio_excess, ratio_statistic
from titrant.schema.samples.paired import FEW_CHANGED, constrained_discordance, difference_statistic


@dataclass(frozen=True)
class Pairs:
    """Counts of paired cases; `lost` only the original has right, `gained` only the candidate.

    Fractions are allowed: rows of one unit count for less than a case each.
    """

    both: float
    lost: float
    gained: float
    neither: float

    @property
    def cases(self) -> float:
        """All pairs."""
        return self.both + self.lost + self.gained + self.neither

    @property
    def decided(self) -> float:
        """Pairs that at least one of the two has right; the ratio depends on no other."""
        return self.both + self.lost + self.gained

    @property
    def changed(self) -> float:
        """Pairs on which the two differ."""
        return self.lost + self.gained

    def times(self, factor: float) -> "Pairs":
        """Return the same shares among more or fewer cases."""
        return Pairs(self.both * factor, self.lost * factor, self.gained * factor, self.neither * factor)


def pairs(original: np.ndarray, candidate: np.ndarray) -> Pairs:
    """Count from which cases either model has right, both (rows,) bool."""
    both = int((original & candidate).sum())
    lost, gained = int((original & ~candidate).sum()), int((~original & candidate).sum())
    return Pairs(both, lost, gained, len(original) - both - lost - gained)


PAIRED_RATIO_SCORE = "score test of Nam and Blackwelder (2002)"
PAIRED_RATIO_EXACT = "exact bound on the share kept (Clopper and Pearson); what was gained does not count"
_HIGHEST_PAIRED_RATIO = 1e6


def paired_ratio_statistic(counts: Pairs, ratio: float) -> float:
    """Return the score statistic of H0: p_candidate = ratio · p_original, standard normal under H0.

    Nam and Blackwelder (2002), "Analysis of the ratio of marginal probabilities in a matched-pair setting",
    Statistics in Medicine 21. With x counts of n pairs and r the ratio

        Z = (x_candidate - r x_original) / √(n r (p̃_lost + p̃_gained))

    where p̃ maximizes the multinomial likelihood under H0. By Lagrange's multipliers p̃_neither is the observed share;
    with m = 1 - p̃_neither, P = p̃_original is the smaller root of (1 + r) r N P² - B m P + C m² = 0,

        N = both + lost + gained,  B = both (1 + r)² + lost r (2 + r) + gained (1 + 2 r),
        C = both (1 + r) + lost r + gained,  and  p̃_lost + p̃_gained = 2 m - (1 + r) P.

    Pairs that neither has right therefore cancel. Z falls as the ratio grows.
    """
    return _paired_statistic(counts.both, counts.lost, counts.gained, ratio)


def _paired_statistic(both: float, lost: float, gained: float, ratio: float) -> float:
    difference = both + gained - ratio * (both + lost)
    discordance = constrained_discordance(both, lost, gained, ratio)
    # At ratio 1 with nothing changed both vanish; so does rounding noise.
    if discordance <= 1e-12 * (both + lost + gained):
        vanishes = abs(difference) <= 1e-12 * (both + lost + gained)
        return 0.0 if vanishes else math.copysign(math.inf, difference)
    return difference / math.sqrt(ratio * discordance)


def score_lower(counts: Pairs, confidence: float) -> float:
    """Return the smallest ratio that the score test does not reject as too small."""
    z = NormalDist().inv_cdf(confidence)
    both, lost, gained = counts.both, counts.lost, counts.gained
    return crossing(lambda ratio: _paired_statistic(both, lost, gained, ratio) - z, 1e-9, _estimate(counts))


def score_upper(counts: Pairs, confidence: float) -> float:
    """Return the largest ratio that the score test does not reject as too large."""
    z = NormalDist().inv_cdf(confidence)
    both, lost, gained = counts.both, counts.lost, counts.gained
    estimate = _estimate(counts)
    high = max(2.0, 2 * estimate)
    while _paired_statistic(both, lost, gained, high) + z > 0 and high < _HIGHEST_PAIRED_RATIO:
        high *= 4
    return crossing(lambda ratio: _paired_statistic(both, lost, gained, ratio) + z, max(estimate, 1e-9), high)


def paired_ratio_lower_bound(counts: Pairs, confidence: float) -> tuple[float, str]:
    """Return the one-sided lower bound of the ratio, and the method.

    Under five changed cases the score test's approximation is not trusted, and where nothing was gained the question
    is that of one proportion: then the bound is exact. Among the N pairs that either has right, let v and w be the
    chances to be lost and gained. The ratio is (1 - v) / (1 - w) ≥ 1 - v whatever w is, and lost is binomial(N, v), so
    the exact lower bound of 1 - v bounds the ratio too. It is conservative by what it ignores: the gains.
    """
    if counts.changed < FEW_CHANGED or counts.gained == 0:
        return binomial_lower_bound(counts.both + counts.gained, counts.decided, confidence), PAIRED_RATIO_EXACT
    lower = score_lower(counts, confidence)
    if counts.lost == 0:
        # One proportion again, that of the gains: 1 / (1 - w).
        lower = min(lower, 1 / (1 - binomial_lower_bound(counts.gained, counts.decided, confidence)))
    return lower, PAIRED_RATIO_SCORE


def paired_ratio_upper_bound(counts: Pairs, confidence: float) -> float:
    """Return the one-sided upper bound of the ratio.

    Under five changed cases: (1 - v) / (1 - w) with the exact bounds of both, each at half the error (Bonferroni).
    """
    if counts.changed < FEW_CHANGED or counts.lost == 0:
        each = confidence if counts.lost == 0 else (1 + confidence) / 2
        kept = binomial_upper_bound(counts.both + counts.gained, counts.decided, each)
        gained = binomial_upper_bound(counts.gained, counts.decided, each)
        return kept / (1 - gained) if gained < 1 else _HIGHEST_PAIRED_RATIO
    upper = score_upper(counts, confidence)
    if counts.gained == 0:
        upper = max(upper, binomial_upper_bound(counts.both, counts.decided, confidence))
    return upper


def _estimate(counts: Pairs) -> float:
    return (counts.both + counts.gained) / (counts.both + counts.lost)


GROUP_RATIO_SCORE = "score bound of Miettinen and Nurminen (1985), corrected for skewness (Gart and Nam 1988)"
GROUP_RATIO_EXACT = "exact bound of the first group's share (Clopper and Pearson), the second's taken as 1"
BONFERRONI = "exact bounds of both groups' shares (Clopper and Pearson), each at half the error"
_HIGHEST_GROUP_RATIO = 1e6


@dataclass(frozen=True)
class GroupShare:
    """How many of a group's cases are right; fractions where rows of one unit count for less than a case each."""

    right: float
    cases: float

    @property
    def value(self) -> float:
        """The proportion."""
        return self.right / self.cases

    @property
    def wrong(self) -> float:
        """Cases that are not right."""
        return self.cases - self.right

    def times(self, factor: float) -> "GroupShare":
        """Return the same share of more or fewer cases."""
        return GroupShare(self.right * factor, self.cases * factor)


def group_ratio_statistic(group: GroupShare, other: GroupShare, ratio: float) -> float:
    """Return the score statistic of H0: p_group = ratio · p_other (Miettinen and Nurminen 1985)."""
    return ratio_statistic(group.right, group.cases, other.right, other.cases, ratio)


def group_ratio_excess(group: GroupShare, other: GroupShare, ratio: float, z: float) -> float:
    """Return how far the score statistic exceeds what an error of one side at `z` asks for: see `ratio_excess`."""
    return ratio_excess(group.right, group.cases, other.right, other.cases, ratio=ratio, z=z)


def group_ratio_lower_bound(group: GroupShare, other: GroupShare, confidence: float) -> tuple[float, str]:
    """Return the one-sided lower bound of p_group / p_other, and the method.

    Where a group has fewer than five wrong cases the approximation is not trusted, and the bound is exact: if it is the
    second, p_other is taken as 1; else both shares are bounded, each at half the error (Bonferroni). So are they where
    the second group has none right, whose score statistic has no ratio to start from.
    """
    if group.right == 0 or other.wrong < FEW_CHANGED:
        return binomial_lower_bound(group.right, group.cases, confidence), GROUP_RATIO_EXACT
    if group.wrong < FEW_CHANGED or other.right == 0:
        each = (1 + confidence) / 2
        lower = binomial_lower_bound(group.right, group.cases, each)
        return lower / binomial_upper_bound(other.right, other.cases, each), BONFERRONI
    z = NormalDist().inv_cdf(confidence)
    return crossing(
        lambda ratio: group_ratio_excess(group, other, ratio, z), 1e-9, group.value / other.value
    ), GROUP_RATIO_SCORE


def group_ratio_upper_bound(group: GroupShare, other: GroupShare, confidence: float) -> float:
    """Return the one-sided upper bound of p_group / p_other: one over the lower bound of the inverse."""
    bound, _ = group_ratio_lower_bound(other, group, confidence)
    return 1 / bound if bound > 1 / _HIGHEST_GROUP_RATIO else _HIGHEST_GROUP_RATIO


PAIRED_DIFFERENCE_SCORE = "score test of Tango (1998)"
PAIRED_DIFFERENCE_EXACT = "exact bound on the share lost or gained (Clopper and Pearson)"


def paired_difference_statistic(counts: Pairs, difference: float) -> float:
    """Return the score statistic of H0: p_candidate - p_original = difference, standard normal under H0.

    Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17: see `difference_statistic`.
    """
    return difference_statistic(counts.lost, counts.gained, counts.cases, difference)


def paired_difference_lower_bound(counts: Pairs, confidence: float) -> tuple[float, str]:
    """Return the one-sided lower bound of the difference, and the method.

    Under five changed cases, or with none gained: the difference is at least -P(lost), whose bound is exact.
    """
    if counts.changed < FEW_CHANGED or counts.gained == 0:
        return -binomial_upper_bound(counts.lost, counts.cases, confidence), PAIRED_DIFFERENCE_EXACT
    z = NormalDist().inv_cdf(confidence)
    estimate = (counts.gained - counts.lost) / counts.cases
    lower = crossing(lambda value: paired_difference_statistic(counts, value) - z, -1.0, estimate)
    if counts.lost == 0:
        lower = min(lower, binomial_lower_bound(counts.gained, counts.cases, confidence))
    return lower, PAIRED_DIFFERENCE_SCORE


def paired_difference_upper_bound(counts: Pairs, confidence: float) -> tuple[float, str]:
    """Return the one-sided upper bound of the difference, and the method: the lower bound seen from the other side."""
    bound, method = paired_difference_lower_bound(
        Pairs(counts.both, counts.gained, counts.lost, counts.neither), confidence
    )
    return -bound, method


def binomial_lower_bound(count: float, cases: float, confidence: float) -> float:
    """Return the one-sided lower bound of a proportion (Clopper and Pearson 1934).

    Counts may be fractions, as they are where units have several rows. 0 without cases.
    """
    if count <= 0 or cases <= 0:
        return 0.0
    return float(beta_quantile(count, max(cases - count, 0.0) + 1, 1 - confidence))


def binomial_upper_bound(count: float, cases: float, confidence: float) -> float:
    """Return the one-sided upper bound of a proportion (Clopper and Pearson 1934); 1 without cases."""
    return 1 - binomial_lower_bound(cases - count, cases, confidence) if cases > 0 else 1.0


def crossing(falling: Callable[[float], float], low: float, high: float, steps: int = 100) -> float:
    """Return where a falling function crosses zero, by bisection; an end of the interval where it does not.

    What lies outside `narrowed` is not asked again: the answer is that of bisection alone, in half the calls.
    """
    at_low = falling(low)
    if at_low <= 0:
        return low
    at_high = falling(high)
    if at_high >= 0:
        return high
    above, below = narrowed(falling, (low, at_low), (high, at_high))
    for _ in range(steps):
        middle = (low + high) / 2
        if middle == low or middle == high:  # noqa: SIM109, PLR1714 - asked some fifty times a bound
            break
        if middle <= above or (middle < below and falling(middle) > 0):
            low = middle
        else:
            high = middle
    return low


# Narrower than this share of where it is, rounding decides on which side of zero a function is.
_NARROW = 1e-12
_MOST_TRIES = 60


def narrowed(
    falling: Callable[[float], float], above: tuple[float, float], below: tuple[float, float]
) -> tuple[float, float]:
    """Return a narrow interval in which a falling function crosses zero, from points (x, value) on either side of it.

    Chandrupatla (1997), "A new hybrid quadratic/bisection algorithm for finding the zero of a nonlinear function
    without using derivatives", Advances in Engineering Software 28. Halves where values are not finite.
    """
    last, other = below, above
    share = 0.5
    for _ in range(_MOST_TRIES):
        width = abs(other[0] - last[0])
        narrow = _NARROW * max(abs(last[0]), abs(other[0]))
        if width <= narrow:
            break
        share = min(max(share, 0.5 * narrow / width), 1 - 0.5 * narrow / width)
        tried = last[0] + share * (other[0] - last[0])
        point = (tried, falling(tried))
        before, other = (last, other) if (point[1] > 0) == (last[1] > 0) else (other, last)
        last, share = point, _share_to_zero(point, other, before)
    # Where it is asked last it may be so near zero that rounding decided.
    spare = _NARROW * max(abs(last[0]), abs(other[0]))
    return min(last[0], other[0]) - spare, max(last[0], other[0]) + spare


def _share_to_zero(last: tuple[float, float], other: tuple[float, float], before: tuple[float, float]) -> float:
    """Return the share of the way from `last` to `other` at which zero is tried: by a parabola where that is safe."""
    (a, at_a), (b, at_b), (c, at_c) = last, other, before
    if not math.isfinite(at_a + at_b + at_c) or b in (a, c) or at_c in (at_a, at_b):
        return 0.5
    across, along = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b)
    if not (1 - math.sqrt(max(0.0, 1 - across)) < along < math.sqrt(max(0.0, across))):
        return 0.5
    linear = at_a / (at_b - at_a) * at_c / (at_b - at_c)
    return linear + (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
