"""Turn what readers and factories give into columns: numbers, truth values, text, or arrays of numbers."""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.language.nearest import several_nearest
from titrant.schema.values.text import is_whole

if TYPE_CHECKING:
    import pandas as pd

# Every whole number up to this is a float64.
LARGEST_WHOLE = 2**53
_INT64_END = 2**63
# What a cell of a frame may hold that is an array by itself.
_ARRAYS = (np.ndarray, list, tuple)


def frame_columns(frame: "pd.DataFrame", source: str) -> dict[str, np.ndarray]:
    """Turn a DataFrame into columns by name; StepError X109 for a column that is neither numbers nor text."""
    names = [str(name) for name in frame.columns]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise StepError(repeated_column(source, sorted(twice)[0], names))
    return {name: _series(series, name, source) for name, (_, series) in zip(names, frame.items(), strict=True)}


def array_column(values: Any, name: str, source: str) -> np.ndarray:
    """Turn an array-like into a column; StepError X109 for objects, complex numbers and rows of different lengths."""
    try:
        array = filled_array(values)
    except ValueError:
        raise StepError(_uneven(name, source, values)) from None
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind == "O":
        return _objects(array, name, source)
    if array.dtype.kind not in "biufU":
        raise StepError(_unusable(name, source, str(array.dtype)))
    if array.dtype.kind == "U" and array.ndim != 1:
        raise StepError(_unusable(name, source, f"text of shape {array.shape}"))
    return array.astype(np.float32) if array.dtype == np.float16 else array


def filled_array(values: Any) -> np.ndarray:
    """Return an array-like as an array; what a masked array hides is missing: NaN, None, or empty text.

    A tensor is taken from its device and its graph; bfloat16, which NumPy does not know, becomes float32. Raises
    ValueError for rows of different lengths.
    """
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        return np.asarray(tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor)
    if isinstance(values, (list, tuple)) and values and all(hasattr(each, "detach") for each in values):
        return np.stack([filled_array(each) for each in values])
    if not isinstance(values, np.ma.MaskedArray) or not values.mask.any():
        return np.asarray(values)
    if values.dtype.kind in "SU":
        return np.asarray(values.filled(""))
    kind = values.dtype.kind
    if kind == "b" or (kind in "iu" and max(-int(values.min()), int(values.max())) <= LARGEST_WHOLE):
        values = values.astype(np.float64)
    return np.asarray(values.filled(np.nan) if values.dtype.kind in "fc" else np.where(values.mask, None, values.data))


def _uneven(name: str, source: str, rows: Iterable[Any]) -> Diagnostic:
    """Say that the rows of an array differ in length, which no array of numbers holds (X109)."""
    lengths = sorted({len(row) if hasattr(row, "__len__") else 1 for row in rows})
    what = f"rows of {lengths[0]:,} to {lengths[-1]:,} values" if len(lengths) > 1 else "rows of different shapes"
    advice = "cut or fill them to one length in a data factory: a model is given an array (rows, …)"
    return Diagnostic("X109", f"{source}: {name} holds {what}", help=advice)


def _series(series: "pd.Series[Any]", name: str, source: str) -> np.ndarray:
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        kept = series.cat.categories.dtype
        series = series.astype(object if series.isna().any() and kept.kind in "biu" else kept)
    if pd.api.types.is_bool_dtype(series.dtype) and not series.isna().any():
        return series.to_numpy(dtype=bool)
    if pd.api.types.is_numeric_dtype(series.dtype):
        if series.isna().any():
            return series.to_numpy(dtype=np.float64, na_value=np.nan)
        return array_column(series.to_numpy(), name, source)
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return np.asarray(series.dt.strftime("%Y-%m-%dT%H:%M:%S").fillna(""), dtype=str)
    return _objects(series.to_numpy(dtype=object), name, source)


def _objects(array: np.ndarray, name: str, source: str) -> np.ndarray:
    """Read objects as text with "" for missing, as numbers if each is one, or as one array of arrays of one shape."""
    if array.ndim > 1 and all(isinstance(value, _ARRAYS) for value in array.flat):
        array = np.fromiter(array, dtype=object, count=len(array))  # a row's own arrays, as Parquet nests them
    if array.ndim != 1:
        raise StepError(_unusable(name, source, "Python objects"))
    if any(isinstance(value, _ARRAYS) or hasattr(value, "detach") for value in array):
        return _stacked(array, name, source)
    values: list[Any] = ["" if _is_missing(value) else value for value in array.tolist()]
    kinds = {type(value) for value in values if value != ""}
    if kinds <= {str}:
        return np.array(values, dtype=str)
    if kinds <= {bool} and "" not in values:
        return np.array(values, dtype=bool)
    if kinds == {int} and "" not in values and max(map(abs, values)) < _INT64_END:
        return np.array(values, dtype=np.int64)
    if kinds <= {int, float, bool, Decimal}:
        if any(abs(value) > LARGEST_WHOLE for value in values if type(value) in (int, Decimal)):
            raise StepError(rounded(name, source, "gaps or fractions"))
        return np.array([np.nan if value == "" else value for value in values], dtype=np.float64)
    if kinds in ({date}, {datetime}, {time}):
        return np.array([value if value == "" else _written(value) for value in values], dtype=str)
    what = f"{'mixed ' if len(kinds) > 1 else ''}{', '.join(sorted(kind.__name__ for kind in kinds))}"
    raise StepError(_unusable(name, source, what))


