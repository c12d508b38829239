"""Bounds of the mean of bounded numbers that are valid for any number of cases and any shape."""

import numpy as np

METHOD = "betting bound (Waudby-Smith and Ramdas 2024)"
# Stakes as fractions of the largest that cannot ruin the bettor, and how the wealth is spread over them. Most of it
# is wagered on "nothing changed", the usual case; the rest keeps the bound sensible when much did.
_STAKES = np.concatenate([[1.0], 0.75 * 0.8 ** np.arange(24)])
_WEIGHTS = np.concatenate([[0.8], np.full(24, 0.2 / 24)])


def upper_bound(values: np.ndarray, units: np.ndarray, confidence: float, highest: float = 1.0) -> float:
    """Return the one-sided upper bound of the mean of numbers that are at most `highest`, rows (rows,).

    Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86. Against the
    claim "the mean is at least m" a bettor wins in proportion to m - x; if the claim is true the wealth

        K(m) = Σ_j w_j Π_units (1 + c_j Σ(m - x) / ((highest - m) · largest unit))

    has an expectation of at most 1, so P(K ≥ 1 / alpha) ≤ alpha (Markov). The bound is the smallest m that is refuted;
    K grows with m. No variance is estimated, so many cases that each move by 1e-7 do not hide the rare case that may
    move by 1: with no change at all 160 cases prove that a mean rises by at most .02, as 149 prove a share of .98.
    Units (a patient's rows) are the independent things; the mean is over rows.
    """
    mean = float(values.mean())
    if mean >= highest:
        return highest
    low, high = mean, highest
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if refutes(values, units, middle, confidence, highest=highest) else (middle, high)
    return high


def lower_bound(values: np.ndarray, units: np.ndarray, confidence: float, lowest: float = -1.0) -> float:
    """Return the one-sided lower bound of the mean of numbers that are at least `lowest`."""
    return -upper_bound(-values, units, confidence, -lowest)


def refutes(
    values: np.ndarray, units: np.ndarray, mean: float, confidence: float, *, highest: float = 1.0, times: float = 1.0
) -> bool:
    """Whether the claim that the mean is at least `mean` is refuted; `times` as if there were so much more evidence."""
    if mean >= highest:
        return True
    gains = _gains(values, units, mean, highest)
    with np.errstate(divide="ignore"):
        logs = np.log1p(np.maximum(_STAKES[:, None] * gains, -1.0)).sum(axis=1) * times + np.log(_WEIGHTS)
    top = logs.max()
    return bool(top + np.log(np.exp(logs - top).sum()) >= -np.log(1 - confidence)) if np.isfinite(top) else False


def _gains(values: np.ndarray, units: np.ndarray, mean: float, highest: float) -> np.ndarray:
    """Return what each unit wins at the full stake, at least -1."""
    _, index, sizes = np.unique(units, return_inverse=True, return_counts=True)
    gains: np.ndarray = np.bincount(index, weights=mean - values) / ((highest - mean) * sizes.max())
    return gains
