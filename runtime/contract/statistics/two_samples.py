"""Bets on the shares of two samples that have no case in common, which hold however often rows are added and judged."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from titrant.runtime.contract.statistics.means import AT_ANY_TIME, BETTING, UnitMeans, unit_means
from titrant.runtime.contract.statistics.proportions import crossing

TWO_SAMPLES = f"{BETTING}, the product of two samples'"
# A border of a claim is cut into cells, and so many of those with the least wealth into as many again, some times.
_CELLS, _WORST, _TIMES = 64, 4, 3
_STEPS = 14
_HIGHEST_RATIO = 1e6
_LEAST_CLAIM = 1e-12

Border = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class TwoWaySample:
    """Whether the cases of a sample are good, gathered by unit; both ways round, as `UnitMeans` of one column."""

    good: UnitMeans
    bad: UnitMeans
    share: float

    def times(self, factor: float) -> "TwoWaySample":
        """Return the same shares among more or fewer cases."""
        good, bad = (
            replace(side, counts=side.counts * factor, corrections=side.corrections * factor)
            for side in (self.good, self.bad)
        )
        return TwoWaySample(good, bad, self.share)

    @property
    def turned(self) -> "TwoWaySample":
        """The same cases, of which the bad ones are counted."""
        return TwoWaySample(self.bad, self.good, 1 - self.share)


def sample(good: np.ndarray, units: np.ndarray) -> TwoWaySample:
    """Gather the cases of a sample: `good` (cases,) bool, `units` (cases,)."""
    values = good.astype(np.float64)[:, None]
    return TwoWaySample(
        unit_means(values, units, AT_ANY_TIME), unit_means(1 - values, units, AT_ANY_TIME), float(good.mean())
    )


def ratio_log_wealth(first: TwoWaySample, second: TwoWaySample, ratio: float) -> float:
    """Return log K against the claim that the first share is below `ratio` times the second.

    The claim is that for some u the second is at least u and the first at most ratio · u. Against each u the product of
    two independent martingales is one; the claim is refuted where all are, as the least of them is.
    """
    return _least(first.good, second.bad, lambda place: (ratio * place, 1 - place))


def mean_log_wealth(first: TwoWaySample, second: TwoWaySample, mean: float) -> float:
    """Return log K against the claim that the mean of the two shares is below `mean`."""
    low, high = max(0.0, 2 * mean - 1), min(1.0, 2 * mean)
    return _least(
        first.good, second.good, lambda place: (low + (high - low) * place, 2 * mean - low - (high - low) * place)
    )


def ratio_bounds(first: TwoWaySample, second: TwoWaySample, threshold: float, confidence: float) -> tuple[float, float]:
    """Return one-sided bounds of the ratio of two shares; the lower is at least the threshold where it is proven."""
    estimate = first.share / second.share if second.share else _HIGHEST_RATIO
    lower = _lower(lambda ratio: ratio_log_wealth(first, second, ratio), threshold, estimate, confidence)
    if not first.share:
        return lower, _HIGHEST_RATIO
    inverse = _lower(
        lambda ratio: ratio_log_wealth(second, first, ratio),
        1 / threshold if threshold else 1.0,
        second.share / first.share,
        confidence,
    )
    return lower, min(1 / inverse, _HIGHEST_RATIO) if inverse > 0 else _HIGHEST_RATIO


def mean_bounds(first: TwoWaySample, second: TwoWaySample, threshold: float, confidence: float) -> tuple[float, float]:
    """Return one-sided bounds of the mean of two shares."""
    estimate = (first.share + second.share) / 2
    lower = _lower(lambda mean: mean_log_wealth(first, second, mean), threshold, estimate, confidence)
    turned = first.turned, second.turned
    upper = _lower(lambda mean: mean_log_wealth(*turned, mean), 1 - threshold, 1 - estimate, confidence)
    return lower, 1 - upper


def _lower(log_wealth: Callable[[float], float], threshold: float, estimate: float, confidence: float) -> float:
    """Search on that side of the threshold where the bound is, so that what proves it is never rounded away."""
    due = -math.log(1 - confidence)
    proven = threshold <= estimate and log_wealth(threshold) >= due
    low, high = (threshold, estimate) if proven else (0.0, min(threshold, estimate))
    if not high > low:
        return low
    return crossing(lambda value: log_wealth(value) - due if value > 0 else 1.0, low, high, _STEPS)


def _least(first: UnitMeans, second: UnitMeans, border: Border) -> float:
    """Return the least log wealth on a border from 0 to 1, along which the first claim rises and the second falls.

    In a cell the wealth is at least that against the larger of either claim, so that no point between is left out.
    """
    edges = np.linspace(0.0, 1.0, _CELLS + 1)
    low, high = edges[:-1], edges[1:]
    least = _log_wealths(first, border(high)[0]) + _log_wealths(second, border(low)[1])
    for _ in range(_TIMES):
        worst = np.argsort(least)[:_WORST]
        inner = np.linspace(low[worst], high[worst], _CELLS // _WORST + 1)
        new_low, new_high = inner[:-1].ravel(), inner[1:].ravel()
        new = _log_wealths(first, border(new_high)[0]) + _log_wealths(second, border(new_low)[1])
        low, high, least = (
            np.concatenate([np.delete(old, worst), more])
            for old, more in ((low, new_low), (high, new_high), (least, new))
        )
    return float(least.min())


def _log_wealths(shares: UnitMeans, claims: np.ndarray) -> np.ndarray:
    """Return log K against each claim (claims,) that a share is at most so much; it falls as claims rise."""
    held = np.clip(claims, _LEAST_CLAIM, 1.0)[:, None]
    gains = np.maximum((shares.means[:, 0] - held) / held, -1.0)
    with np.errstate(divide="ignore"):
        logs = np.stack([np.log1p(stake * gains) @ shares.counts for stake in shares.bets.stakes], axis=1)
    logs = logs - shares.corrections + np.log(shares.bets.weights)
    top = logs.max(axis=1, keepdims=True)
    answers: np.ndarray = top[:, 0] + np.log(np.exp(logs - top).sum(axis=1))
    return answers
