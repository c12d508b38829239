"""Bounds of the areas under two paired ROC curves, their difference and their ratio, by DeLong's method."""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from titrant.runtime.contract.statistics.proportions import crossing

DELONG = "paired DeLong"
PLACEMENTS = "and bets on the placements of each class"


@dataclass(frozen=True)
class Areas:
    """Areas of the original and the candidate on the same cases, with their variances and covariance.

    `placements` (2, rows): by either model, the share of the other class that a case is ranked on the right side of,
    whose mean over a class is the area. `discordant` counts the units with a case whose placements differ, `misranked`
    those that the candidate does not rank wholly on the right side.
    """

    original: float
    candidate: float
    original_variance: float
    candidate_variance: float
    covariance: float
    discordant: int
    misranked: int
    placements: np.ndarray

    def times(self, factor: float) -> "Areas":
        """Return the same areas from so many times the cases."""
        variances = (self.original_variance / factor, self.candidate_variance / factor, self.covariance / factor)
        return replace(
            self,
            original_variance=variances[0],
            candidate_variance=variances[1],
            covariance=variances[2],
        )

    def contrast(self, factor: float) -> tuple[float, float]:
        """Return candidate - factor · original and its standard error."""
        variance = self.candidate_variance + factor**2 * self.original_variance - 2 * factor * self.covariance
        return self.candidate - factor * self.original, math.sqrt(max(variance, 0.0))


def paired_areas(original: np.ndarray, candidate: np.ndarray, positive: np.ndarray, units: np.ndarray) -> Areas:
    """Estimate both areas and their covariance from scores (rows,), which rows are positive (rows,), and units (rows,).

    DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, with placements from midranks (Sun and Xu 2014); where
    several rows belong to one unit their influences are summed first (Obuchowski 1997, Biometrics 53).
    """
    placed = np.stack([_placements(scores, positive) for scores in (original, candidate)])
    count, rest = int(positive.sum()), int((~positive).sum())
    areas = placed[:, positive].mean(axis=1)
    influence = (placed - areas[:, None]) / np.where(positive, count, rest)
    covariance = _covariance(influence, positive, units)
    moved = np.abs(placed[0] - placed[1]) > 1e-12
    return Areas(
        float(areas[0]), float(areas[1]), float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1]),
        len(np.unique(units[moved])), len(np.unique(units[placed[1] < 1 - 1e-12])), placed,
    )  # fmt: skip


def ratio_bounds(areas: Areas, confidence: float) -> tuple[float, float]:
    """Return the factors at which candidate - factor · original is ± z standard errors from zero."""
    z = NormalDist().inv_cdf(confidence)

    def distance(factor: float, sign: float) -> float:
        difference, error = areas.contrast(factor)
        return difference - sign * z * error

    return crossing(lambda factor: distance(factor, 1), 0.0, 4.0), crossing(
        lambda factor: distance(factor, -1), 0.0, 4.0
    )


def difference_bounds(areas: Areas, factor: float, confidence: float) -> tuple[float, float]:
    """Return one-sided bounds of candidate - factor · original; factor 0: of the candidate's own area."""
    difference, error = areas.contrast(factor)
    z = NormalDist().inv_cdf(confidence)
    return difference - z * error, difference + z * error


def _placements(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return for each case the share of the other class that it is ranked on the right side of; ties count half."""
    every = midranks(scores)
    placed = np.empty(len(scores))
    placed[positive] = (every[positive] - midranks(scores[positive])) / (~positive).sum()
    placed[~positive] = 1 - (every[~positive] - midranks(scores[~positive])) / positive.sum()
    return placed


def _covariance(influence: np.ndarray, positive: np.ndarray, units: np.ndarray) -> np.ndarray:
    names, index = np.unique(units, return_inverse=True)
    if len(names) < len(units):
        sums = np.stack([np.bincount(index, weights=row) for row in influence])
        clustered: np.ndarray = sums @ sums.T * len(names) / (len(names) - 1)
        return clustered
    parts = [influence[:, chosen] for chosen in (positive, ~positive)]
    covariance: np.ndarray = sum(part @ part.T * part.shape[1] / max(part.shape[1] - 1, 1) for part in parts)  # type: ignore[assignment]
    return covariance


def midranks(scores: np.ndarray) -> np.ndarray:
    """Return the ranks of scores (rows,), from 1 upward, ties with the mean of theirs.

    As scipy.stats.rankdata, which takes longer to import than most judgements take.
    """
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[index]
    return ranks
