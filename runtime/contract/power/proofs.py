"""Tell in which draws a bound meets its threshold: the tests of the contract, on counts of many draws at once.

Each answers as the test of one candidate does (`titrant.runtime.contract.statistics`), which a test compares.
"""

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from titrant.runtime.contract.power.draws import PairedCounts
from titrant.runtime.contract.statistics.special import beta_at_most, beta_quantile
from titrant.schema.samples.bets import STAKE_WEIGHTS, STAKES
from titrant.schema.samples.binomial import proof_cases
from titrant.schema.samples.binomial import share_lower as lower_of_share
from titrant.schema.samples.groups import CONTINUITY
from titrant.schema.samples.paired import FEW_CHANGED

_ROUNDING = 1e-12
_FEW_WRONG = 150
# Of bounds that are found by bisection.
_SLACK = 1e-9


def share_lower(good: np.ndarray, cases: np.ndarray, confidence: float) -> np.ndarray:
    """Return the lower bound of a share (Clopper and Pearson), (draws,); 0 without a good case."""
    if _few_wrong(good, cases):
        wrong, place = np.unique(np.stack([cases - good, cases]), axis=1, return_inverse=True)
        bounds = [lower_of_share(int(bad), int(count), confidence) for bad, count in wrong.T]
        return np.array(bounds)[place]
    some = good > 0
    return np.where(
        some, beta_quantile(np.where(some, good, 1.0), np.maximum(cases - good, 0.0) + 1, 1 - confidence), 0.0
    )


def share(good: np.ndarray, cases: np.ndarray, threshold: float, confidence: float) -> np.ndarray:
    """Tell where a share is proven to be at least the threshold: so many good cases are as rare at the threshold."""
    if threshold <= 0:
        return np.asarray(cases > 0)
    if threshold >= 1:
        return np.zeros(len(good), bool)
    if _few_wrong(good, cases):
        wrong, place = np.unique(cases - good, return_inverse=True)
        least = np.array([proof_cases(int(bad), threshold, confidence) for bad in wrong])
        return np.asarray((cases >= least[place]) & (cases > 0))
    some = good > 0
    chance = beta_at_most(np.where(some, good, 1.0), np.maximum(cases - good, 0.0) + 1, threshold)
    met: np.ndarray = (chance <= (1 - confidence) * (1 + _ROUNDING)) & some
    return met


def _few_wrong(good: np.ndarray, cases: np.ndarray) -> bool:
    """Whether sums of binomial terms are quick, which need no library that takes longer to load than to use."""
    whole = np.issubdtype(good.dtype, np.integer) and np.issubdtype(cases.dtype, np.integer)
    return bool(whole) and (not len(good) or int((cases - good).max()) <= _FEW_WRONG)


def paired_ratio(counts: PairedCounts, ratio: float, confidence: float) -> np.ndarray:
    """Tell where the candidate is proven to keep `ratio` of what the original has right."""
    decided = counts.both + counts.lost + counts.gained
    exact = share(counts.both + counts.gained, decided, ratio, confidence)
    z = NormalDist().inv_cdf(confidence)
    a = (1 + ratio) * ratio * decided
    b = counts.both * (1 + ratio) ** 2 + counts.lost * ratio * (2 + ratio) + counts.gained * (1 + 2 * ratio)
    c = counts.both * (1 + ratio) + counts.lost * ratio + counts.gained
    with np.errstate(divide="ignore", invalid="ignore"):
        original = 2 * c / (b + np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)))
        discordance = decided * np.maximum(2 - (1 + ratio) * np.minimum(original, min(1.0, 1 / ratio)), 0.0)
        statistic = (counts.both + counts.gained - ratio * (counts.both + counts.lost)) / np.sqrt(ratio * discordance)
        scored = statistic >= z
    if ratio > 1:  # where nothing was lost, the gains bound it
        gains = share_lower(counts.gained, decided, confidence)
        scored &= (counts.lost > 0) | (gains >= 1 - 1 / ratio)
    few = (counts.changed < FEW_CHANGED) | (counts.gained == 0)
    return np.where(few, exact, scored) & (counts.both + counts.lost > 0)


def paired_ratio_turned(counts: PairedCounts, ratio: float, confidence: float) -> np.ndarray:
    """Tell where the original is proven to have at least `ratio` of what the candidate has right.

    Where few cases change by the exact bounds of both shares, as `paired_ratio_upper_bound` has them.
    """
    turned = replace(counts, lost=counts.gained, gained=counts.lost)
    scored = paired_ratio(turned, ratio, confidence)
    decided, few = counts.both + counts.changed, np.flatnonzero((counts.changed < FEW_CHANGED) | (counts.lost == 0))
    lost, gained, among = counts.lost[few], counts.gained[few], decided[few]
    for each, chosen in ((confidence, lost == 0), ((1 + confidence) / 2, lost > 0)):
        kept = 1 - share_lower(lost[chosen], among[chosen], each)
        without = share_lower(among[chosen] - gained[chosen], among[chosen], each)
        scored[few[chosen]] = without >= ratio * kept - _SLACK
    return scored


