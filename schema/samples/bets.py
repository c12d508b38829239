"""How many cases prove a bound of a mean by bets, as `mean_upper_bound` of the contract makes them."""

import math
from collections.abc import Iterator
from functools import cache

from titrant.schema.samples.binomial import MOST_CASES, lasting_cases
from titrant.schema.values.frozen import dataclass

# What bets on a mean stake, as fractions of the most that cannot ruin the bettor, and how the wealth is spread.
STAKES = (1.0, *(0.75 * 0.8**place for place in range(24)))
STAKE_WEIGHTS = (0.8, *[0.2 / 24] * 24)
_NEGLIGIBLE = 1e-7


@dataclass(frozen=True)
class Bet:
    """What a case wins at the full stake, as a share of the stake: one that stays, is worse or better, with the rates.

    With loss the bettor's whole stake goes: -1.
    """

    stays: float
    worse: float
    better: float
    worse_rate: float
    better_rate: float


def mean_cases(margin: float, spread: float = 1.0, confidence: float = 0.95) -> int | None:
    """Return how many unchanged cases prove that a mean rises by at most `margin`, one case by at most `spread`.

    The bettor wagers 4/5 on the case that nothing changed.
    """
    if margin <= 0:
        return None
    share = min(margin / spread, 0.999)
    return math.ceil(math.log(1 / (0.8 * (1 - confidence))) / -math.log1p(-share))


@cache
def bets_cases(bet: Bet, *, confidence: float = 0.95, power: float = 0.8, others: float = 0.0) -> int | None:
    """Return from how many cases on the bets win with probability `power`; None where fifty million would not do.

    `others`: so many times as many cases of another kind must win as well (0: there are none).
    """
    drift = bet.stays + bet.worse_rate * (bet.worse - bet.stays) + bet.better_rate * (bet.better - bet.stays)
    if drift <= 0:
        return None
    spread = bet.worse_rate * (bet.worse - bet.stays) ** 2 + bet.better_rate * (bet.better - bet.stays) ** 2
    if spread > MOST_CASES * drift**2 or MOST_CASES * drift < 1:
        return None

    def proves(cases: int) -> float:
        chance = bets_power(bet, cases, confidence)
        return chance * bets_power(bet, round(cases * others), confidence) if others and chance >= power else chance

    return lasting_cases(proves, power, math.ceil(4 * math.log(1 / (1 - confidence)) / drift))


def bets_power(bet: Bet, cases: int, confidence: float) -> float:
    """Return the chance that the bets on so many cases win, summed over how many are worse and better."""
    target = 1 / (1 - confidence)

    def wins(worse: int, better: int) -> bool:
        rest = max(cases - worse - better, 0)
        wealth = 0.0
        for weight, (stays, lost, gained) in zip(STAKE_WEIGHTS, _logs(bet), strict=True):
            level = rest * stays + (worse * lost if worse else 0.0) + (better * gained if better else 0.0)
            wealth += weight * math.exp(min(level, 50.0)) if level > -700 else 0.0
            if wealth >= target:
                return True
        return False

    better = list(_poisson(cases * bet.better_rate))
    above = [sum(chance for _, chance in better[place:]) for place in range(len(better) + 1)]
    total, least = 0.0, 0
    for worse, chance in _poisson(cases * bet.worse_rate):
        while least < len(better) and not wins(worse, least):
            least += 1
        total += chance * above[least]
    return total


@cache
def _logs(bet: Bet) -> tuple[tuple[float, float, float], ...]:
    """Return at each stake what a case that stays, is worse or is better adds to the logarithm of the wealth."""
    return tuple((_log(stake * bet.stays), _log(stake * bet.worse), _log(stake * bet.better)) for stake in STAKES)


def _log(gain: float) -> float:
    return math.log1p(gain) if gain > -1 else -math.inf


def _poisson(mean: float) -> Iterator[tuple[int, float]]:
    chance, count = math.exp(-mean), 0
    while count <= mean or chance > _NEGLIGIBLE:
        yield count, chance
        count += 1
        chance *= mean / count
