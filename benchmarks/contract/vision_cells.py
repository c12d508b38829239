"""Ways in which masks and boxes can be worse than a gate allows: images that fail whole, and losses spread over all."""

from collections.abc import Iterator
from functools import cache

import numpy as np
from contract.cells import Cell, Draw

from titrant.runtime.contract.tasks.average_precision import ClassMatches, average_precision
from titrant.runtime.contract.tasks.scores import CaseClaims, CaseScores
from titrant.runtime.contract.tasks.sets import ImageSet

# Images from which those of a run are drawn, and boxes that are found in each, about.
POOL, BOXES, LABELS = 4000, 6, 3
# pattern → the share of images that fail whole, whether they have false alarms, of boxes lost anywhere, and how far
# scores move.
PATTERNS = {
    "one image in 33 lost": (0.03, False, 0.0, 0.0),
    "one image in 33 lost, scores moved": (0.03, False, 0.0, 0.05),
    "one image in 100 with false alarms": (0.01, True, 0.0, 0.0),
    "one image in 100 with false alarms, scores moved": (0.01, True, 0.0, 0.05),
    "one box in 20 lost": (0.0, False, 0.05, 0.0),
    "one box in 20 lost, scores moved": (0.0, False, 0.05, 0.05),
}

# Scores, whether right, and images of the boxes of one model, and how many labels each image has.
Pool = tuple[tuple[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@cache
def pool(pattern: str) -> Pool:
    """Return the boxes of an original and a candidate in all images of the pool; "" is a faithful candidate."""
    rng = np.random.default_rng(7)
    failing, alarms, lost, moved = PATTERNS.get(pattern, (0.0, False, 0.0025, 0.001))
    labels = rng.integers(0, 2 * LABELS, POOL)
    images = np.repeat(np.arange(POOL), labels)
    caught = rng.random(len(images)) < 0.85
    right = (rng.beta(5, 2, caught.sum()), np.ones(caught.sum(), bool), images[caught])
    wrong_images = np.repeat(np.arange(POOL), rng.integers(0, BOXES - LABELS, POOL))
    wrong = (rng.beta(2, 4, len(wrong_images)), np.zeros(len(wrong_images), bool), wrong_images)
    original = tuple(np.concatenate(pair) for pair in zip(right, wrong, strict=True))
    fallen = rng.random(POOL) < failing
    keep = ~fallen[original[2]] & (rng.random(len(original[2])) >= lost)
    scores = np.clip(original[0][keep] + moved * rng.normal(0, 1, keep.sum()), 0, 1)
    candidate = (scores, original[1][keep], original[2][keep])
    if alarms:
        made = np.repeat(np.flatnonzero(fallen), 2 * BOXES)
        more = (np.full(len(made), 1.0), np.zeros(len(made), bool), made)
        candidate = tuple(np.concatenate(pair) for pair in zip(candidate, more, strict=True))  # type: ignore[assignment]
    return original, candidate, labels  # type: ignore[return-value]


def matches(boxes: tuple[np.ndarray, np.ndarray, np.ndarray], labels: np.ndarray, drawn: np.ndarray) -> ClassMatches:
    """Return the boxes of the images that were drawn, each its own image, in the order of their scores."""
    scores, right, images = boxes
    order = np.argsort(images, kind="stable")
    starts = np.searchsorted(images[order], np.arange(POOL + 1))
    counts = (starts[1:] - starts[:-1])[drawn]
    places = np.concatenate([order[starts[image] : starts[image + 1]] for image in drawn])
    held = np.repeat(np.arange(len(drawn)), counts)
    ranked = np.argsort(-scores[places], kind="stable")
    return ClassMatches(right[places][ranked][None], held[ranked], scores[places][ranked], labels[drawn])


@cache
def kept(pattern: str) -> float:
    """Return what a candidate keeps of the average precision over the whole pool, of which images are drawn."""
    original, candidate, labels = pool(pattern)
    once, every = np.ones((1, POOL), np.int64), np.arange(POOL)
    old, new = (
        average_precision((matches(boxes, labels, every),), once, at_half=True)[0] for boxes in (original, candidate)
    )
    return float(new / old)


def precisions() -> Iterator[Cell]:
    """Average precision, of which no image has a part of its own."""
    for pattern in PATTERNS:
        for cases in (100, 400):

            def make(pattern: str = pattern, cases: int = cases) -> Draw:
                def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                    original, candidate, labels = pool(pattern if margin else "")
                    drawn = rng.integers(0, POOL, cases)
                    old, new = (matches(boxes, labels, drawn) for boxes in (original, candidate))
                    every = np.ones(cases, bool)
                    # Moved scores differ everywhere.
                    differing = np.ones(cases, bool) if "moved" in pattern else _differing(old, new, cases)
                    images = ImageSet((old,), (new,), np.arange(cases), every, differing, True, "retention")
                    threshold = kept(pattern)
                    guarded = images.guarded(0.95)
                    if guarded is None or guarded < threshold:
                        return None, False  # whatever resampling says
                    lower, _ = images.bounds(0.95, int(rng.integers(1 << 31)))
                    return None, lower is not None and lower >= threshold

                return draw

            yield Cell("average precision", pattern, str(cases), round(kept(pattern), 4), make)


def _differing(old: ClassMatches, new: ClassMatches, images: int) -> np.ndarray:
    before, after = (np.bincount(side.images, weights=side.scores, minlength=images) for side in (old, new))
    return np.asarray(before != after)


def overlaps() -> Iterator[Cell]:
    """Dice of masks, some of which have no object, where one image in so many is lost whole or all lose a little."""
    for pattern, cases in ((pattern, cases) for pattern in ("images lost", "all worse") for cases in (60, 300, 1000)):

        def make(pattern: str = pattern, cases: int = cases) -> Draw:
            def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                old = rng.beta(18, 2, cases)
                weights = (rng.random(cases) < 0.7).astype(np.float64)
                loss = rng.random(cases) < 0.05 if pattern == "images lost" else rng.uniform(0, 0.1, cases)
                new = old * (1 - loss) if margin else np.clip(old + rng.normal(0, 0.002, cases), 0, 1)
                scores = CaseScores("dice", old, new, np.arange(cases), 0.0, 1.0, weights=weights)
                return None, CaseClaims(scores, "retention", 0.95).proves(0.95)

            return draw

        yield Cell("Dice", pattern, str(cases), 0.95, make)


CELLS = (*precisions(), *overlaps())
