"""Give columns as a file takes them that holds its transforms: text as text, numbers as float64, arrays as they are."""

from collections.abc import Mapping

import numpy as np

from titrant.runtime.data.columns import find, is_ragged, is_text
from titrant.runtime.data.content import row_hashes
from titrant.runtime.values import Rows, RowSplit, Tables, Transforms
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError

WHOLE = "int64"


def raw_names(transforms: Transforms) -> tuple[str, ...]:
    """List the columns that the transforms take, each once, in the order of the model's inputs."""
    return tuple(dict.fromkeys(name for names in transforms.inputs.values() for name in names))


def raw_columns(transforms: Transforms, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns that the transforms take, as a file takes them.

    Text is (rows,) objects, "" where it is missing; single numbers are (rows,) float64, NaN where one is missing,
    pixels uint8, and int64 where the model takes whole numbers of them; arrays keep dtype and shape. Raises
    PreconditionError X119 where whole numbers are wanted and a row has others, StepError X243 for images of many sizes.
    """
    whole = _whole(transforms)
    return {
        name: _raw(name, find(columns, name, "the data", "an input of the model"), whole=name in whole)
        for name in raw_names(transforms)
    }


def _whole(transforms: Transforms) -> frozenset[str]:
    """Name the columns that the model takes as whole numbers."""
    if transforms.by_graph:
        return frozenset()
    inputs = transforms.inputs.items()
    return frozenset(column for name, names in inputs if transforms.dtypes[name] == WHOLE for column in names)


def _raw(name: str, column: np.ndarray, *, whole: bool) -> np.ndarray:
    if is_ragged(column):
        message = f"images of {name} differ in size, and a file takes a batch of one size"
        raise StepError(Diagnostic("X243", message, help="write `transforms: beside`, or resize them before"))
    if is_text(column):
        return column.astype(object)
    if column.ndim > 1 or column.dtype == np.uint8:
        return np.ascontiguousarray(column)
    if not whole:
        return column.astype(np.float64)
    with np.errstate(invalid="ignore"):
        numbers = column.astype(np.int64)
    if not np.array_equal(numbers, column):
        message = f"the model takes whole numbers of {name}, and some rows have others"
        raise PreconditionError(Diagnostic("X119", message, help="nothing is rounded silently: mend these rows"))
    return numbers


def raw_rows(role: str, tables: Tables, split: RowSplit, transforms: Transforms) -> Rows:
    """Return a role's rows as raw columns, in the order of sources and rows, as those of the model's inputs are."""
    sources = split.roles.get(role, {})
    names = raw_names(transforms)
    columns = {
        name: np.concatenate([tables.sources[source].columns[name][rows] for source, rows in sources.items()])
        if sources
        else next(iter(tables.sources.values())).columns[name][:0]
        for name in names
    }
    units = [split.units[source][rows] for source, rows in sources.items()]
    return Rows(
        role=role,
        inputs=raw_columns(transforms, columns),
        labels=None,
        units=np.concatenate(units) if units else np.empty(0, dtype=np.int64),
        ids=row_hashes(columns),
        classes=transforms.classes,
        positive=transforms.positive,
        ordered=transforms.ordered,
    )
