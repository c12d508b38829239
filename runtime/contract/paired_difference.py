"""Bounds for the difference of two paired proportions, candidate minus original."""

import math
from statistics import NormalDist

from titrant.runtime.contract import binomial
from titrant.runtime.contract.crossing import crossing
from titrant.runtime.contract.pairs import Pairs
from titrant.schema.cases import FEW_CHANGED

SCORE = "score test of Tango (1998)"
EXACT = "exact bound on the share lost or gained (Clopper and Pearson)"


def statistic(counts: Pairs, difference: float) -> float:
    """Return the score statistic of H0: p_candidate - p_original = difference, standard normal under H0.

    Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17: Z = (gained - lost - n Δ) / √(n (2 q + Δ - Δ²)), where q estimates P(lost)
    under H0, the larger root of 2 n q² - B q - lost Δ (1 - Δ) = 0 with
    B = lost (1 - 3 Δ) + gained (1 - Δ) - 2 (both + neither) Δ.
    """
    n = counts.cases
    b = (
        counts.lost * (1 - 3 * difference)
        + counts.gained * (1 - difference)
        - 2 * (counts.both + counts.neither) * difference
    )
    root = math.sqrt(max(b * b + 8 * n * counts.lost * difference * (1 - difference), 0.0))
    lost = min(max((b + root) / (4 * n), -difference, 0.0), (1 - difference) / 2)
    variance = n * (2 * lost + difference - difference**2)
    distance = counts.gained - counts.lost - n * difference
    if variance <= 1e-12 * n:
        return 0.0 if abs(distance) <= 1e-12 * n else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def lower_bound(counts: Pairs, confidence: float) -> tuple[float, str]:
    """Return the one-sided lower bound of the difference, and the method.

    Under five changed cases, or with none gained: the difference is at least -P(lost), whose bound is exact.
    """
    if counts.changed < FEW_CHANGED or counts.gained == 0:
        return -binomial.upper_bound(counts.lost, counts.cases, confidence), EXACT
    z = NormalDist().inv_cdf(confidence)
    estimate = (counts.gained - counts.lost) / counts.cases
    lower = crossing(lambda value: statistic(counts, value) - z, -1.0, estimate)
    if counts.lost == 0:
        lower = min(lower, binomial.lower_bound(counts.gained, counts.cases, confidence))
    return lower, SCORE


def upper_bound(counts: Pairs, confidence: float) -> tuple[float, str]:
    """Return the one-sided upper bound of the difference, and the method: the lower bound seen from the other side."""
    bound, method = lower_bound(Pairs(counts.both, counts.gained, counts.lost, counts.neither), confidence)
    return -bound, method
