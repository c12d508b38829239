"""Bounds of a percentile from sorted samples."""

from collections.abc import Sequence


def bounds(ordered: Sequence[float], share: float, confidence: float) -> tuple[float | None, float | None]:
    """Return one-sided bounds of the `share` quantile (0..1) of what gave these ascending samples.

    The k-th smallest sample lies above the quantile with probability P(Binomial(n, share) < k), whatever the
    distribution. None where there are too few samples: 59 give the upper bound of the 95th percentile at .95.
    """
    from scipy.stats import binom

    n = len(ordered)
    if not n:
        return None, None
    upper = int(binom.ppf(confidence, n, share)) + 1
    lower = int(binom.ppf(1 - confidence, n, share))
    return (
        ordered[lower - 1] if lower >= 1 else None,
        ordered[upper - 1] if upper <= n else None,
    )
