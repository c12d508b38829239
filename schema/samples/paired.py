"""How many paired cases prove that a candidate keeps what the original has right, and the probability that they do."""

import math
from collections.abc import Callable, Iterator
from functools import cache
from statistics import NormalDist

from titrant.schema.samples.binomial import lasting_cases, proof_cases, zero_failure_cases

# Under this many changed cases a paired ratio or difference is judged by an exact bound instead of the score test.
FEW_CHANGED = 5
# Where more cases change than this the normal formula of the score test is within a point of its power.
_MANY_CHANGED = 40.0
_NEGLIGIBLE = 1e-7
_NORMAL = NormalDist()

# What proves a gate: whether the score test does, from (lost, gained, both), and the cases that the exact bound counts.
ScoreTest = Callable[[int, int, float], bool]


def constrained_discordance(both: float, lost: float, gained: float, ratio: float) -> float:
    """Return lost + gained as the likelihood is largest under (both + gained) = ratio · (both + lost).

    Shares or counts; what the original and the candidate both get wrong plays no part (see
    runtime/contract/statistics/proportions.py).
    """
    total = both + lost + gained
    more = 1 + ratio
    a = more * ratio * total
    b = both * more**2 + lost * ratio * (2 + ratio) + gained * (1 + 2 * ratio)
    c = both * more + lost * ratio + gained
    square = b * b - 4 * a * c
    original = 2 * c / (b + (math.sqrt(square) if square > 0 else 0.0))
    # Without `max` and `min`, which take half of the time: a bound asks for this two dozen times.
    most = 1.0 if ratio < 1 else 1 / ratio
    left = 2 - more * (original if original < most else most)
    return total * left if left > 0 else 0.0


def difference_statistic(lost: float, gained: float, cases: float, difference: float) -> float:
    """Return the score statistic of Tango (1998) of H0: p_candidate - p_original = difference.

    Z = (gained - lost - n Δ) / √(n (2 q + Δ - Δ²)), where q estimates P(lost) under H0, the larger root of
    2 n q² - B q - lost Δ (1 - Δ) = 0 with B = lost (1 - 3 Δ) + gained (1 - Δ) - 2 (n - lost - gained) Δ.
    """
    n = cases
    variance = tango_variance(lost, gained, cases, difference)
    distance = gained - lost - n * difference
    if variance <= 1e-12 * n:
        return 0.0 if abs(distance) <= 1e-12 * n else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def tango_variance(lost: float, gained: float, cases: float, difference: float) -> float:
    """Return the variance of gained - lost under H0, that is n (2 q + Δ - Δ²)."""
    n = cases
    b = lost * (1 - 3 * difference) + gained * (1 - difference) - 2 * (n - lost - gained) * difference
    root = math.sqrt(max(b * b + 8 * n * lost * difference * (1 - difference), 0.0))
    share = min(max((b + root) / (4 * n), -difference, 0.0), (1 - difference) / 2)
    return n * (2 * share + difference - difference**2)


