"""Boxes as arrays: which of a case are there, how far two overlap, and whether two answers are the same."""

import numpy as np

# left, top, right, bottom, score, class; what fills a case up is FILLING in all of them.
BOX_NUMBERS, SCORE, CLASS = 6, 4, 5
FILLING = -1.0
# Boxes that overlap by so much (IoU), of one class, with scores at most so far apart, are the same.
SAME_OVERLAP, SAME_SCORE = 0.5, 0.1


def boxes_of(answers: np.ndarray, row: int) -> np.ndarray:
    """Return the boxes of one case, (N, 6), without what fills it up; `answers` (rows, most, 6)."""
    boxes: np.ndarray = answers[row][answers[row][:, SCORE] >= 0].astype(np.float64)
    return boxes


def widened(answers: np.ndarray, most: int) -> np.ndarray:
    """Return boxes (rows, boxes, 6) filled up to `most` in each case."""
    wide = np.full((len(answers), most, BOX_NUMBERS), FILLING)
    wide[:, : answers.shape[1]] = answers
    return wide


def for_every_row(labels: np.ndarray, rows: int) -> np.ndarray:
    """Return labels (N, 5) as boxes that are quite sure, in every one of some rows: (rows, N, 6)."""
    boxes = np.concatenate([labels[:, :4], np.ones((len(labels), 1)), labels[:, 4:]], axis=1)
    return np.broadcast_to(boxes, (rows, *boxes.shape)).copy()


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes (N, 4) and others (M, 4), left, top, right, bottom: (N, M)."""
    corner: np.ndarray = np.maximum(boxes[:, None, :2], others[None, :, :2])
    end: np.ndarray = np.minimum(boxes[:, None, 2:4], others[None, :, 2:4])
    shared: np.ndarray = np.prod(np.maximum(end - corner, 0), axis=2)
    sizes, other_sizes = (_areas(part) for part in (boxes, others))
    together: np.ndarray = sizes[:, None] + other_sizes[None, :] - shared
    return np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    sides: np.ndarray = boxes[:, 2:4] - boxes[:, :2]
    return sides.prod(axis=1)


def same_boxes(expected: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Say for each case whether two models find the same boxes, (rows,) bool; (rows, most, 6) of each.

    Every box of either has one of the other's: of its class, overlapping by half or more, and with a score at most .1
    off. A box without such a one counts as found with a score of 0 by the other: one with a score of .1 or less
    differs by no more than that. Boxes are matched from the surest on, each to the one that overlaps most.
    """
    return np.array([_same(boxes_of(expected, row), boxes_of(given, row)) for row in range(len(expected))], bool)


def _same(expected: np.ndarray, given: np.ndarray) -> bool:
    free = np.ones(len(given), bool)
    overlaps = overlap(expected, given)
    for place in np.argsort(-expected[:, SCORE], kind="stable"):
        box = expected[place]
        near = np.where(free & (given[:, CLASS] == box[CLASS]), overlaps[place], -1.0)
        best = int(near.argmax()) if len(near) else -1
        if best >= 0 and near[best] >= SAME_OVERLAP:
            free[best] = False
            if abs(given[best, SCORE] - box[SCORE]) > SAME_SCORE:
                return False
        elif box[SCORE] > SAME_SCORE:
            return False
    return not bool((given[free, SCORE] > SAME_SCORE).any())
