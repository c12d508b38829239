"""Numbers of cases for an exact binomial bound, with the standard library only."""

import math
from collections.abc import Callable
from statistics import NormalDist

# Above this many allowed failures the normal approximation is within a case in a hundred.
_EXACT_FAILURES = 1500
_MOST_CASES = 50_000_000


def zero_failure_cases(threshold: float, confidence: float = 0.95) -> int:
    """Return the smallest number of cases that, with no failure, proves a share of at least `threshold` (0..1).

    The exact lower bound with no failure in n cases is (1 - confidence) ** (1 / n) (Clopper and Pearson 1934).
    149 cases prove .98 and 299 prove .99 at 95 %.
    """
    return max(1, math.ceil(math.log(1 - confidence) / math.log(threshold) - 1e-12))


def binomial_cases(p_true: float, threshold: float, confidence: float = 0.95, power: float = 0.8) -> int | None:
    """Return how many cases prove a share ≥ `threshold` with probability `power` when it is truly `p_true`.

    The proof is the exact one-sided lower bound. None when p_true does not exceed the threshold, or when more than
    fifty million cases would be needed.
    """
    if not p_true > threshold:
        return None
    if threshold <= 0:
        return 1
    approximate = _normal_cases(p_true, threshold, confidence, power)
    if approximate * (1 - threshold) > _EXACT_FAILURES:
        return approximate if approximate <= _MOST_CASES else None
    failures = _first(lambda allowed: _power(allowed, p_true, threshold, confidence) >= power)
    return proof_cases(failures, threshold, confidence)


def proof_cases(failures: int, threshold: float, confidence: float = 0.95) -> int:
    """Return the smallest number of cases that proves a share ≥ `threshold` (below 1) with this many failures."""
    alpha = 1 - confidence
    if failures == 0:
        return zero_failure_cases(threshold, confidence)
    return _first(lambda cases: cases > failures and failure_probability(failures, cases, 1 - threshold) <= alpha)


def failure_probability(failures: int, cases: int, rate: float) -> float:
    """Return the probability of at most `failures` in `cases` independent cases that each fail at `rate` (0..1)."""
    if rate <= 0 or failures >= cases:
        return 1.0
    if rate >= 1:
        return 0.0
    odds = math.log(rate) - math.log1p(-rate)
    term = cases * math.log1p(-rate)
    total = math.exp(term)
    for k in range(1, failures + 1):
        term += math.log((cases - k + 1) / k) + odds
        total += math.exp(term)
    return min(1.0, total)


def _power(failures: int, p_true: float, threshold: float, confidence: float) -> float:
    return failure_probability(failures, proof_cases(failures, threshold, confidence), 1 - p_true)


def _normal_cases(p_true: float, threshold: float, confidence: float, power: float) -> int:
    z_alpha, z_beta = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(power)
    spread = z_alpha * math.sqrt(threshold * (1 - threshold)) + z_beta * math.sqrt(p_true * (1 - p_true))
    return math.ceil((spread / (p_true - threshold)) ** 2)


def _first(holds: Callable[[int], bool]) -> int:
    """Return the smallest number ≥ 0 for which a condition holds that goes on holding from there."""
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2 if high > 1 else -1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