@cache
def retention_cases(
    retention: float, *, original: float = 0.9, change: float = 0.005, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Return how many rows prove a retention, when `change` of them change, as many losses as gains.

    Where fewer than five changed cases are seen, or none was gained, the exact bound on the share kept decides; else
    the score test of Nam and Blackwelder (2002). The power is summed over how many are lost and gained; where many are,
    it is the normal formula with the constrained variance.
    """
    if retention >= 1:
        return None
    z = _NORMAL.inv_cdf(confidence)

    def score(lost: int, gained: int, both: float) -> bool:
        discordance = constrained_discordance(both, lost, gained, retention)
        difference = both + gained - retention * (both + lost)
        return difference >= z * math.sqrt(retention * discordance)

    normal = _normal_retention(retention, original, change, confidence, power)
    if normal * change > _MANY_CHANGED:
        return max(normal, math.ceil(zero_failure_cases(retention, confidence) / original))
    half = change / 2

    def proves(cases: int) -> float:
        return _paired_power(cases, original, half, lambda lost: proof_cases(lost, retention, confidence), score)

    return lasting_cases(proves, power, max(2 * normal, 16))


@cache
def drop_cases(
    margin: float, *, original: float = 0.9, change: float = 0.005, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Return how many rows prove that at most `margin` of all fewer are right, when `change` of them change."""
    if not 0 < margin < 1:
        return None
    z, half = _NORMAL.inv_cdf(confidence), change / 2
    spread = z * math.sqrt(change + margin) + _NORMAL.inv_cdf(power) * math.sqrt(change)
    normal = math.ceil((spread / margin) ** 2)
    if normal * change > _MANY_CHANGED:
        kept = 1 - margin / original
        return max(_normal_retention(kept, original, change, confidence, power) if kept > 0 else 0, 1)

    def proves(cases: int) -> float:
        def score(lost: int, gained: int, _: float) -> bool:
            return difference_statistic(lost, gained, cases, -margin) >= z

        def whole(lost: int) -> float:
            return 0.0 if proof_cases(lost, 1 - margin, confidence) <= cases else math.inf

        return _paired_power(cases, original, half, whole, score)

    return lasting_cases(proves, power, max(2 * normal, 16))


@cache
def kept_cases(
    kept: float, *, original: float = 0.9, change: float = 0.005, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Return how many rows prove by the exact bound that a share of what the original catches stays caught.

    The original catches a share `original` of them, and half of `change` is lost.
    """
    half = change / 2
    if half / original >= 1 - kept:
        return None

    def proves(cases: int) -> float:
        return sum(
            chance * _at_least(cases - lost, (original - half) / (1 - half), proof_cases(lost, kept, confidence) - lost)
            for lost, chance in _counts(cases, half)
        )

    return lasting_cases(proves, power, math.ceil(2 * zero_failure_cases(kept, confidence) / original))


def _paired_power(cases: int, original: float, half: float, needed: Callable[[int], float], score: ScoreTest) -> float:
    """Sum the chance of what is lost and gained over what proves the gate.

    `needed` says how many cases that either has right prove it by the exact bound, with so many lost.
    """
    share = (original - half) / (1 - 2 * half)
    gains = list(_counts(cases, half))
    total = 0.0
    for lost, chance in _counts(cases, half):
        proven = False
        for gained, other in gains:
            rest = cases - lost - gained
            if lost + gained < FEW_CHANGED or gained == 0:
                least = needed(lost) - lost - gained
                total += chance * other * (_at_least(rest, share, least) if least > 0 else 1.0)
            else:
                # What is gained only helps.
                proven = proven or score(lost, gained, rest * share)
                total += chance * other * proven
    return total


def _counts(cases: int, rate: float) -> Iterator[tuple[int, float]]:
    """Yield numbers of cases with their probability, as long as it matters."""
    chance, count, mean = math.exp(cases * math.log1p(-rate)), 0, cases * rate
    odds = rate / (1 - rate)
    while count <= mean or chance > _NEGLIGIBLE:
        yield count, chance
        count += 1
        chance *= (cases - count + 1) / count * odds
        if count > cases:
            return


def _at_least(cases: int, share: float, least: float) -> float:
    """Return the probability that at least so many of the cases have what a share of them has."""
    if least > cases:
        return 0.0
    deviation = math.sqrt(cases * share * (1 - share))
    if deviation == 0:
        return float(cases * share >= least)
    return 1 - _NORMAL.cdf((least - 0.5 - cases * share) / deviation)


def _normal_retention(retention: float, original: float, change: float, confidence: float, power: float) -> int:
    both, half = original - change / 2, change / 2
    null = retention * constrained_discordance(both, half, half, retention)
    alternative = half * (1 + retention**2) + both * (1 - retention) ** 2 - (original * (1 - retention)) ** 2
    spread = _NORMAL.inv_cdf(confidence) * math.sqrt(null) + _NORMAL.inv_cdf(power) * math.sqrt(max(alternative, 0.0))
    return math.ceil((spread / (original * (1 - retention))) ** 2)
