"""Bounds for the ratio of two paired proportions, candidate over original."""

import math
from statistics import NormalDist

from titrant.runtime.contract import binomial
from titrant.runtime.contract.crossing import crossing
from titrant.runtime.contract.pairs import Pairs
from titrant.schema.cases import FEW_CHANGED, constrained_discordance

SCORE = "score test of Nam and Blackwelder (2002)"
EXACT = "exact bound on the share kept (Clopper and Pearson); what was gained does not count"
_HIGHEST = 1e6


def statistic(counts: Pairs, ratio: float) -> float:
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
    difference = counts.both + counts.gained - ratio * (counts.both + counts.lost)
    discordance = constrained_discordance(counts.both, counts.lost, counts.gained, ratio)
    # At ratio 1 with nothing changed both vanish; so does rounding noise.
    if discordance <= 1e-12 * counts.decided:
        return 0.0 if abs(difference) <= 1e-12 * counts.decided else math.copysign(math.inf, difference)
    return difference / math.sqrt(ratio * discordance)


def score_lower(counts: Pairs, confidence: float) -> float:
    """Return the smallest ratio that the score test does not reject as too small."""
    z = NormalDist().inv_cdf(confidence)
    return crossing(lambda ratio: statistic(counts, ratio) - z, 1e-9, _estimate(counts))


def score_upper(counts: Pairs, confidence: float) -> float:
    """Return the largest ratio that the score test does not reject as too large."""
    z = NormalDist().inv_cdf(confidence)
    estimate = _estimate(counts)
    high = max(2.0, 2 * estimate)
    while statistic(counts, high) + z > 0 and high < _HIGHEST:
        high *= 4
    return crossing(lambda ratio: statistic(counts, ratio) + z, max(estimate, 1e-9), high)


def lower_bound(counts: Pairs, confidence: float) -> tuple[float, str]:
    """Return the one-sided lower bound of the ratio, and the method.

    Under five changed cases the score test's approximation is not trusted, and where nothing was gained the question
    is that of one proportion: then the bound is exact. Among the N pairs that either has right, let v and w be the
    chances to be lost and gained. The ratio is (1 - v) / (1 - w) ≥ 1 - v whatever w is, and lost is binomial(N, v), so
    the exact lower bound of 1 - v bounds the ratio too. It is conservative by what it ignores: the gains.
    """
    if counts.changed < FEW_CHANGED or counts.gained == 0:
        return binomial.lower_bound(counts.both + counts.gained, counts.decided, confidence), EXACT
    lower = score_lower(counts, confidence)
    if counts.lost == 0:
        # One proportion again, that of the gains: 1 / (1 - w).
        lower = min(lower, 1 / (1 - binomial.lower_bound(counts.gained, counts.decided, confidence)))
    return lower, SCORE


def upper_bound(counts: Pairs, confidence: float) -> float:
    """Return the one-sided upper bound of the ratio.

    Under five changed cases: (1 - v) / (1 - w) with the exact bounds of both, each at half the error (Bonferroni).
    """
    if counts.changed < FEW_CHANGED or counts.lost == 0:
        each = confidence if counts.lost == 0 else (1 + confidence) / 2
        kept = binomial.upper_bound(counts.both + counts.gained, counts.decided, each)
        gained = binomial.upper_bound(counts.gained, counts.decided, each)
        return kept / (1 - gained) if gained < 1 else _HIGHEST
    upper = score_upper(counts, confidence)
    if counts.gained == 0:
        upper = max(upper, binomial.upper_bound(counts.both, counts.decided, confidence))
    return upper


def _estimate(counts: Pairs) -> float:
    return (counts.both + counts.gained) / (counts.both + counts.lost)
