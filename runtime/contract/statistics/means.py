"""Bounds of a mean of bounded numbers, of a metric by bootstrap, and of a percentile from sorted samples.

The bounds of the mean are valid for any number of cases and any shape of the distribution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from titrant.runtime.contract.statistics.proportions import narrowed
from titrant.runtime.contract.statistics.special import binomial_at_most
from titrant.runtime.contract.statistics.units import bases, grouped
from titrant.schema.open_looks import STAKES, WEIGHTS
from titrant.schema.samples import bets as samples

BETTING = "betting bound (Waudby-Smith and Ramdas 2024)"
BOOTSTRAP = "bootstrap of 2,000 resamples, the wider of percentile and basic bounds"
ORDER_STATISTICS = "order statistics"


@dataclass(frozen=True)
class Bets:
    """Stakes as fractions of the largest that cannot ruin the bettor, and how the wealth is spread over them."""

    stakes: np.ndarray
    weights: np.ndarray


# Most is wagered on "nothing changed", the usual case; the rest keeps the bound sensible when much did.
AT_ONCE = Bets(np.array(samples.STAKES), np.array(samples.STAKE_WEIGHTS))
# Where no other test decides, however many decisions change. Neither stakes nor weights depend on how many cases there
# are, so that the wealth goes on as a martingale where rows are added.
AT_ANY_TIME = Bets(np.array(STAKES), np.array(WEIGHTS))

# Bounds are found as finely as this, on the safe side.
_PRECISION = 1e-8

# Fewer changed cases make the bootstrap's tails worthless (measured: 40 % false PASS at retention .99, n = 100).
LEAST_CHANGED = 20
RESAMPLES = 2000


def mean_upper_bound(values: np.ndarray, units: np.ndarray, confidence: float, highest: float = 1.0) -> float:
    """Return the one-sided upper bound of the mean of numbers that are at most `highest`, rows (rows,).

    Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86. Against the
    claim "the mean is at least m" a bettor wins in proportion to m - x; if the claim is true the wealth

        K(m) = Σ_j w_j Π_units (1 + c_j (m - x̄) / (highest - m)) ^ e_unit / C_j

    has an expectation of at most 1, so P(K ≥ 1 / alpha) ≤ alpha (Markov). The bound is the smallest m that is refuted;
    K grows with m. No variance is estimated, so many cases that each move by 1e-7 do not hide the rare case that may
    move by 1, nor stray rows the rare unit that may fail whole: with no change at all 160 cases prove that a mean rises
    by at most .02, as 149 prove a share of .98. Units (a patient's rows, of mean x̄) are the independent things; the
    mean is over rows. e and C are those of `bases`, 1 and 1 where each row is a unit.
    """
    return upper_bound(unit_means(values[:, None], units), np.ones(1), confidence, highest)


def mean_lower_bound(values: np.ndarray, units: np.ndarray, confidence: float, lowest: float = -1.0) -> float:
    """Return the one-sided lower bound of the mean of numbers that are at least `lowest`."""
    return -mean_upper_bound(-values, units, confidence, -lowest)


def refutes(
    values: np.ndarray, units: np.ndarray, mean: float, confidence: float, *, highest: float = 1.0, times: float = 1.0
) -> bool:
    """Whether the claim that the mean is at least `mean` is refuted; `times` as if there were so much more evidence."""
    return unit_means(values[:, None], units).refutes(np.ones(1), mean, confidence, highest, times)


@dataclass(frozen=True)
class UnitMeans:
    """Means over the rows of each unit, equal ones once: `means` (distinct, columns).

    `counts` (distinct,) adds up the exponents of the units that are equal.
    """

    means: np.ndarray
    counts: np.ndarray
    corrections: np.ndarray
    average: np.ndarray  # of the rows (columns,)
    bets: Bets = AT_ONCE

    def log_wealth(self, weights: np.ndarray, mean: float, highest: float, times: float = 1.0) -> float:
        """Return log K against the claim that `columns · weights`, which is at most `highest`, has at least this mean.

        One over K bounds how likely so much wealth is where the claim is true.
        """
        won = self.won(weights, mean, highest)
        return math.inf if won is None else self.wealth_of(won, times)

    def won(self, weights: np.ndarray, mean: float, highest: float) -> np.ndarray | None:
        """Return the log of what each stake won against that claim (stakes,); None where the claim cannot be true."""
        if mean >= highest:
            return None
        gains = np.maximum((mean - self.means @ weights) / (highest - mean), -1.0)
        with np.errstate(divide="ignore"):
            logs: np.ndarray = np.log1p(np.multiply.outer(self.bets.stakes, gains)) @ self.counts
        return logs - self.corrections

    def wealth_of(self, won: np.ndarray, times: float) -> float:
        """Return log K of what the stakes won, with so many times the evidence."""
        logs = won * times + np.log(self.bets.weights)
        top = logs.max()
        return float(top + np.log(np.exp(logs - top).sum())) if np.isfinite(top) else -math.inf

    def refutes(self, weights: np.ndarray, mean: float, confidence: float, highest: float, times: float = 1.0) -> bool:
        """Whether the claim is refuted that `columns · weights`, which is at most `highest`, has at least this mean."""
        return self.log_wealth(weights, mean, highest, times) >= -math.log(1 - confidence)


def unit_means(columns: np.ndarray, units: np.ndarray, bets: Bets = AT_ONCE) -> UnitMeans:
    """Gather the rows of each unit, `columns` (rows, columns), and equal units; `units` (rows,)."""
    index, sizes = grouped(units)
    weighed = bases(sizes, bets.stakes)
    means, average = columns, columns.mean(axis=0)
    if len(sizes) < len(units):
        means = np.stack([np.bincount(index, weights=column) / sizes for column in columns.T], axis=1)
    keys = np.zeros(len(means), np.int64)
    for column in (*means.T, *([] if int(sizes.max(initial=1)) == 1 else [weighed.exponents])):
        distinct, place = np.unique(column, return_inverse=True)
        keys = np.unique(keys * len(distinct) + place, return_inverse=True)[1] if keys.any() else place
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return UnitMeans(means[first], counts * weighed.exponents[first], weighed.corrections, average, bets)


def upper_bound(gathered: UnitMeans, weights: np.ndarray, confidence: float, highest: float) -> float:
    """Return the one-sided upper bound of the mean of `columns · weights`, which is at most `highest`."""
    low, high = float(gathered.average @ weights), highest
    if low >= highest:
        return highest

    def short_of(mean: float) -> float:
        return -math.log(1 - confidence) - gathered.log_wealth(weights, mean, highest)

    at_low = short_of(low)
    open_from, refuted_from = narrowed(short_of, (low, at_low), (high, -math.inf)) if at_low > 0 else (low, high)
    for _ in range(60):
        middle = (low + high) / 2
        refuted = middle >= refuted_from or (middle > open_from and short_of(middle) <= 0)
        low, high = (low, middle) if refuted else (middle, high)
        if high - low <= _PRECISION * (abs(high) + abs(low)):
            break
    return high


def resampled_counts(counts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw 2,000 resamples of independent rows with replacement, as counts by kind of row: (kinds,) → (2000, kinds)."""
    drawn: np.ndarray = generator.multinomial(int(counts.sum()), counts / counts.sum(), size=RESAMPLES)
    return drawn


def bootstrap_bounds(resampled: np.ndarray, estimate: float, confidence: float) -> tuple[float, float] | None:
    """Return one-sided bounds of a metric from its value in each resample (resamples,).

    The wider of the percentile bound and the basic one (Davison and Hinkley 1997, chapter 5) on either side. None
    when a resample leaves the metric undefined.
    """
    if not np.isfinite(resampled).all():
        return None
    low, high = (float(value) for value in np.quantile(resampled, (1 - confidence, confidence)))
    return min(low, 2 * estimate - high), max(high, 2 * estimate - low)


def percentile_bounds(ordered: Sequence[float], share: float, confidence: float) -> tuple[float | None, float | None]:
    """Return one-sided bounds of the `share` quantile (0..1) of what gave these ascending samples.

    The k-th smallest of n samples lies at or above the quantile with probability at least P(Binomial(n, share) < k),
    whatever the distribution, if runs are alike and independent. None where there are too few samples: 59 give the
    upper bound of the 95th percentile at .95.
    """
    n = len(ordered)
    if not n:
        return None, None
    # P(Binomial(n, share) < k) for k = 1 … n + 1.
    below = binomial_at_most(np.arange(n + 1), n, share)
    upper = int(np.searchsorted(below, confidence - 1e-12)) + 1
    lower = int(np.searchsorted(below, 1 - confidence + 1e-12, side="right"))
    return (ordered[lower - 1] if lower >= 1 else None, ordered[upper - 1] if upper <= n else None)
