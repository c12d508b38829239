"""Tell whether calibration rows are of another distribution than the rows that choose and judge.

Ranges of activations are found on calibration rows: where later rows reach beyond them they are clipped.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from titrant.runtime.values import Rows
from titrant.schema.values.frozen import dataclass

# Rows of each side that are looked at, evenly chosen, and columns up to which an input is looked at one by one.
_ROWS, _COLUMNS = 2000, 256
# A difference counts from this distance on, where chance would show it once in a thousand data sets.
_LEAST, _CHANCE = 0.1, 1e-3
# So many columns are named.
_NAMED = 3


@dataclass(frozen=True)
class Shift:
    """How one column of an input differs: the Kolmogorov-Smirnov distance, 0..1, and the share beyond the range."""

    column: str
    distance: float
    outside: float


def shifts(calibration: Rows, others: Sequence[Rows], columns: Mapping[str, Sequence[str]]) -> list[Shift]:
    """Return the columns in which calibration rows differ from other rows, the most different first.

    Two-sample Kolmogorov-Smirnov, asymptotic, held to one false alarm in a thousand data sets by Bonferroni.
    `columns` names those of an input. Of wider inputs, such as images, each row's mean and spread are compared.
    """
    compared = [
        (name, ours, theirs)
        for source in calibration.inputs
        for name, ours, theirs in _columns(source, calibration, others, columns.get(source, ()))
        if len(ours) and len(theirs)
    ]
    alike = math.log(2 * max(len(compared), 1) / _CHANCE) / 2
    different = []
    for name, ours, theirs in compared:
        distance = _distance(ours, theirs)
        evidence = distance**2 * len(ours) * len(theirs) / (len(ours) + len(theirs))
        if distance >= _LEAST and evidence > alike:
            outside = float(((theirs < ours.min()) | (theirs > ours.max())).mean())
            different.append(Shift(name, distance, outside))
    return sorted(different, key=lambda shift: -shift.distance)


def shift_note(different: Sequence[Shift]) -> str:
    """Say in which columns, by how much, and what follows; "" where there are none."""
    if not different:
        return ""
    named = ", ".join(
        f"{shift.column} (Kolmogorov-Smirnov {shift.distance:.2f}, {shift.outside:.0%} of values beyond its range)"
        for shift in different[:_NAMED]
    )
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    return (
        f"tuning and evaluation rows are unlike the calibration rows in {named}{more}: ranges found on these may not "
        "hold; calibrate on rows like those to come"
    )


def _columns(
    source: str, calibration: Rows, others: Sequence[Rows], names: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield each column of an input with its values in the calibration rows and in the others."""
    first = calibration.inputs[source]
    if first.dtype.kind not in "fiu" or first.dtype == object or not first.ndim:
        return
    if first.dtype.kind in "iu" and first.ndim > 1:
        return  # tokens: which number stands for one says nothing of a range
    ours = _table(first)
    theirs = np.concatenate([_table(rows.inputs[source]) for rows in others if source in rows.inputs])
    width = ours.shape[1]
    if width != theirs.shape[1]:
        return
    if width > _COLUMNS:
        yield f"the mean of {source}", ours.mean(1), theirs.mean(1)
        yield f"the spread of {source}", ours.std(1), theirs.std(1)
        return
    labels = (
        list(names) if len(names) == width else [source if width == 1 else f"{source}[{at}]" for at in range(width)]
    )
    yield from ((label, ours[:, at], theirs[:, at]) for at, label in enumerate(labels))


def _table(array: np.ndarray) -> np.ndarray:
    """Return at most `_ROWS` rows, evenly chosen, as (rows, numbers of a row)."""
    step = max(1, -(-len(array) // _ROWS))
    chosen = array[::step]
    return chosen.reshape(len(chosen), -1).astype(np.float64) if len(chosen) else np.zeros((0, 1))


def _distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference of two empirical distribution functions."""
    ours, theirs = np.sort(ours), np.sort(theirs)
    at = np.concatenate([ours, theirs])
    first = np.searchsorted(ours, at, side="right") / len(ours)
    second = np.searchsorted(theirs, at, side="right") / len(theirs)
    return float(np.abs(first - second).max())
