"""Exact bounds of one proportion."""


def bounds(count: int, cases: int, confidence: float) -> tuple[float, float]:
    """Return the one-sided lower and upper bound of a proportion (Clopper and Pearson 1934); 0 and 1 without cases."""
    from scipy.stats import beta

    alpha = 1 - confidence
    lower = float(beta.ppf(alpha, count, cases - count + 1)) if count else 0.0
    upper = float(beta.ppf(confidence, count + 1, cases - count)) if count < cases else 1.0
    return lower, upper
