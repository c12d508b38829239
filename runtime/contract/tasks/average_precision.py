"""Average precision of boxes by the rules of COCO: pycocotools matches each image once, what follows is summed here.

So that a set of images can be resampled without matching its boxes again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from titrant.runtime.contract.tasks.boxes import boxes_of

# Overlaps (IoU) from which on a box is right, and recalls at which precision is read; boxes of a class in an image.
OVERLAPS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_MOST_OF_A_CLASS = 100
_WHOLE = [0.0, 1e10]
# By how much pycocotools lets an overlap of one be less.
_ROUNDING = 1e-10
# Boxes of all samples that are looked at together.
_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class ClassMatches:
    """Boxes of one class over all images, the surest first (ties in the order of the images).

    `right` (overlaps, boxes) bool, `images` (boxes,) where each is, `scores` (boxes,), `counts` (images,) how many
    boxes the labels have in each.
    """

    right: np.ndarray
    images: np.ndarray
    scores: np.ndarray
    counts: np.ndarray


def match_boxes(
    labels: np.ndarray, answers: np.ndarray, classes: int, *, at_half: bool = False
) -> tuple[ClassMatches, ...]:
    """Match the answers (rows, most, 6) with the labels (rows, most, 5) of each class, image by image.

    At every overlap, or at one half alone.

    Labels are filled up with NaN, answers with -1. By `COCOeval.evaluateImg` of pycocotools: the surest box takes the
    label of its class that it overlaps most, of those still free (Lin et al. 2014, "Microsoft COCO").
    """
    evaluation = _evaluation(len(labels), classes, OVERLAPS[:1] if at_half else OVERLAPS)
    for row in range(len(labels)):
        for number, box in enumerate(labels[row][~np.isnan(labels[row][:, 0])], start=1):
            left, top, right, bottom, place = box.tolist()
            # A number of 0 would be taken for no match.
            evaluation._gts[row, int(place)].append(
                {"id": number, "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top),
                 "iscrowd": 0, "ignore": 0}
            )  # fmt: skip
        for number, box in enumerate(boxes_of(answers, row), start=1):
            left, top, right, bottom, score, place = box.tolist()
            evaluation._dts[row, int(place)].append(
                {"id": number, "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top),
                 "score": score}
            )  # fmt: skip
    return tuple(_of_class(evaluation, place, len(labels)) for place in range(classes))


def _evaluation(rows: int, classes: int, overlaps: np.ndarray) -> Any:
    """Return pycocotools' evaluation with nothing in it yet; it prints nothing, as its own `evaluate` would."""
    from pycocotools.cocoeval import COCOeval

    evaluation = COCOeval(iouType="bbox")
    evaluation.params.imgIds, evaluation.params.catIds = list(range(rows)), list(range(classes))
    evaluation.params.iouThrs, evaluation.params.maxDets = overlaps, [_MOST_OF_A_CLASS]
    evaluation._gts, evaluation._dts = defaultdict(list), defaultdict(list)
    return evaluation


def _of_class(evaluation: Any, place: int, rows: int) -> ClassMatches:
    right, scores, images = [], [], []
    counts = np.zeros(rows, np.int64)
    for row in range(rows):
        if not evaluation._dts.get((row, place)):  # nothing to match, and most rows of a rare class have none
            counts[row] = len(evaluation._gts.get((row, place), ()))
            continue
        labels = len(evaluation._gts.get((row, place), ()))
        overlaps = evaluation.computeIoU(row, place) if labels else np.zeros((0, 0))
        # Boxes alone, or beside each label: none is right, and no library has to say so.
        if overlaps.max(initial=0.0) < evaluation.params.iouThrs[0] - _ROUNDING:
            alone = sorted((box["score"] for box in evaluation._dts[row, place]), reverse=True)[:_MOST_OF_A_CLASS]
            right.append(np.zeros((len(evaluation.params.iouThrs), len(alone)), bool))
            scores += alone
            images += [row] * len(alone)
            counts[row] = labels
            continue
        evaluation.ious = {(row, place): overlaps}
        matched = evaluation.evaluateImg(row, place, _WHOLE, _MOST_OF_A_CLASS)
        if matched is None:
            continue
        counts[row] = len(matched["gtIds"])
        right.append(matched["dtMatches"] > 0)
        scores += matched["dtScores"]
        images += [row] * len(matched["dtScores"])
    sure = np.array(scores, np.float64)
    order = np.argsort(-sure, kind="mergesort")
    joined = np.concatenate(right, axis=1) if right else np.zeros((len(evaluation.params.iouThrs), 0), bool)
    return ClassMatches(joined[:, order], np.array(images, np.int64)[order], sure[order], counts)


