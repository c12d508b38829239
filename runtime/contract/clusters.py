"""How many independent cases there are when several rows belong to one unit, such as a patient."""

from statistics import NormalDist

import numpy as np

from titrant.schema.cases import FEW_CHANGED


def shrink(residuals: np.ndarray, changed: np.ndarray, units: np.ndarray, confidence: float) -> float:
    """Return the factor (0..1] by which every count is reduced so that rows count as independent cases.

    1 where every row is a unit of its own. Otherwise the design effect: the variance of the residuals' sum with units
    as the things that vary, over the variance as if rows were; never less than 1, and enlarged for the few units it
    is estimated from (Korn and Graubard 1998, the effective sample size of an exact bound). Where fewer than five
    units hold a changed row nothing can be estimated, and all rows of a unit are taken to move together, the worst
    case: n² / Σ(rows of a unit)² cases. `residuals` (rows,) has mean zero, `changed` (rows,) bool, `units` (rows,).
    """
    _, index, sizes = np.unique(units, return_inverse=True, return_counts=True)
    if len(sizes) == len(units):
        return 1.0
    together = len(units) / float((sizes.astype(np.float64) ** 2).sum())
    if len(np.unique(index[changed])) < FEW_CHANGED:
        return together
    sums = np.bincount(index, weights=residuals)
    robust = float((sums**2).sum()) * len(sizes) / (len(sizes) - 1)
    simple = float((residuals**2).sum())
    if robust <= 0 or simple <= 0:
        return together
    return min(1.0, simple / robust * small_sample(len(sizes), confidence))


def small_sample(units: int, confidence: float) -> float:
    """Return (z / t)² with units - 1 degrees of freedom: what a variance estimated from few units is worth."""
    from scipy.stats import t

    return float((NormalDist().inv_cdf(confidence) / t.ppf(confidence, units - 1)) ** 2)


def unit_count(units: np.ndarray) -> int:
    """Return how many different units there are."""
    return len(np.unique(units))
