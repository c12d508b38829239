"""The tests as they were before units that fail whole, rare classes, copies and slow spells were reckoned with.

`benchmarks/contract_simulation.py` compares with them; nothing else uses them.
"""

from statistics import NormalDist

import numpy as np
from scipy.stats import t  # noqa: TID253 - the independent computation

from titrant.runtime.contract.evidence import SliceAnswers
from titrant.runtime.contract.influence import resample
from titrant.runtime.contract.statistics.auroc import paired_areas, ratio_bounds
from titrant.runtime.contract.statistics.means import bootstrap_bounds, percentile_bounds
from titrant.runtime.contract.statistics.proportions import (
    GroupShare,
    binomial_lower_bound,
    binomial_upper_bound,
    crossing,
    group_ratio_statistic,
    paired_ratio_lower_bound,
    pairs,
)


def shrink(residuals: np.ndarray, changed: np.ndarray, units: np.ndarray, confidence: float = 0.95) -> float:
    """Return the effective share of the rows by an estimated design effect (Korn and Graubard 1998)."""
    _, index, sizes = np.unique(units, return_inverse=True, return_counts=True)
    if len(sizes) == len(units):
        return 1.0
    together = len(units) / float((sizes.astype(np.float64) ** 2).sum())
    if len(np.unique(index[changed])) < 5:
        return together
    sums = np.bincount(index, weights=residuals)
    robust = float((sums**2).sum()) * len(sizes) / (len(sizes) - 1)
    simple = float((residuals**2).sum())
    if robust <= 0 or simple <= 0:
        return together
    small = float((NormalDist().inv_cdf(confidence) / t.ppf(confidence, len(sizes) - 1)) ** 2)
    return min(1.0, simple / robust * small)


def retention(old: np.ndarray, new: np.ndarray, units: np.ndarray, threshold: float) -> bool:
    """Whether the ratio of two proportions was proven."""
    if not new.any() or not old.any():
        return False
    factor = shrink(new - old * (new.mean() / old.mean()), old != new, units)
    return paired_ratio_lower_bound(pairs(old, new).times(factor), 0.95)[0] >= threshold


def agreement(same: np.ndarray, units: np.ndarray, threshold: float) -> bool:
    """Whether a share was proven."""
    factor = shrink(same - same.mean(), ~same, units)
    return binomial_lower_bound(same.sum() * factor, len(same) * factor, 0.95) >= threshold


def auroc(old: np.ndarray, new: np.ndarray, positive: np.ndarray, threshold: float) -> bool:
    """Whether the ratio of two areas was proven."""
    areas = paired_areas(old, new, positive, np.arange(len(old)))
    return areas.discordant >= 10 and ratio_bounds(areas, 0.95)[0] >= threshold


def resampled(metric: str, comparison: str, threshold: float, cases: SliceAnswers) -> bool:
    """Whether a metric was proven by the bootstrap, from 20 changed cases on."""
    if (cases.original.decisions != cases.candidate.decisions).sum() < 20:
        return False
    before, after = resample(metric, cases, 0)
    kept = after / before if comparison == "retention" else before - after
    bounds = bootstrap_bounds(kept, float(kept.mean()), 0.95)
    if bounds is None:
        return False
    return bounds[0] >= threshold if comparison == "retention" else bounds[1] <= threshold


def group_ratio(group: GroupShare, other: GroupShare, threshold: float) -> bool:
    """Whether the ratio of two groups was proven, without a correction for skewness."""
    if group.right == 0 or other.wrong < 5:
        return binomial_lower_bound(group.right, group.cases, 0.95) >= threshold
    if group.wrong < 5 or other.right == 0:
        lower = binomial_lower_bound(group.right, group.cases, 0.975)
        return lower / binomial_upper_bound(other.right, other.cases, 0.975) >= threshold
    z = NormalDist().inv_cdf(0.95)
    estimate = group.value / other.value
    return crossing(lambda r: group_ratio_statistic(group, other, r) - z, 1e-9, estimate) >= threshold


def latency(samples: np.ndarray, share: float, limit: float) -> bool:
    """Whether a percentile was proven, every run taken for independent."""
    upper = percentile_bounds(sorted(samples.tolist()), share, 0.95)[1]
    return upper is not None and upper <= limit
