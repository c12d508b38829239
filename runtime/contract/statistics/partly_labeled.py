"""Bounds of what changes between two models' answers where rows have no label on which both decide alike.

Where two models decide alike nothing is lost and nothing gained, whatever the label is. A difference of proportions
needs no more; a ratio also needs its denominator, which other rows bound, with labels that were not chosen by what the
models answer. See docs/decisions/labels.md.
"""

from dataclasses import dataclass

import numpy as np

from titrant.runtime.contract.statistics.compared import compare_means
from titrant.runtime.contract.statistics.proportions import (
    Pairs,
    binomial_lower_bound,
    binomial_upper_bound,
    paired_difference_lower_bound,
    paired_difference_upper_bound,
)
from titrant.runtime.contract.statistics.units import NEARLY_SINGLE, effective_share, unit_count
from titrant.schema.samples.paired import FEW_CHANGED

# What part of the error that a ratio may make goes to the bound of its denominator.
DENOMINATOR = 0.1


@dataclass(frozen=True)
class Changes:
    """What a change of decision does, at worst or at best; arrays are (rows,) bool, `units` (rows,) int64.

    Of the lost ones so many are `waiting` for a label, and may turn out to be something else.
    """

    lost: np.ndarray
    gained: np.ndarray
    units: np.ndarray
    waiting: int = 0

    def bounds(self, confidence: float, loss: float) -> tuple[float, float]:
        """Return the one-sided bounds of P(gained) - P(lost).

        `loss` (0..1) is what is to be excluded: it decides for how many cases rows of one unit count. Score test of
        Tango (1998), exact where few change; by bets where units have several rows.
        """
        factor = effective_share(self.units, loss)
        if factor < NEARLY_SINGLE:
            lost, gained = self.lost.astype(np.float64), self.gained.astype(np.float64)
            means = compare_means("drop_at_most", lost, gained, self.units, confidence=confidence)
            lower, upper = means.bounds()
            return -1.0 if upper is None else -upper, -lower
        lower, upper = net_bounds(self.counts.times(factor), confidence)
        return min(lower, self._where_few_change(factor, confidence)), upper

    def _where_few_change(self, factor: float, confidence: float) -> float:
        """Return the lower bound that labels may still lead to, where so few rows change that it is exact.

        An exact bound may be the lower one although fewer are lost, and what is proven with few labels must stay so.
        """
        counts = self.counts
        fewest = counts.lost - self.waiting
        exact = [lost for lost in range(int(fewest), int(counts.lost)) if (lost + counts.gained) * factor < FEW_CHANGED]
        if not exact:
            return np.inf
        rest = counts.cases - exact[-1] - counts.gained
        return net_bounds(Pairs(0, exact[-1], counts.gained, rest).times(factor), confidence)[0]

    @property
    def counts(self) -> Pairs:
        """The counts, of which both right and neither right are one."""
        lost, gained = int(self.lost.sum()), int(self.gained.sum())
        return Pairs(0, lost, gained, len(self.lost) - lost - gained)


def net_bounds(counts: Pairs, confidence: float) -> tuple[float, float]:
    """Return the one-sided bounds of P(gained) - P(lost) of independent cases."""
    return (
        paired_difference_lower_bound(counts, confidence)[0],
        paired_difference_upper_bound(counts, confidence)[0],
    )


@dataclass(frozen=True)
class Denominator:
    """What a ratio is over: rows that the original has right, as far as both models decide alike.

    `base` (rows,) bool are all rows that can be among them by their decisions, `inside` (known,) bool which of those
    with a label are, of labels that were not chosen by the answers; `units` and `known_units` are their units.
    """

    base: np.ndarray
    units: np.ndarray
    inside: np.ndarray
    known_units: np.ndarray

    @property
    def estimate(self) -> float:
        """The share of all rows, 0..1."""
        return float(self.base.mean() * self.inside.mean()) if len(self.inside) else 0.0

    def lower(self, error: float) -> float:
        """Return the lower bound of the share, which fails with at most probability `error`: two bounds, half each."""
        each = 1 - error / 2
        return _share_bounds(self.base, self.units, each)[0] * _share_bounds(self.inside, self.known_units, each)[0]

    def upper(self, error: float) -> float:
        """Return the upper bound of the share and of rows whose decision changed, which all may be in it."""
        each = 1 - error / 2
        alike = _share_bounds(self.inside, self.known_units, each)[1]
        outside = 1 - _share_bounds(self.base, self.units, each)[0]
        return min(1.0, alike + outside)


def _share_bounds(good: np.ndarray, units: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the one-sided bounds of a share: exact, or by bets where units have several rows."""
    if not len(good):
        return 0.0, 1.0
    if unit_count(units) < len(good):
        values = good.astype(np.float64)
        means = compare_means("at_least", np.zeros(len(good)), values, units, confidence=confidence)
        lower, upper = means.bounds()
        return max(lower, 0.0), 1.0 if upper is None else min(upper, 1.0)
    count = int(good.sum())
    return binomial_lower_bound(count, len(good), confidence), binomial_upper_bound(count, len(good), confidence)


def ratio_bounds(
    worst: Changes, best: Changes, over: Denominator, confidence: float, least: float
) -> tuple[float, float]:
    """Return the one-sided bounds of 1 + (P(gained) - P(lost)) / P(denominator), against the ratio `least`.

    Each is wrong with at most probability 1 - confidence: a tenth of it for the denominator, the rest for the change
    (Bonferroni). What a bound says of a ratio that is above 1 is not sharp.
    """
    error = 1 - confidence
    over_low, over_high = over.lower(error * DENOMINATOR), over.upper(error * DENOMINATOR)
    loss = (1 - least) * over_low
    lower = worst.bounds(1 - error * (1 - DENOMINATOR), loss)[0]
    upper = best.bounds(1 - error * (1 - DENOMINATOR), loss)[1]
    return _over(lower, over_low if lower < 0 else 1.0), _over(upper, over_high if upper < 0 else over_low)


def _over(change: float, denominator: float) -> float:
    if denominator <= 0:
        return -np.inf if change < 0 else np.inf
    return 1 + change / denominator
