"""Bounds for the areas under two paired ROC curves."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class PairedAreas:
    """Areas of the new and the original model on the same cases, with their variances and covariance."""

    new: float
    original: float
    new_variance: float
    original_variance: float
    covariance: float

    def contrast(self, factor: float) -> tuple[float, float]:
        """Return new − factor · original and its standard error."""
        variance = self.new_variance + factor**2 * self.original_variance - 2 * factor * self.covariance
        return self.new - factor * self.original, math.sqrt(max(variance, 0.0))


def paired_areas(new: np.ndarray, original: np.ndarray, positive: np.ndarray) -> PairedAreas:
    """Estimate both areas and their covariance from scores (rows,) and which rows are positive (rows,) bool.

    DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, by midranks (Sun and Xu 2014).
    """
    from scipy.stats import rankdata

    cases, rest = int(positive.sum()), int((~positive).sum())
    areas, by_case, by_rest = [], [], []
    for scores in (new, original):
        every = rankdata(scores)
        among_cases, among_rest = rankdata(scores[positive]), rankdata(scores[~positive])
        by_case.append((every[positive] - among_cases) / rest)
        by_rest.append(1 - (every[~positive] - among_rest) / cases)
        areas.append(float(by_case[-1].mean()))
    covariance = np.cov(np.stack(by_case)) / cases + np.cov(np.stack(by_rest)) / rest
    return PairedAreas(areas[0], areas[1], float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1]))


def difference_bounds(areas: PairedAreas, confidence: float) -> tuple[float, float]:
    """Return one-sided bounds of new − original."""
    difference, error = areas.contrast(1.0)
    z = NormalDist().inv_cdf(confidence)
    return difference - z * error, difference + z * error


def ratio_bounds(areas: PairedAreas, confidence: float) -> tuple[float, float]:
    """Return the ratios r at which (new − r · original) is ± z standard errors from zero."""
    z = NormalDist().inv_cdf(confidence)

    def crossing(sign: float) -> float:
        low, high = 0.0, 4.0
        for _ in range(100):
            middle = (low + high) / 2
            difference, error = areas.contrast(middle)
            low, high = (middle, high) if difference > sign * z * error else (low, middle)
        return low

    return crossing(1.0), crossing(-1.0)


def area_bounds(areas: PairedAreas, confidence: float) -> tuple[float, float]:
    """Return one-sided bounds of the new model's area."""
    half = NormalDist().inv_cdf(confidence) * math.sqrt(areas.new_variance)
    return max(0.0, areas.new - half), min(1.0, areas.new + half)
