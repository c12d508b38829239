"""Bound a metric of a whole set of images: by resampling them, and by those that may fail and have not yet."""

import math
from dataclasses import dataclass, replace

import numpy as np

from titrant.runtime.contract.statistics.means import LEAST_CHANGED, RESAMPLES, bootstrap_bounds
from titrant.runtime.contract.statistics.proportions import binomial_upper_bound
from titrant.runtime.contract.statistics.units import grouped
from titrant.runtime.contract.tasks.average_precision import ClassMatches, average_precision
from titrant.runtime.contract.tasks.detection import DetectionAnswers
from titrant.schema.gate import SMALLER_IS_BETTER

# Where images enough changed to be resampled, so many more are taken to fail whole (benchmarks/contract_simulation.py).
UNSEEN = 5

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class ImageSet:
    """Both models' matches by class, the unit of each image (images,), and which of them are looked at (images,) bool.

    `differing` (images,) bool are those that decide a comparison: in which the candidate's boxes are not the
    original's, or, where it is compared with a number, not the labels. `unseen` says of which class that no image has
    the candidate gives boxes to more of them, "" for none: the metric leaves it out, and a gate on it is open.
    """

    original: tuple[ClassMatches, ...]
    candidate: tuple[ClassMatches, ...]
    units: np.ndarray
    inside: np.ndarray
    differing: np.ndarray
    at_half: bool
    comparison: str
    unseen: str = ""

    @property
    def changed(self) -> int:
        """How many units have an image that decides."""
        return len(np.unique(self.units[self.inside & self.differing]))

    def values(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both models' metric with each image so many times: (samples, images) → two of (samples,)."""
        models = self.original, self.candidate
        old, new = (average_precision(matches, counts, at_half=self.at_half) for matches in models)
        return old, new

    def once(self) -> tuple[float, float, float]:
        """Return both models' metric and what is compared, NaN where these images do not define it."""
        old, new = self.values(self.inside[None].astype(np.int64))
        return float(old[0]), float(new[0]), float(self._compared(old, new)[0])

    def _compared(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = {"retention": new / old, "drop_at_most": old - new, "rise_at_most": new - old}
        return kept.get(self.comparison, new)

    def guarded(self, confidence: float) -> float | None:
        """Return what is compared where so many units fail whole as may; None where all may.

        These are as many as may by the exact bound of how many decide, or five where 20 or more do.
        """
        index, sizes = grouped(self.units[self.inside])
        units, failing = len(sizes), UNSEEN
        if self.changed < LEAST_CHANGED:
            failing = math.ceil(units * binomial_upper_bound(self.changed, units, confidence) - 1e-9)
        return None if failing >= units else self._failed(index, units, failing).once()[2]

    def bounds(self, confidence: float, seed: int) -> Bounds:
        """Return one-sided bounds of what is compared; None for one that is not known.

        Units of images are drawn again with replacement, 2,000 times, where 20 of them or more decide. That tells
        nothing of failures that did not happen yet: the bound is also no better than what is `guarded`.
        """
        guarded = self.guarded(confidence)
        smaller = self.comparison in SMALLER_IS_BETTER
        if guarded is None or self.changed < LEAST_CHANGED:
            return (None, guarded) if smaller else (guarded, None)
        index, sizes = grouped(self.units[self.inside])
        places, units = np.flatnonzero(self.inside), len(sizes)
        drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=RESAMPLES)
        counts = np.zeros((RESAMPLES, len(self.inside)), np.int64)
        counts[:, places] = drawn[:, index]
        resampled = bootstrap_bounds(self._compared(*self.values(counts)), self.once()[2], confidence)
        if resampled is None:
            return None, None
        low, high = resampled
        return (low, max(high, guarded)) if smaller else (min(low, guarded), high)

    def _failed(self, index: np.ndarray, units: int, failing: int) -> "ImageSet":
        """Return the set with the units that hold most labels failed; `index` (images inside,) numbers them."""
        held = np.sum([matched.counts for matched in self.original], axis=0)
        labels = np.bincount(index, weights=held[self.inside], minlength=units)
        fallen = np.zeros(len(self.inside), bool)
        fallen[np.flatnonzero(self.inside)[np.isin(index, np.argsort(-labels, kind="stable")[:failing])]] = True
        pairs = zip(self.candidate, self.original, strict=True)
        return replace(self, candidate=tuple(_fallen(matched, other, fallen) for matched, other in pairs))


def _fallen(matched: ClassMatches, other: ClassMatches, fallen: np.ndarray) -> ClassMatches:
    """Return the matches with some images failed.

    Such an image loses its boxes and has false alarms, as many as any image has boxes, and all surer than any box.
    """
    kept = ~fallen[matched.images]
    most = max(int(np.bincount(side.images, minlength=1).max(initial=0)) for side in (matched, other))
    alarms = np.repeat(np.flatnonzero(fallen), most)
    none = np.zeros((len(matched.right), len(alarms)), bool)
    return ClassMatches(
        np.concatenate([none, matched.right[:, kept]], axis=1),
        np.concatenate([alarms, matched.images[kept]]),
        np.concatenate([np.full(len(alarms), np.inf), matched.scores[kept]]),
        matched.counts,
    )


def image_set(
    cases: DetectionAnswers, metric: str, comparison: str, inside: np.ndarray, class_name: str = ""
) -> ImageSet:
    """Gather what a metric looks at, of all classes or of one; `inside` are the images that count, (images,) bool.

    Unassessable where there is no such class.
    """
    places = slice(None)
    if class_name:
        places = slice(place := cases.class_place(class_name), place + 1)
    original, candidate = cases.before[places], cases.after[places]
    absolute = comparison in ("at_least", "at_most")
    differing = _wrong(candidate, len(inside)) if absolute else cases.differing
    at_half, unseen = metric.endswith("_50"), "" if class_name else cases.unseen(inside)
    return ImageSet(original, candidate, cases.rows.units, inside, differing, at_half, comparison, unseen)


def _wrong(candidate: tuple[ClassMatches, ...], images: int) -> np.ndarray:
    """Return in which images a label is missed or a box is a false alarm, (images,) bool."""
    wrong = np.zeros(images, bool)
    for matched in candidate:
        right = matched.right[0]
        wrong[matched.images[~right]] = True
        wrong |= np.bincount(matched.images[right], minlength=images) < matched.counts
    return wrong
