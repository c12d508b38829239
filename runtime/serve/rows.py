"""Turn the rows that a caller has into columns by name: frames, columns, single rows, lists of rows, arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError


def columns_of(rows: Any, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return columns (rows, …) by name; `names` are those that a model takes, in their order.

    A mapping or Series of single values is one row, a list of mappings one row each. None, NaN and pandas' NA are
    missing. StepError X342 for rows of another form, X109 for a column that is neither numbers nor text.
    """
    from titrant.runtime.data.columns import array_column, filled_array, frame_columns

    if hasattr(rows, "iloc") and hasattr(rows, "columns"):
        return frame_columns(rows, "the rows")
    if hasattr(rows, "iloc") and hasattr(rows, "to_dict"):
        rows = {name: [value] for name, value in rows.to_dict().items()}
    if isinstance(rows, (list, tuple)) and rows and all(isinstance(row, Mapping) for row in rows):
        rows = _transposed(rows)
    if isinstance(rows, Mapping):
        if rows and all(isinstance(value, (str, bytes)) or not np.iterable(value) for value in rows.values()):
            rows = {name: [value] for name, value in rows.items()}
        columns = {str(name): array_column(values, str(name), "the rows") for name, values in rows.items()}
        lengths = {len(column) if column.ndim else 0 for name, column in columns.items() if name in names}
        if len(lengths) > 1:
            message = f"the columns differ in length: {', '.join(map(str, sorted(lengths)))} rows"
            raise StepError(Diagnostic("X342", message, help="give every column one entry a row"))
        return columns
    try:
        array = filled_array(rows)
    except ValueError:
        message = f"a {type(rows).__name__} of arrays of different shapes cannot be given to this model"
        raise StepError(Diagnostic("X342", message, help=_by_name(names))) from None
    return _of_array(array, names)


def refuse_ignored(rows: Mapping[str, np.ndarray], fixed: Mapping[str, Any], states: Sequence[str]) -> None:
    """Raise StepError X342 where rows give what the answers would not heed.

    That is another value for an input that is released with one (`fixed`), or a recurrent state that is not zero.
    """
    for name, value in fixed.items():
        if name in rows and not bool((rows[name] == value).all()):
            message = f"{name} was {value} where this model was judged, and other values were given"
            help = f"leave {name} out, or run the recipe with that value in `model.inputs`"
            raise StepError(Diagnostic("X342", message, help=help))
    for name in states:
        if name in rows and bool((rows[name] != 0).any()):
            message = f"{name} is recurrent state, which is zero at the start of each row"
            raise StepError(Diagnostic("X342", message, help=f"leave {name} out, and give all steps of a row at once"))


def _transposed(rows: Sequence[Mapping[Any, Any]]) -> Mapping[Any, Any]:
    first = rows[0]
    for place, row in enumerate(rows, 1):
        if row.keys() != first.keys():
            message = f"row {place} names other columns than row 1: {len(row)}, and {len(first)} in row 1"
            raise StepError(Diagnostic("X342", message, help="name the same columns in each row, with None for a gap"))
    return {name: [row[name] for row in rows] for name in first}


def _of_array(array: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    from titrant.runtime.data.columns import array_column

    if array.dtype.kind in "biuf" and array.ndim >= 2:
        if len(names) == 1:
            return {names[0]: array_column(array, names[0], "the rows")}
        if array.ndim == 2 and array.shape[1] == len(names):
            return {name: array_column(array[:, place], name, "the rows") for place, name in enumerate(names)}
    raise StepError(
        Diagnostic(
            "X342",
            f"rows of shape {array.shape} cannot be given to this model",
            help=_by_name(names),
        )
    )


def _by_name(names: tuple[str, ...]) -> str:
    some = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"give a DataFrame, or a mapping of column name to array, with {some}"
