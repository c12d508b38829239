"""Exact bounds of one proportion."""


def lower_bound(count: float, cases: float, confidence: float) -> float:
    """Return the one-sided lower bound of a proportion (Clopper and Pearson 1934).

    Counts may be fractions, as they are after `clusters.shrink`. 0 without cases.
    """
    from scipy.special import betaincinv

    if count <= 0 or cases <= 0:
        return 0.0
    return float(betaincinv(count, max(cases - count, 0.0) + 1, 1 - confidence))


def upper_bound(count: float, cases: float, confidence: float) -> float:
    """Return the one-sided upper bound of a proportion (Clopper and Pearson 1934); 1 without cases."""
    return 1 - lower_bound(cases - count, cases, confidence) if cases > 0 else 1.0