def _written(moment: date | time) -> str:
    """Write a day or a time as text, as columns of time stamps are."""
    return moment.isoformat() if type(moment) is date else moment.isoformat(timespec="seconds")  # type: ignore[call-arg]


def rounded(name: str, source: str, beside: str = "gaps") -> Diagnostic:
    """Say that a column has whole numbers that the floats, which gaps make of it, do not hold (X109)."""
    message = f"{source}: {name} has {beside} and whole numbers beyond 2^53, which no float holds"
    return Diagnostic("X109", message, help="store it as text")


def _stacked(array: np.ndarray, name: str, source: str) -> np.ndarray:
    """Return cells that hold an array each, such as a series, as one array (rows, …); else StepError X109."""
    gaps = sum(value is None or (isinstance(value, float) and value != value) for value in array)  # noqa: PLR0124
    if gaps:
        what = f"arrays, and none in {gaps:,} of {len(array):,} rows"
        raise StepError(_unusable(name, source, what, "leave these rows out, in the file or in a data factory"))
    try:
        return array_column(np.stack([_cell(value) for value in array]), name, source)
    except ValueError:
        raise StepError(_uneven(name, source, array)) from None


def _cell(value: Any) -> np.ndarray:
    """Return an array of numbers; Parquet has lists of lists as arrays that hold arrays."""
    plain = filled_array(value)
    return np.stack([_cell(each) for each in plain]) if plain.dtype.kind == "O" and plain.size else plain


def _is_missing(value: Any) -> bool:
    """Tell None, NaN and NaT, which differ from themselves, and pandas' NA, which does not say whether it does."""
    try:
        return value is None or bool(value != value)  # noqa: PLR0124
    except TypeError:
        return True


def _unusable(name: str, source: str, what: str, help: str = "") -> Diagnostic:
    advice = help or "columns hold numbers or text; convert it in a data factory"
    return Diagnostic("X109", f"{source}: {name} holds {what}", help=advice)


def is_text(column: np.ndarray) -> bool:
    """Whether a column is text."""
    return column.dtype.kind == "U"


def is_ragged(column: np.ndarray) -> bool:
    """Whether a column holds images that differ in size: an object array of float32 arrays."""
    return column.dtype.kind == "O"


def missing(column: np.ndarray) -> np.ndarray:
    """Mark the rows (rows,) that have a missing value: NaN, or empty text."""
    if is_text(column):
        return np.asarray(column == "")
    if column.dtype.kind != "f":
        return np.zeros(len(column), dtype=bool)
    return np.asarray(np.isnan(flat(column)).any(axis=1))


def flat(column: np.ndarray) -> np.ndarray:
    """Return a column or array as (rows, numbers of a row), also when it has no rows."""
    return column.reshape(len(column), math.prod(column.shape[1:]))


