"""Score tests and areas over strata, such as sites: what is compared is compared within each, and then added up."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from titrant.runtime.contract.statistics.auroc import Areas, paired_areas
from titrant.runtime.contract.statistics.proportions import Pairs, crossing, pairs
from titrant.runtime.contract.statistics.units import unit_count
from titrant.schema.recipe.data import LEAST_OF_A_STRATUM
from titrant.schema.samples.paired import constrained_discordance, tango_variance

_HIGHEST_RATIO = 1e6


def joined(strata: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Number the strata (rows,) anew, 0…: those of fewer than 30 units (rows,) are one, with rows of no stratum."""
    names, index = np.unique(strata, return_inverse=True)
    small = [name < 0 or unit_count(units[index == place]) < LEAST_OF_A_STRATUM for place, name in enumerate(names)]
    numbers = np.where(small, len(names), np.arange(len(names)))
    answer: np.ndarray = np.unique(numbers[index], return_inverse=True)[1]
    return answer


def counts_by_stratum(original: np.ndarray, candidate: np.ndarray, strata: np.ndarray) -> list[Pairs]:
    """Count the pairs of each stratum, from which cases either model has right, (rows,) bool."""
    return [pairs(original[strata == name], candidate[strata == name]) for name in np.unique(strata)]


def ratio_statistic(parts: Sequence[Pairs], ratio: float) -> float:
    """Return the score statistic of H0: Σ x_candidate = ratio · Σ x_original over strata, standard normal under H0.

    That of Nam and Blackwelder (2002) with its variance by stratum, each under its own constrained estimate: rows of a
    stratum are alike, those of different ones are not. With one stratum it is theirs.
    """
    difference = sum(part.both + part.gained - ratio * (part.both + part.lost) for part in parts)
    variance = sum(
        ratio * constrained_discordance(part.both, part.lost, part.gained, ratio) for part in parts if part.decided
    )
    return _standardized(difference, variance)


def difference_statistic(parts: Sequence[Pairs], difference: float) -> float:
    """Return the score statistic of H0: Σ (x_candidate - x_original) = n · difference (Tango 1998), by stratum."""
    distance = sum(part.gained - part.lost - part.cases * difference for part in parts)
    variance = sum(tango_variance(part.lost, part.gained, part.cases, difference) for part in parts if part.cases)
    return _standardized(distance, variance)


def _standardized(distance: float, variance: float) -> float:
    if variance <= 1e-12:
        return 0.0 if abs(distance) <= 1e-9 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def ratio_bounds(parts: Sequence[Pairs], confidence: float) -> tuple[float, float]:
    """Return the ratios that the stratified score test does not reject, on either side."""
    z = NormalDist().inv_cdf(confidence)
    estimate = sum(part.both + part.gained for part in parts) / sum(part.both + part.lost for part in parts)
    lower = crossing(lambda ratio: ratio_statistic(parts, ratio) - z, 1e-9, estimate)
    high = max(2.0, 2 * estimate)
    while ratio_statistic(parts, high) + z > 0 and high < _HIGHEST_RATIO:
        high *= 4
    return lower, crossing(lambda ratio: ratio_statistic(parts, ratio) + z, max(estimate, 1e-9), high)


def difference_bounds(parts: Sequence[Pairs], confidence: float) -> tuple[float, float]:
    """Return the differences candidate - original that the stratified score test does not reject, on either side."""
    z = NormalDist().inv_cdf(confidence)
    cases = sum(part.cases for part in parts)
    estimate = sum(part.gained - part.lost for part in parts) / cases
    lower = crossing(lambda value: difference_statistic(parts, value) - z, -1.0, estimate)
    return lower, crossing(lambda value: difference_statistic(parts, value) + z, estimate, 1.0)


Scores = tuple[np.ndarray, np.ndarray]


def stratified_areas(
    scores: Scores, positive: np.ndarray, units: np.ndarray, strata: np.ndarray
) -> tuple[Areas, np.ndarray] | None:
    """Return the mean area within strata, weighted by their pairs of a positive and a negative, and which rows count.

    Both models' scores, which rows are positive, units and strata are (rows,); so is what counts, as bool.
    No positive of one stratum is compared with a negative of another: a site whose scores all lie higher would lend
    its order to the others. Variances are DeLong's of each stratum, times the squared weights. Placements are those
    within the stratum, of the rows that count; None where no stratum has both classes.
    """
    kept = np.zeros(len(positive), bool)
    areas: list[tuple[float, Areas, np.ndarray]] = []
    for name in np.unique(strata):
        inside = strata == name
        ill, well = int((positive & inside).sum()), int((~positive & inside).sum())
        if ill and well:
            within = paired_areas(scores[0][inside], scores[1][inside], positive[inside], units[inside])
            areas.append((float(ill * well), within, inside))
            kept |= inside
    if not areas:
        return None
    total = sum(weight for weight, _, _ in areas)
    placements = np.zeros((2, len(positive)))
    for _, within, inside in areas:
        placements[:, inside] = within.placements

    def added(value: Callable[[Areas], float], power: int = 1) -> float:
        return sum((weight / total) ** power * value(within) for weight, within, _ in areas)

    whole = replace(
        areas[0][1],
        original=added(lambda within: within.original),
        candidate=added(lambda within: within.candidate),
        original_variance=added(lambda within: within.original_variance, 2),
        candidate_variance=added(lambda within: within.candidate_variance, 2),
        covariance=added(lambda within: within.covariance, 2),
        discordant=sum(within.discordant for _, within, _ in areas),
        misranked=sum(within.misranked for _, within, _ in areas),
        placements=placements[:, kept],
    )
    return whole, kept
