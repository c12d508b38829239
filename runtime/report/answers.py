"""Which decisions changed between the original and a candidate, as counts by class."""

from dataclasses import dataclass

import numpy as np

Cells = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Answers:
    """Decisions on evaluation rows, counted; no row can be told from it.

    Every table lists only its cells above zero, each as (row class, column class, cases), class indices into
    `classes`: `original` and `candidate` are actual class by decided class, `moved` is the original's decision by the
    candidate's. `gained` and `lost` count, by actual class, the cases that only the candidate or only the original
    decided rightly. Without labels `original`, `candidate`, `gained` and `lost` are empty.
    """

    classes: tuple[str, ...]
    cases: int
    moved: Cells = ()
    original: Cells = ()
    candidate: Cells = ()
    gained: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    positive: int | None = None  # index of the critical class


def count_answers(
    classes: tuple[str, ...],
    labels: np.ndarray | None,
    original: np.ndarray,
    candidate: np.ndarray,
    positive: int | None = None,
) -> Answers:
    """Count decisions by class; `labels`, `original` and `candidate` are (rows,) class indices, labels may be None."""
    moved = _cells(original, candidate)
    if labels is None:
        return Answers(classes, len(original), moved)
    right, now_right = original == labels, candidate == labels
    gained = np.bincount(labels[now_right & ~right], minlength=len(classes))
    lost = np.bincount(labels[right & ~now_right], minlength=len(classes))
    return Answers(
        classes,
        len(labels),
        moved,
        _cells(labels, original),
        _cells(labels, candidate),
        tuple(int(count) for count in gained),
        tuple(int(count) for count in lost),
        positive,
    )


def _cells(rows: np.ndarray, columns: np.ndarray) -> Cells:
    pairs, counts = np.unique(np.stack([rows, columns], axis=1), axis=0, return_counts=True)
    return tuple((int(row), int(column), int(n)) for (row, column), n in zip(pairs, counts, strict=True))
