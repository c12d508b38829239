"""How many cases prove a share by its exact bound, and the probability that they do."""

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

# Above this many allowed failures the normal approximation is within a case in a hundred.
_EXACT_FAILURES = 1500
MOST_CASES = 50_000_000
_CERTAIN = 1 - 1e-6
# How far below what is asked for power may fall with more cases.
LASTING = 0.02


def zero_failure_cases(threshold: float, confidence: float = 0.95) -> int:
    """Return the smallest number of cases that, with no failure, proves a share of at least `threshold` (0..1).

    The exact lower bound with no failure in n cases is (1 - confidence) ** (1 / n) (Clopper and Pearson 1934).
    149 cases prove .98 and 299 prove .99 at 95 %.
    """
    return max(1, math.ceil(math.log(1 - confidence) / math.log(threshold) - 1e-12))


def binomial_cases(p_true: float, threshold: float, confidence: float = 0.95, power: float = 0.8) -> int | None:
    """Return how many cases prove a share ≥ `threshold` with probability `power` when it is truly `p_true`.

    The proof is the exact one-sided lower bound. Its power is a saw-tooth: each further failure that is allowed takes
    some more cases, before which power falls. From the number returned on it stays, within two points. None when
    p_true does not exceed the threshold, or when more than fifty million cases would be needed.
    """
    if not p_true > threshold:
        return None
    if threshold <= 0:
        return 1
    approximate = _normal_cases(p_true, threshold, confidence, power)
    if approximate * (1 - threshold) > _EXACT_FAILURES:
        return approximate if approximate <= MOST_CASES else None
    if p_true >= 1:
        return zero_failure_cases(threshold, confidence)
    failures = first(lambda allowed: _least_power(allowed, p_true, threshold, confidence) >= power - LASTING)
    return proof_cases(failures, threshold, confidence)


@cache
def proof_cases(failures: int, threshold: float, confidence: float = 0.95) -> int:
    """Return the smallest number of cases that proves a share ≥ `threshold` (below 1) with this many failures."""
    alpha = 1 - confidence
    if failures == 0:
        return zero_failure_cases(threshold, confidence)
    return first(lambda cases: cases > failures and failure_probability(failures, cases, 1 - threshold) <= alpha)


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


def _least_power(failures: int, p_true: float, threshold: float, confidence: float) -> float:
    """Return the power with the most cases that allow no further failure, where it is least."""
    return failure_probability(failures, proof_cases(failures + 1, threshold, confidence) - 1, 1 - p_true)


def _normal_cases(p_true: float, threshold: float, confidence: float, power: float) -> int:
    z_alpha, z_beta = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(power)
    spread = z_alpha * math.sqrt(threshold * (1 - threshold)) + z_beta * math.sqrt(p_true * (1 - p_true))
    return math.ceil((spread / (p_true - threshold)) ** 2)


def first(holds: Callable[[int], bool]) -> int:
    """Return the smallest number ≥ 0 for which a condition holds that goes on holding from there."""
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2 if high > 1 else -1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def lasting_cases(power: Callable[[int], float], least: float, high: int) -> int:
    """Return the number of cases with a power of at least `least`, from which on it stays so within two points.

    Power is a saw-tooth where bounds are exact: it is looked at downward from `high`, or more where that is too few, in
    steps of a thirtieth, and the last step in fewer.
    """
    while power(high) < least:
        high *= 2
    low = high
    while low > 1:
        low = min(high - 1, math.floor(high * 0.97))
        if low < 1 or power(low) < least - LASTING:
            break
        high = low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= least - LASTING else (middle, high)
    while power(high) < least:
        high += max(1, high // 200)
    return high


def rising_cases(power: Callable[[int], float], least: float, high: int) -> int:
    """Return the fewest cases with a power of at least `least`, where power hardly falls on the way."""
    low = 0
    while power(high) < least:
        low, high = high, 2 * high
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= least else (middle, high)
    return high


@cache
def share_lower(wrong: int, cases: int, confidence: float) -> float:
    """Return the exact lower bound of the share that is right, `wrong` of `cases` not being so, to the ninth digit."""
    if wrong >= cases:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(32):
        middle = (low + high) / 2
        low, high = (middle, high) if failure_probability(wrong, cases, 1 - middle) <= 1 - confidence else (low, middle)
    return low


@cache
def two_shares_cases(right: float, threshold: float, ratio: float, confidence: float, power: float) -> int | None:
    """Return how many cases of the rarer of two classes prove that the mean of two shares reaches a threshold.

    The other class has `ratio` as many; both shares are truly `right`, and each bound fails half as often (Bonferroni).
    """
    if right <= threshold:
        return None
    each = (1 + confidence) / 2

    def proves(cases: int) -> float:
        others = round(cases * ratio)
        total, before, allowed = 0.0, 0.0, others
        for wrong in range(cases + 1):
            rest = 2 * threshold - share_lower(wrong, cases, each)
            if wrong == 0:
                allowed = first(lambda count, rest=rest: share_lower(count, others, each) < rest) - 1  # type: ignore[misc]
            while allowed >= 0 and share_lower(allowed, others, each) < rest:
                allowed -= 1
            here = failure_probability(wrong, cases, 1 - right)
            if allowed < 0 or before > _CERTAIN:
                break
            total += (here - before) * failure_probability(allowed, others, 1 - right)
            before = here
        return total

    return rising_cases(proves, power, 8)
