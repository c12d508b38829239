"""Compare two models' answers without labels, case by case: by class, labels, cosine, neighbor, overlap, difference."""

from collections.abc import Callable, Mapping

import numpy as np

from titrant.runtime.contract.reading import AnswerComparison
from titrant.runtime.contract.tasks.boxes import same_boxes
from titrant.runtime.contract.tasks.masks import mean_dice

# Rows of similarities that are held at once, of float64 against all others.
_ROWS_AT_ONCE = 512


def compare(comparison: AnswerComparison, expected: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Say for each case whether two answers of one shape count as the same; (rows, …) in, (rows,) bool out."""
    tolerance = 0.0 if comparison.tolerance is None else comparison.tolerance
    return _MEASURES[comparison.measure](expected, given, tolerance)


def _same_class(expected: np.ndarray, given: np.ndarray, tolerance: float) -> np.ndarray:
    """Find the same largest entry of the last dimension, everywhere in the case."""
    same = expected.argmax(axis=-1) == given.argmax(axis=-1)
    answer: np.ndarray = same.reshape(len(expected), -1).all(axis=1)
    return answer


def _same_labels(expected: np.ndarray, given: np.ndarray, tolerance: float) -> np.ndarray:
    """Find every label decided alike, (rows, labels) bool: the surest of them says nothing of the others."""
    answer: np.ndarray = (expected == given).all(axis=1)
    return answer


def _cosine(expected: np.ndarray, given: np.ndarray, tolerance: float) -> np.ndarray:
    """Hold the cosine of the angle between both answers against the least one; two answers of 0 are the same."""
    old, new = _flat(expected), _flat(given)
    norms = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
    nothing = ~old.any(axis=1) & ~new.any(axis=1)
    cosines = (old * new).sum(axis=1) / np.where(norms > 0, norms, 1.0)
    answer: np.ndarray = ((norms > 0) & (cosines >= tolerance)) | nothing
    return answer


def _neighbor(expected: np.ndarray, given: np.ndarray, tolerance: float) -> np.ndarray:
    """Find the same nearest other case, by cosine: what a search by similarity would return first."""
    answer: np.ndarray = _nearest(_flat(expected)) == _nearest(_flat(given))
    return answer


def _nearest(values: np.ndarray) -> np.ndarray:
    """Return the index of the other case whose answer has the largest cosine to each; the first of equal ones."""
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit = values / np.where(norms > 0, norms, 1.0)
    nearest = np.zeros(len(unit), np.int64)
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        similar = unit[start : start + _ROWS_AT_ONCE] @ unit.T
        rows = np.arange(len(similar))
        similar[rows, rows + start] = -np.inf
        nearest[start : start + len(similar)] = similar.argmax(axis=1)
    return nearest


def _relative(expected: np.ndarray, given: np.ndarray, tolerance: float) -> np.ndarray:
    """Hold the Euclidean norm of the difference against a share of the original's."""
    old = _flat(expected)
    answer: np.ndarray = np.linalg.norm(_flat(given) - old, axis=1) <= tolerance * np.linalg.norm(old, axis=1)
    return answer


def _absolute(expected: np.ndarray, given: np.ndarray, tolerance: float) -> np.ndarray:
    """Hold the largest difference of any entry against a limit."""
    answer: np.ndarray = np.abs(_flat(given) - _flat(expected)).max(axis=1, initial=0.0) <= tolerance
    return answer


def _dice(expected: np.ndarray, given: np.ndarray, tolerance: float) -> np.ndarray:
    """Hold the mean Dice coefficient of the objects in two masks (rows, height, width) against the least one."""
    answer: np.ndarray = mean_dice(expected, given) >= tolerance
    return answer


def _boxes(expected: np.ndarray, given: np.ndarray, tolerance: float) -> np.ndarray:
    """Find boxes (rows, boxes, 6) that match, of one class and with nearly the same score; see `same_boxes`."""
    return same_boxes(expected, given)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).astype(np.float64)


_MEASURES: Mapping[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "same_class": _same_class,
    "same_labels": _same_labels,
    "cosine": _cosine,
    "neighbor": _neighbor,
    "dice": _dice,
    "boxes": _boxes,
    "relative": _relative,
    "absolute": _absolute,
}
