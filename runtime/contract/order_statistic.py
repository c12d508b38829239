"""Bounds of a percentile from sorted samples."""

from collections.abc import Sequence

METHOD = "order statistics"


def bounds(ordered: Sequence[float], share: float, confidence: float) -> tuple[float | None, float | None]:
    """Return one-sided bounds of the `share` quantile (0..1) of what gave these ascending samples.

    The k-th smallest of n samples lies at or above the quantile with probability at least P(Binomial(n, share) < k),
    whatever the distribution, if runs are alike and independent. None where there are too few samples: 59 give the
    upper bound of the 95th percentile at .95.
    """
    import numpy as np
    from scipy.special import bdtr

    n = len(ordered)
    if not n:
        return None, None
    # P(Binomial(n, share) < k) for k = 1 … n + 1.
    below = bdtr(np.arange(n + 1), n, share)
    upper = int(np.searchsorted(below, confidence - 1e-12)) + 1
    lower = int(np.searchsorted(below, 1 - confidence + 1e-12, side="right"))
    return (ordered[lower - 1] if lower >= 1 else None, ordered[upper - 1] if upper <= n else None)
