"""Find out what a starter recipe needs: a factory's arguments, a file's inputs, a source's columns and label."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from titrant.runtime.data.columns import is_ragged, is_text, missing, value_text
from titrant.runtime.data.images.read import read_images
from titrant.runtime.data.readers import read_csv, read_npz, read_parquet
from titrant.runtime.user_code import resolve
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.canonical import plain

# At most this many values of a label are listed: a label with more is a quantity.
MOST_LISTED = 1000
# What separates columns in files that are called .csv and have no commas.
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def describe_starter(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request {"factory", "onnx", "data": {kind: path}, "label"}, each part or None.

    Returns {"arguments": [{"name", "required"}, …] or None, "onnx": plain(ModelFacts) or None, "data": what
    `describe_source` gives, or None}. Raises what reading the data raises, RecipeError P081 where it is of no use.
    """
    return {
        "arguments": _arguments(asked["factory"]) if asked.get("factory") else None,
        "onnx": _onnx(asked["onnx"]) if asked.get("onnx") else None,
        "data": describe_source(asked["data"], asked.get("label")) if asked.get("data") else None,
    }


def describe_source(source: Mapping[str, str], label: str | None) -> dict[str, Any]:
    """Describe the columns that go with the label: {"rows", "columns", "left", "label", "notes"}.

    `columns` are {"name", "dtype", "shape", "missing", "distinct", "unlike"} in their order; `unlike` is the share of
    distinct values among the rows. `left` are arrays of another length, `label` is {"name", "values": {text: rows},
    "distinct", "whole", "text", "missing"}.
    """
    kind, path = next(iter(source.items()))
    columns, notes = _read(kind, path, label)
    _check_header(columns, Path(path).name, label)
    if label is not None and label not in columns:
        there = ", ".join(list(columns)[:12])
        raise RecipeError(Diagnostic("P081", f"{Path(path).name} has no column {label}", help=f"it has {there}"))
    rows = len(columns[label]) if label is not None else max(map(len, columns.values()))
    fitting = {name: column for name, column in columns.items() if len(column) == rows}
    return {
        "rows": rows,
        "columns": [_column(name, column) for name, column in fitting.items() if name != label],
        "left": [name for name in columns if name not in fitting],
        "label": None if label is None else _label(label, columns[label]),
        "notes": list(notes),
    }


def _read(kind: str, path: str, label: str | None) -> tuple[Mapping[str, np.ndarray], tuple[str, ...]]:
    if kind == "csv":
        return read_csv(path)
    if kind == "parquet":
        return read_parquet(path), ()
    if kind == "npz":
        return read_npz(path, None), ()
    table = read_images(path, label=label, resize=True)
    return table.columns, table.notes


def _check_header(columns: Mapping[str, np.ndarray], name: str, label: str | None) -> None:
    """Refuse a file whose first line looks like data, or whose columns are not separated by commas."""
    mark = next((mark for mark in _SEPARATORS if len(columns) == 1 and mark in next(iter(columns))), "")
    if mark:
        message = f"{name} separates its columns with {_SEPARATORS[mark]}, and a .csv file does so with commas"
        raise RecipeError(Diagnostic("P081", message, help="convert it, or read it in a data factory"))
    numbers = [column for column in columns if _is_number(column)]
    missing_label = label is not None and label not in columns
    if len(numbers) * 2 > len(columns) or (numbers and missing_label):
        # The names would be the values of the first row.
        message = (
            f"{name} seems to have no header line: {len(numbers)} of its {len(columns)} columns are called by numbers"
        )
        advice = "add a line with the columns' names, or read it in a data factory"
        raise RecipeError(Diagnostic("P081", message, help=advice, said=", ".join(list(columns)[:4])))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(name: str, column: np.ndarray) -> dict[str, Any]:
    if is_ragged(column):
        shape = list(column[0].shape[:1])
        return {"name": name, "dtype": "images", "shape": shape, "missing": 0, "distinct": None, "unlike": 0.0}
    gone = missing(column)
    distinct = len(np.unique(column[~gone])) if column.ndim == 1 else None
    dtype = "text" if is_text(column) else str(column.dtype)
    unlike = 0.0 if distinct is None else distinct / max(1, len(column))
    shape = list(column.shape[1:])
    return {
        "name": name, "dtype": dtype, "shape": shape, "missing": int(gone.sum()), "distinct": distinct,
        "unlike": unlike,
    }  # fmt: skip


def _label(name: str, column: np.ndarray) -> dict[str, Any]:
    column = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
    if column.ndim != 1:
        message = f"{name} has {' × '.join(map(str, column.shape[1:]))} numbers a case, and a label is one value"
        raise RecipeError(Diagnostic("P081", message, help="name another column, or derive a label in a data factory"))
    gone = missing(column)
    values, counts = np.unique(column[~gone], return_counts=True)
    whole = column.dtype.kind != "f" or bool((values == np.floor(values)).all())
    shown = zip(values[:MOST_LISTED].tolist(), counts[:MOST_LISTED].tolist(), strict=True)
    return {
        "name": name,
        "values": {value_text(value): count for value, count in shown},
        "distinct": len(values),
        "whole": whole,
        "text": is_text(column),
        "missing": int(gone.sum()),
    }


def _arguments(factory: str) -> list[dict[str, Any]]:
    made = resolve(factory)
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):
        return []
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [{"name": item.name, "required": item.default is item.empty} for item in parameters if item.kind in named]


def _onnx(path: str) -> Any:
    from titrant.runtime.data.parameters import File
    from titrant.runtime.inspect.onnx import describe_onnx
    from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams

    return plain(describe_onnx(ModelLoadOnnxParams(onnx=File(path=path, digest="")), None))
