"""Boxes as arrays: which of a case are there, how far two overlap, and whether two answers are the same."""

import numpy as np

# Boxes that overlap by so much (IoU), of one class, with scores at most so far apart, are the same.
SAME_OVERLAP, SAME_SCORE = 0.5, 0.1
_SCORE, _CLASS = 4, 5


def boxes_of(answers: np.ndarray, row: int) -> np.ndarray:
    """Return the boxes of one case, (N, 6), without what fills it up; `answers` (rows, most, 6)."""
    found: np.ndarray = answers[row][answers[row][:, _SCORE] >= 0].astype(np.float64)
    return found


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes (N, 4) and others (M, 4), left, top, right, bottom: (N, M)."""
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    end = np.minimum(boxes[:, None, 2:4], others[None, :, 2:4])
    shared = np.prod(np.maximum(end - corner, 0), axis=2)
    sizes, other_sizes = (np.prod(part[:, 2:4] - part[:, :2], axis=1) for part in (boxes, others))
    together = sizes[:, None] + other_sizes[None, :] - shared
    return np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)


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
    for place in np.argsort(-expected[:, _SCORE], kind="stable"):
        box = expected[place]
        near = np.where(free & (given[:, _CLASS] == box[_CLASS]), overlaps[place], -1.0)
        best = int(near.argmax()) if len(near) else -1
        if best >= 0 and near[best] >= SAME_OVERLAP:
            free[best] = False
            if abs(given[best, _SCORE] - box[_SCORE]) > SAME_SCORE:
                return False
        elif box[_SCORE] > SAME_SCORE:
            return False
    return not bool((given[free, _SCORE] > SAME_SCORE).any())