def paired_drop(counts: PairedCounts, margin: float, confidence: float) -> np.ndarray:
    """Tell where the candidate is proven to have at most `margin` (of all cases) less right than the original."""
    n = counts.cases
    exact = share(n - counts.lost, n, 1 - margin, confidence)
    z = NormalDist().inv_cdf(confidence)
    # Tango's statistic at the difference -margin.
    d = -margin
    b = counts.lost * (1 - 3 * d) + counts.gained * (1 - d) - 2 * (counts.both + counts.neither) * d
    root = np.sqrt(np.maximum(b * b + 8 * n * counts.lost * d * (1 - d), 0.0))
    lost = np.minimum(np.maximum((b + root) / (4 * n), max(margin, 0.0)), (1 + margin) / 2)
    variance = n * (2 * lost + d - d * d)
    with np.errstate(divide="ignore", invalid="ignore"):
        scored = (counts.gained - counts.lost + n * margin) / np.sqrt(variance) >= z
    few = (counts.changed < FEW_CHANGED) | (counts.gained == 0)
    return np.where(few, exact, scored)


def group_ratio(first: PairedCounts, second: PairedCounts, ratio: float, confidence: float) -> np.ndarray:
    """Tell where the candidate's share in the first group is proven to be at least `ratio` of that in the second."""
    n, m, x, y = first.cases, second.cases, first.both + first.gained, second.both + second.gained
    with np.errstate(divide="ignore", invalid="ignore"):
        answer = _group_score(x * 1.0, n * 1.0, y * 1.0, m * 1.0, ratio=ratio, z=NormalDist().inv_cdf(confidence))
    # Few draws end there, and these bounds take longer.
    few = np.flatnonzero((n - x < FEW_CHANGED) | (y == 0))
    each = (1 + confidence) / 2
    upper = 1 - share_lower(m[few] - y[few], m[few], each)
    answer[few] = share_lower(x[few], n[few], each) >= ratio * upper - _SLACK
    certain = np.flatnonzero((x == 0) | (m - y < FEW_CHANGED))
    answer[certain] = share(x[certain], n[certain], ratio, confidence)
    some: np.ndarray = answer & (n > 0) & (m > 0) & (y > 0)
    return some


def _group_score(x: np.ndarray, n: np.ndarray, y: np.ndarray, m: np.ndarray, *, ratio: float, z: float) -> np.ndarray:
    a, b, c = (n + m) * ratio, n * ratio + x + m + y * ratio, x + y
    q = np.minimum(2 * c / (b + np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))), min(1.0, 1 / ratio))
    p, total = ratio * q, n + m
    variance = (p * (1 - p) / n + ratio**2 * q * (1 - q) / m) * total / np.maximum(total - 1, 1.0)
    third = p * (1 - p) * (1 - 2 * p) / n**2 - ratio**3 * q * (1 - q) * (1 - 2 * q) / m**2
    skewness = np.where(variance > 1e-15, third / variance**1.5, 0.0)
    difference = x / n - ratio * y / m - CONTINUITY * np.minimum(1 / n, ratio / m)
    statistic = np.where(variance > 1e-15, difference / np.sqrt(variance), np.copysign(np.inf, difference))
    met: np.ndarray = statistic - z - np.maximum(skewness * (z * z - 1) / 6, 0.0) >= 0
    return met


def bets(values: np.ndarray, counts: np.ndarray, mean: float, *, highest: np.ndarray, confidence: float) -> np.ndarray:
    """Tell where bets refute that a mean is at least `mean`: the kinds of units have `values`, (draws, kinds).

    `counts` (draws, kinds) says how many units are of a kind, and none is above `highest` (draws,).
    """
    gains = np.maximum((mean - values) / (highest - mean)[:, None], -1.0)
    logs = np.empty((len(values), len(STAKES)))
    with np.errstate(divide="ignore", invalid="ignore"):
        for place, stake in enumerate(STAKES):
            logs[:, place] = np.where(counts > 0, np.log1p(stake * gains) * counts, 0.0).sum(axis=1)
        logs += np.log(STAKE_WEIGHTS)
        top = logs.max(axis=1)
        total = top + np.log(np.exp(logs - top[:, None]).sum(axis=1))
    met: np.ndarray = total >= -np.log(1 - confidence)
    return met
