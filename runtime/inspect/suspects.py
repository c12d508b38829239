"""Find columns that a person should look at: those that give the label away, and stand-ins for missing numbers."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from titrant.runtime.data.columns import is_text, missing
from titrant.runtime.values import Tables
from titrant.schema.facts import LabelLeak, StandIn

# A column that tells the classes apart as well as this by itself is seldom known before the answer is.
LEAKS_FROM = 0.99
_FEWEST, _MOST, _MOST_VALUES = 5, 10_000, 20_000_000
_FOLDS = 5
# What people write for a number that they do not have.
_STAND_INS = (-9, -99, -999, -9999, -99999, 99, 999, 9999, 99999, 999999)


def label_leaks(columns: Mapping[str, np.ndarray], labels: np.ndarray) -> tuple[LabelLeak, ...]:
    """Return the columns (rows,) that give the classes `labels` (rows,) away alone, the surest first.

    Each is asked by itself: its AUROC, where it is numbers and there are two classes, and the balanced accuracy of the
    class of the nearest value among the other four fifths of the rows (leave-fold-out nearest neighbor, Cover and Hart
    1967). None where a class has fewer than 5 rows. Of many rows an even share is looked at.
    """
    most = max(200, min(_MOST, _MOST_VALUES // max(1, len(columns))))
    step = -(-len(labels) // most) if len(labels) else 1
    labels = labels[::step]
    counts = np.bincount(labels) if len(labels) else np.empty(0, np.int64)
    if (counts > 0).sum() < 2 or counts[counts > 0].min() < _FEWEST:
        return ()
    leaks = []
    for name, column in columns.items():
        if column.ndim != 1 or column.dtype.kind not in "biufU":
            continue
        leak = _leak(name, _ranks(column[::step]), labels, ordered=not is_text(column))
        leaks += [leak] if leak.score >= LEAKS_FROM else []
    return tuple(sorted(leaks, key=lambda leak: (-leak.score, leak.column)))


def _ranks(column: np.ndarray) -> np.ndarray:
    """Turn values into numbers: texts into places; a missing one lies far from all others."""
    if is_text(column):
        return np.unique(column, return_inverse=True)[1].astype(np.float64)
    values = column.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    far = low - 10 * (high - low + 1)
    return np.nan_to_num(values, nan=far, posinf=high + (high - low + 1), neginf=low - (high - low + 1))


def _leak(name: str, values: np.ndarray, labels: np.ndarray, *, ordered: bool) -> LabelLeak:
    classes = np.unique(labels)
    guessed = np.empty(len(labels), labels.dtype)
    fold = np.arange(len(labels)) % _FOLDS
    for place in range(_FOLDS):
        held = fold == place
        guessed[held] = _nearest(values[~held], labels[~held], values[held], ordered=ordered)
    accuracy = float(np.mean([(guessed[labels == value] == value).mean() for value in classes]))
    auroc = _auroc(values, labels == classes[1]) if ordered and len(classes) == 2 else 0.0
    if auroc >= accuracy:
        return LabelLeak(name, "AUROC", round(auroc, 4), len(labels))
    return LabelLeak(name, "balanced accuracy", round(accuracy, 4), len(labels))


def _nearest(values: np.ndarray, labels: np.ndarray, asked: np.ndarray, *, ordered: bool) -> np.ndarray:
    """Return the most frequent class among the rows of the nearest value; of an unseen text, the most frequent one."""
    distinct, index = np.unique(values, return_inverse=True)
    width = int(labels.max()) + 1
    counts = np.zeros((len(distinct), width), np.int64)
    np.add.at(counts, (index, labels), 1)
    classes = counts.argmax(axis=1)
    right = np.searchsorted(distinct, asked).clip(0, len(distinct) - 1)
    left = (right - 1).clip(0)
    nearest = np.where(np.abs(asked - distinct[left]) < np.abs(distinct[right] - asked), left, right)
    answers: np.ndarray = classes[nearest]
    return answers if ordered else np.where(distinct[nearest] == asked, answers, np.bincount(labels).argmax())


def _auroc(values: np.ndarray, positive: np.ndarray) -> float:
    """Return the AUROC (Mann-Whitney, ties count half), of the better direction."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[index]
    ones = int(positive.sum())
    area = (ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * (len(values) - ones))
    return float(max(area, 1 - area))


def rows_of(tables: Tables, roles: Sequence[Mapping[str, np.ndarray]], name: str) -> np.ndarray | None:
    """Return a column over the rows of some roles (source → rows), in their order; None where a source lacks it."""
    parts = [tables.sources[source].columns.get(name) for rows in roles for source in rows]
    chosen = [indices for rows in roles for indices in rows.values()]
    there = [part[indices] for part, indices in zip(parts, chosen, strict=True) if part is not None and part.ndim == 1]
    alike = len({is_text(part) for part in there}) == 1
    return np.concatenate(there) if len(there) == len(parts) and there and alike else None


def stand_ins(tables: Tables, apart: Sequence[str]) -> tuple[StandIn, ...]:
    """Return numbers such as -999 that stand far from all others of their column, twice or more, but in `apart`."""
    return tuple(
        stand_in
        for table in tables.sources.values()
        for name, column in table.columns.items()
        if name not in apart
        for stand_in in _stand_ins(name, column)
    )


def _stand_ins(name: str, column: np.ndarray) -> Iterator[StandIn]:
    if column.ndim != 1 or column.dtype.kind not in "if":
        return
    values = column[~missing(column)]
    for number in _STAND_INS:
        count = int((values == number).sum())
        if count < 2:
            continue
        others = values[~np.isin(values, _STAND_INS)]
        if len(others) < _FEWEST:
            continue
        low, high = float(others.min()), float(others.max())
        distance = low - number if number < low else number - high
        if distance > high - low or (number < 0 <= low and number < low):
            yield StandIn(name, number, count)
