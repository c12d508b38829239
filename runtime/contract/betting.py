"""Bounds of the mean of bounded numbers that hold at any number of cases."""

import math

import numpy as np


def mean_bounds(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return one-sided bounds of the mean of independent numbers in -1..1.

    The betting bound of Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting",
    JRSS B 86: a wealth that starts at 1 and bets against each hypothetical mean stays below 1 / alpha with probability
    1 - alpha when that mean is true (Ville). Unlike a t interval it allows for rare large changes that were not seen,
    so that no small sample of tiny changes proves anything by itself. The order of the numbers must not depend on them.
    """
    return -_upper(-values, confidence), _upper(values, confidence)


def _upper(values: np.ndarray, confidence: float) -> float:
    """Return the smallest mean above which every mean is refuted."""
    if len(values) == 0:
        return 1.0
    need = math.log(1 / (1 - confidence))
    bets = _bets(values, need)
    low, high = float(values.mean()), 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _refuted(values, bets, middle, need) else (middle, high)
    return high


def _bets(values: np.ndarray, need: float) -> np.ndarray:
    """Return each case's bet, from the cases before it: √(2 log(1/alpha) / (n variance)), as the source proposes."""
    count = np.arange(1, len(values) + 1)
    mean = np.cumsum(values) / count
    spread = (0.25 + np.cumsum((values - mean) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], spread[:-1]])
    bets: np.ndarray = np.sqrt(2 * need / (len(values) * before))
    return bets


def _refuted(values: np.ndarray, bets: np.ndarray, mean: float, need: float) -> bool:
    # A bet above 1 / (1 - mean) could lose more than there is.
    capped = np.minimum(bets, 0.999 / max(1 - mean, 1e-12))
    wealth = np.cumsum(np.log1p(capped * (mean - values)))
    return bool(wealth.max() >= need)