def average_precision(matches: Sequence[ClassMatches], weights: np.ndarray, *, at_half: bool = False) -> np.ndarray:
    """Return the average precision with each image so many times: (samples, images) counts → (samples,), 0..1.

    The mean over classes with a label, over overlaps .5 to .95 (or .5 alone) and over 101 recalls, of the best
    precision at that recall or a larger one, as `COCOeval.accumulate` has it; NaN where no class has a label.
    """
    totals, held = np.zeros(len(weights)), np.zeros(len(weights))
    for matched in matches:
        labels = weights @ matched.counts
        there = labels > 0
        if there.any():
            precision = _precision(matched, weights[there], labels[there], 1 if at_half else len(OVERLAPS))
            totals[there] += precision
            held[there] += 1
    with np.errstate(invalid="ignore"):
        answer: np.ndarray = totals / held
    return answer


def _precision(matched: ClassMatches, weights: np.ndarray, labels: np.ndarray, overlaps: int) -> np.ndarray:
    """Return the mean precision of one class over overlaps and recalls: (samples,).

    Recall rises, and precision is highest, only where a box is right: nothing else is looked at. So many samples are
    taken at once as fit a processor's cache.
    """
    needed = _needed_hits(labels)
    at_once = max(_AT_ONCE // max(len(matched.images), 1), 1)
    parts = (slice(start, start + at_once) for start in range(0, len(weights), at_once))
    return np.concatenate([_precision_of(matched, weights[part], needed[part], overlaps) for part in parts])


def _needed_hits(labels: np.ndarray) -> np.ndarray:
    """Return how many right boxes reach each recall: (samples,) labels → (samples, recalls)."""
    counts, places = np.unique(labels, return_inverse=True)
    return np.stack([np.searchsorted(np.arange(count + 1) / count, _RECALLS) for count in counts])[places]


def _precision_of(matched: ClassMatches, weights: np.ndarray, needed: np.ndarray, overlaps: int) -> np.ndarray:
    times = weights[:, matched.images].astype(np.float64)
    boxes = np.cumsum(times, axis=1) + np.spacing(1)
    means = np.zeros(len(weights))
    for right in matched.right[:overlaps]:
        count = int(right.sum())
        if not count:
            continue
        hits = np.cumsum(times[:, right], axis=1)
        best = np.maximum.accumulate((hits / boxes[:, right])[:, ::-1], axis=1)[:, ::-1]
        # Where each recall is reached first: all rows are searched as one that rises from each to the next.
        rise = np.arange(len(weights))[:, None] * (max(hits.max(), needed.max()) + 1)
        first = np.searchsorted((hits + rise).ravel(), needed + rise)
        reached = first < (np.arange(len(weights))[:, None] + 1) * count
        recalls = np.bincount(first[reached], minlength=best.size).reshape(best.shape)
        means += (best * recalls).sum(axis=1) / len(_RECALLS)
    return means / overlaps


def matched_counts(matches: Sequence[ClassMatches], score: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the boxes of at least a score that overlap a label by half, all such boxes, and the labels.

    Each (images, classes). Boxes of a lower score take no label from a surer one.
    """
    images = len(matches[0].counts)
    right, counted = (np.zeros((images, len(matches)), np.int64) for _ in range(2))
    for place, matched in enumerate(matches):
        sure = matched.scores >= score
        counted[:, place] = np.bincount(matched.images[sure], minlength=images)
        right[:, place] = np.bincount(matched.images[sure & matched.right[0]], minlength=images)
    return right, counted, np.stack([matched.counts for matched in matches], axis=1)
