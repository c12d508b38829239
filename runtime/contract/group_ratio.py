"""Bounds for the ratio of two independent proportions, one of each group."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from titrant.runtime.contract import binomial
from titrant.runtime.contract.crossing import crossing
from titrant.schema.cases import FEW_CHANGED

SCORE = "score bound of Miettinen and Nurminen (1985)"
EXACT = "exact bound of the first group's share (Clopper and Pearson), the second's taken as 1"
BONFERRONI = "exact bounds of both groups' shares (Clopper and Pearson), each at half the error"
_HIGHEST = 1e6


@dataclass(frozen=True)
class Share:
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

    def times(self, factor: float) -> "Share":
        """Return the same share of more or fewer cases."""
        return Share(self.right * factor, self.cases * factor)


def constrained(one: Share, other: Share, ratio: float) -> tuple[float, float]:
    """Return the maximum likelihood estimates of both proportions when p_one = ratio · p_other.

    Miettinen and Nurminen (1985), "Comparative analysis of two rates", Statistics in Medicine 4: p_other is the
    smaller root of r (n₁ + n₂) p² - (n₁ r + x₁ + n₂ + x₂ r) p + x₁ + x₂ = 0.
    """
    a = (one.cases + other.cases) * ratio
    b = one.cases * ratio + one.right + other.cases + other.right * ratio
    c = one.right + other.right
    second = min(2 * c / (b + math.sqrt(max(b * b - 4 * a * c, 0.0))), 1.0, 1 / ratio)
    return ratio * second, second


def statistic(one: Share, other: Share, ratio: float) -> float:
    """Return the score statistic of H0: p_one = ratio · p_other, with their correction n / (n - 1) of the variance."""
    first, second = constrained(one, other, ratio)
    total = one.cases + other.cases
    variance = first * (1 - first) / one.cases + ratio**2 * second * (1 - second) / other.cases
    variance *= total / max(total - 1, 1.0)
    difference = one.value - ratio * other.value
    if variance <= 1e-15:
        return 0.0 if abs(difference) <= 1e-12 else math.copysign(math.inf, difference)
    return difference / math.sqrt(variance)


def lower_bound(one: Share, other: Share, confidence: float) -> tuple[float, str]:
    """Return the one-sided lower bound of p_one / p_other, and the method.

    Where a group has fewer than five wrong cases the approximation is not trusted, and the bound is exact: if it is the
    second, p_other is taken as 1; else both shares are bounded, each at half the error (Bonferroni). So are they where
    the second group has none right, whose score statistic has no ratio to start from.
    """
    if one.right == 0 or other.wrong < FEW_CHANGED:
        return binomial.lower_bound(one.right, one.cases, confidence), EXACT
    if one.wrong < FEW_CHANGED or other.right == 0:
        each = (1 + confidence) / 2
        lower = binomial.lower_bound(one.right, one.cases, each)
        return lower / binomial.upper_bound(other.right, other.cases, each), BONFERRONI
    z = NormalDist().inv_cdf(confidence)
    return crossing(lambda ratio: statistic(one, other, ratio) - z, 1e-9, one.value / other.value), SCORE


def upper_bound(one: Share, other: Share, confidence: float) -> float:
    """Return the one-sided upper bound of p_one / p_other: one over the lower bound of the inverse."""
    bound, _ = lower_bound(other, one, confidence)
    return 1 / bound if bound > 1 / _HIGHEST else _HIGHEST
