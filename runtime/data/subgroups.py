"""Assign rows to subgroups: bins of a number, or values of a column."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from titrant.runtime.data.columns import missing, value_text
from titrant.runtime.data.parameters import SubgroupColumn
from titrant.schema.diagnostics import Diagnostic, RecipeError


def subgroup_values(name: str, group: SubgroupColumn, columns: Sequence[np.ndarray]) -> tuple[str, ...]:
    """List a subgroup's values in order: bins from low to high, labels as written, or else every value found.

    `columns` are the column of every source. Raises RecipeError X125 when bins or values do not fit it.
    """
    if any(column.ndim != 1 for column in columns):
        raise _misfit(name, f"{group.column} is an array", "a subgroup is told from a column of single values")
    if group.bins is not None:
        return _bin_labels(name, group, columns)
    found = {value_text(value) for column in columns for value in np.unique(column[~missing(column)]).tolist()}
    if group.values is None:
        return tuple(sorted(found))
    labels = _labelled(group)
    absent = [value for values in labels.values() for value in values if value not in found]
    if absent:
        there = ", ".join(sorted(found)[:8]) + (" …" if len(found) > 8 else "")
        raise _misfit(name, f"{group.column} has no value {absent[0]}", f"it has {there}")
    return tuple(labels)


def assign(group: SubgroupColumn, values: Sequence[str], column: np.ndarray) -> np.ndarray:
    """Return each row's index (rows,) int64 into `values`, -1 for a row that belongs to none."""
    gone = missing(column)
    if group.bins is not None:
        placed = np.searchsorted(np.asarray(group.bins), column.astype(np.float64), side="right")
        return np.where(gone, -1, placed).astype(np.int64)
    place = {value: number for number, value in enumerate(values)}
    if group.values is not None:
        place = {value: place[label] for label, several in _labelled(group).items() for value in several}
    distinct, index = np.unique(column, return_inverse=True)
    numbers = np.array([place.get(value_text(value), -1) for value in distinct.tolist()], dtype=np.int64)
    return np.where(gone, -1, numbers[index]).astype(np.int64)


def _labelled(group: SubgroupColumn) -> Mapping[str, tuple[str, ...]]:
    """Read `values` as label → the values that it stands for, all as text."""
    if isinstance(group.values, list):
        return {value_text(value): (value_text(value),) for value in group.values}
    return {
        label: tuple(value_text(value) for value in (several if isinstance(several, list) else [several]))
        for label, several in (group.values or {}).items()
    }


def _bin_labels(name: str, group: SubgroupColumn, columns: Sequence[np.ndarray]) -> tuple[str, ...]:
    cuts = group.bins or ()
    if list(cuts) != sorted(set(cuts)):
        raise _misfit(
            name, f"the cut points {', '.join(f'{cut:g}' for cut in cuts)} do not rise", "write each once, rising"
        )
    if any(column.dtype.kind not in "iuf" for column in columns):
        raise _misfit(name, f"{group.column} is not a column of numbers", "use `values` for text")
    low, high = f"{group.column} < {cuts[0]:g}", f"≥ {cuts[-1]:g}"
    return (low, *(f"{a:g} to {b:g}" for a, b in itertools.pairwise(cuts)), high)


def _misfit(name: str, message: str, help: str) -> RecipeError:
    return RecipeError(Diagnostic("X125", message, help=help, key=f"data.subgroups.{name}"))
