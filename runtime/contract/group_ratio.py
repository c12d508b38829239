"""Bounds of the ratio of two independent proportions."""

import math
from statistics import NormalDist


def constrained(x: tuple[int, int], n: tuple[int, int], ratio: float) -> tuple[float, float]:
    """Return the maximum likelihood estimates of both proportions when p_a = ratio · p_b.

    The closed form of Miettinen and Nurminen (1985), "Comparative analysis of two rates", Statistics in Medicine 4.
    """
    a = (n[0] + n[1]) * ratio
    b = -(n[0] * ratio + x[0] + n[1] + x[1] * ratio)
    c = x[0] + x[1]
    second = (-b - math.sqrt(max(b * b - 4 * a * c, 0.0))) / (2 * a)
    return min(ratio * second, 1.0), min(second, 1.0)


def statistic(x: tuple[int, int], n: tuple[int, int], ratio: float) -> float:
    """Return the score statistic of H0: p_a = ratio · p_b with Miettinen and Nurminen's variance correction."""
    first, second = constrained(x, n, ratio)
    total = n[0] + n[1]
    variance = (first * (1 - first) / n[0] + ratio**2 * second * (1 - second) / n[1]) * total / (total - 1)
    difference = x[0] / n[0] - ratio * x[1] / n[1]
    if variance <= 0:
        return 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return difference / math.sqrt(variance)


def bounds(x: tuple[int, int], n: tuple[int, int], confidence: float) -> tuple[float, float]:
    """Return one-sided score bounds of p_a / p_b for x_a of n_a and x_b of n_b cases."""
    z = NormalDist().inv_cdf(confidence)
    low, high = 1e-6, 1e6

    def crossing(shift: float) -> float:
        left, right = low, high
        for _ in range(200):
            middle = math.sqrt(left * right)
            left, right = (middle, right) if statistic(x, n, middle) > shift else (left, middle)
        return left

    return crossing(z), crossing(-z)