def value_text(value: Any) -> str:
    """Write a single value as recipes do: integral floats as integers, truth values in lower case."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def find(columns: Mapping[str, np.ndarray], name: str, source: str, key: str) -> np.ndarray:
    """Return a column that the recipe names at `key`; RecipeError X101 with the nearest names when it is not there."""
    if name not in columns:
        raise RecipeError(unknown_column(name, columns, source, key))
    return columns[name]


# A whole number of so many digits may be a name, such as a year; so many names that rise prove nothing.
_SHORT = 4
HEADER = "its first line seems to hold values instead of names: add a line with the columns' names"


def are_values(names: Iterable[str]) -> bool:
    """Tell whether names of columns seem to be a row of values, of a file without a header: some are quantities."""
    return any(_is_number(name) and not (is_whole(name) and len(name) <= _SHORT) for name in names)


def are_places(names: Sequence[str]) -> bool:
    """Tell whether names that are numbers are names all the same: they count, or rise or fall throughout (wavelengths).

    A few are not enough to tell: a row may hold three values that rise.
    """
    numbers = [float(name) for name in names]
    steps = {second > first for first, second in pairwise(numbers)}
    counted = set(numbers) in ({*range(len(numbers))}, {*range(1, len(numbers) + 1)})
    return len(numbers) > _SHORT and (counted or len(steps) == 1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def no_numbers(column: np.ndarray) -> str:
    """Say how many values keep a text column from being numbers, where most are numbers; none of them is named."""
    wrong = sum(not _is_number(value) for value in column.tolist())
    return f": {wrong:,} of {len(column):,} values are no numbers" if wrong < len(column) / 2 else ""


def text_refused(column: np.ndarray, message: str, help: str, code: str) -> Diagnostic:
    """Say that a column of text stands where numbers are due; of one that is mostly numbers, what keeps it from them.

    The odd values themselves are in `said`, three of them.
    """
    count = no_numbers(column)
    if len(column) and all(_is_number(value) for value in column.tolist()):
        return Diagnostic(code, f"{message}, and every value of it is a number", help="give it as numbers")
    if not count:
        return Diagnostic(code, message, help=help)
    odd = [value for value in dict.fromkeys(column.tolist()) if value and not _is_number(value)]
    advice = "mend them (`--show-data` shows some), or list what stands for missing: `csv: {path: …, missing: […]}`"
    return Diagnostic(code, f"{message}{count}", help=advice, said=", ".join(odd[:3]))


def check_numeric(name: str, column: np.ndarray, transform: str) -> None:
    """Refuse a column that a transform of numbers cannot work on: text, or images that differ in size; X122."""
    if is_text(column):
        advice = "put `- one_hot` after it, or name `columns`"
        raise RecipeError(text_refused(column, f"{transform}: {name} is text", advice, "X122"))
    if is_ragged(column):
        message = f"{transform}: images of {name} differ in size"
        raise RecipeError(Diagnostic("X122", message, help=f"put `- resize` before `- {transform}`"))


def repeated_column(source: str, name: str, names: Iterable[str]) -> Diagnostic:
    """Say that a column stands twice in a source (X109); what seems to be a value is not named."""
    if are_values(names):
        return Diagnostic("X109", f"{source} has a column twice", help=HEADER, said=name)
    return Diagnostic("X109", f"{source} has the column {name} twice", help="give each column a name of its own")


# A column with more values is encoded only where `columns` names it; one whose values differ in more than half of at
# least so many rows names the rows.
MOST_ENCODED, _FEW_VALUES = 1000, 20


def check_values(name: str, values: int, rows: int, *, named: bool) -> None:
    """Refuse to encode a column that names its rows, or has very many values unless it is `named`; RecipeError X233."""
    of_rows = values > _FEW_VALUES and values * 2 > rows
    if not of_rows and (named or values <= MOST_ENCODED):
        return
    message = f"one_hot: {name} has {values:,} different values in {rows:,} rows, and each would become an input"
    leave_out = "leave it out of `data.inputs`" + (", as it seems to name the rows" if of_rows else "")
    advice = leave_out if of_rows else f"{leave_out}, or say that it is meant: `- one_hot: {{columns: [{name}]}}`"
    raise RecipeError(Diagnostic("X233", message, help=advice))


def unknown_column(name: str, columns: Iterable[str], source: str, key: str) -> Diagnostic:
    """Say that a column is not in a source, and which are near; `key` is the recipe key that names it."""
    names = list(columns)
    near = several_nearest(name, names, 2)
    there = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    help = f"did you mean {' or '.join(f'`{similar}`' for similar in near)}?" if near else f"it has {there or 'none'}"
    message = f"{source} has no column `{name}`"
    form = unicodedata.normalize("NFC", name)
    if any(unicodedata.normalize("NFC", other) == form for other in names):
        message += " in this Unicode form, and has one that looks the same"
        return Diagnostic("X101", message, help="copy the name from the file's first line", key=f"{key} {name}")
    if are_values(names):
        return Diagnostic("X101", message, help=HEADER, key=f"{key} {name}", said=there)
    return Diagnostic("X101", message, help=help, key=f"{key} {name}")


def is_written_number(text: str) -> bool:
    """Whether a text is how a number or a truth value is written here: `7` and `0.5`, neither `007` nor `A1`."""
    if is_whole(text) or text in ("true", "false"):
        return True
    try:
        return value_text(float(text)) == text
    except ValueError:
        return False


def joined(parts: Sequence[np.ndarray], name: str) -> np.ndarray:
    """Return the parts of a column one after another; StepError X102 where they differ in shape, or in being text."""
    if len(parts) == 1:
        return parts[0]
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) == 1 and len({part.dtype.kind == "U" for part in parts}) > 1:
        message = f"{name} is text in one source and numbers in another"
        advice = "write it alike in both files: codes such as 007, a mark for missing, or a word make a column text"
        raise StepError(Diagnostic("X102", message, help=advice))
    if len(shapes) > 1:
        raise StepError(
            Diagnostic("X102", f"{name} differs between sources: {', '.join(map(str, shapes))}", help="make them alike")
        )
    return np.concatenate(parts)
