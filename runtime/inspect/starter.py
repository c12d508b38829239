"""Find out what a starter recipe needs: a factory's arguments, a file's inputs, a source's columns and label."""

import inspect
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from titrant.runtime.data.classes import ARGMAX, is_one_hot
from titrant.runtime.data.columns import are_places, find, is_ragged, is_text, missing, value_text
from titrant.runtime.data.delimited.read import read_csv
from titrant.runtime.data.images.read import read_images
from titrant.runtime.data.parameters import SourceParams
from titrant.runtime.data.readers import hidden, read_bundled, read_factory, read_npz, read_parquet
from titrant.runtime.inspect.suspects import label_leaks
from titrant.runtime.user_code import resolve
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import LabelLeak
from titrant.schema.values.canonical import plain

# At most this many values of a label are listed: a label with more is a quantity.
MOST_LISTED = 1000
# What people call the column that holds the answer.
LABEL_NAMES = ("label", "labels", "target", "targets", "class", "y")
# A column with more values than this, or with a value for every other row, is hardly the answer of a classifier.
_MOST_CLASSES, _MOST_UNLIKE = 100, 0.5
_IMAGE_RANK = 4  # of a batch of images
# Columns whose numbers have a mean this near to 0, and a deviation this near to 1, were standardized by somebody.
_STANDARD_MEAN, _STANDARD_SPREAD = 0.15, (0.75, 1.25)


def describe_starter(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a request {"factory", "onnx", "data": {kind: path or name}, "label", "unlabeled"}, each part or None.

    Returns {"arguments": [{"name", "required"}, …] or None, "onnx": plain(ModelFacts) or None, "hints": what
    `describe_hints` gives or None, "data": what `describe_source` gives, or None}. Raises what reading the data raises,
    RecipeError P081 where it is of no use.
    """
    onnx = _onnx(asked["onnx"]) if asked.get("onnx") else None
    hints = None
    if asked.get("onnx"):
        from titrant.runtime.inspect.starter_model import describe_hints

        hints = describe_hints(asked["onnx"])
    taken = {tensor["name"] for tensor in onnx["inputs"]} if onnx else set()
    images = onnx is not None and any(len(tensor["shape"]) == _IMAGE_RANK for tensor in onnx["inputs"])
    source, label = asked.get("data"), asked.get("label")
    return {
        "arguments": _arguments(asked["factory"]) if asked.get("factory") else None,
        "onnx": onnx,
        "hints": hints,
        "data": describe_source(source, label, taken, pick=not asked.get("unlabeled"), images=images)
        if source
        else None,
    }


def describe_source(
    source: Mapping[str, str],
    label: str | None,
    taken: Collection[str] = (),
    *,
    pick: bool = False,
    images: bool = False,
) -> dict[str, Any]:
    """Describe the columns that go with the label: {"rows", "columns", "left", "label", "candidates", "notes",
    "leaks"}.

    `columns` are {"name", "dtype", "shape", "missing", "distinct", "unlike", "standard"} in their order; `unlike` is
    the share of distinct values among the rows, `standard` whether the numbers look standardized, or None. `left` are
    arrays of another length, `label` is {"name", "values": {text: rows}, "distinct", "whole", "text", "missing"}.

    `leaks` are the columns that give the label away alone, over all rows, as plain LabelLeak.

    Without a label one is picked where asked: the only column that can be one, or the only one of these that is called
    so; else `candidates` lists them. Columns that the model takes by name, `taken`, are none. With `images` those that
    a bundled set has beside its columns are described too.
    """
    kind, path = next(iter(source.items()))
    columns, notes = _read(kind, path, label, images=images)
    name = Path(path).name if kind not in ("factory", "sklearn") else path
    _check_header(columns, name, label)
    _check_names(columns, name)
    candidates: list[str] = []
    if label is None and pick:
        candidates = _candidates(columns, taken)
        label = candidates[0] if len(candidates) == 1 else None
    if label is not None and kind != "image_folder":
        find(columns, label, name, "data.label")
    rows = len(columns[label]) if label is not None else max(map(len, columns.values()), default=0)
    if not rows:
        raise RecipeError(Diagnostic("P081", f"{name} has no rows", help="check the file or the factory"))
    fitting = {name: column for name, column in columns.items() if len(column) == rows}
    return {
        "rows": rows,
        "columns": [_column(name, column) for name, column in fitting.items() if name != label],
        "left": [name for name in columns if name not in fitting],
        "label": None if label is None else _label(label, columns[label]),
        "candidates": candidates if label is None else [],
        "notes": list(notes),
        "leaks": [] if label is None else plain(_leaks(fitting, label)),
    }


def _leaks(columns: Mapping[str, np.ndarray], label: str) -> tuple[LabelLeak, ...]:
    answers = columns[label].reshape(len(columns[label]), -1)
    classes, numbers = np.unique(answers[:, 0], return_inverse=True)
    if answers.shape[1] != 1 or len(classes) > MOST_LISTED:
        return ()
    return label_leaks({name: column for name, column in columns.items() if name != label}, numbers)


def _read(kind: str, path: str, label: str | None, *, images: bool) -> tuple[Mapping[str, np.ndarray], tuple[str, ...]]:
    if kind == "csv":
        table = read_csv(path)
        return table.columns, table.notes
    if kind == "parquet":
        return read_parquet(path), ()
    if kind == "npz":
        return read_npz(path, None), ()
    if kind == "factory":
        return read_factory(SourceParams(factory=path), "", {}), ()
    if kind == "sklearn":
        bundled, aside = read_bundled(path), () if images else hidden(path)
        return {name: column for name, column in bundled.columns.items() if name not in aside}, ()
    table = read_images(path, label=label, resize=True)
    return table.columns, table.notes


def _candidates(columns: Mapping[str, np.ndarray], taken: Collection[str]) -> list[str]:
    """List the columns that can be a label: few values, whole or text, none missing; those called so go first."""
    able = [name for name, column in columns.items() if name not in taken and _can_be_label(column)]
    called = [name for name in able if name.casefold() in LABEL_NAMES]
    return called or able


def _can_be_label(column: np.ndarray) -> bool:
    if is_ragged(column) or column.ndim > 2 or (column.ndim == 2 and column.shape[1] != 1) or not len(column):
        return False
    column = column.reshape(-1)
    if missing(column).any() or (column.dtype.kind == "f" and not bool((column == np.floor(column)).all())):
        return False
    distinct = len(np.unique(column))
    return 2 <= distinct <= min(_MOST_CLASSES, max(2, _MOST_UNLIKE * len(column)))


def _check_names(columns: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse two names that are shown alike, since one sign can be written in several ways in Unicode."""
    seen: dict[str, int] = {}
    for place, name in enumerate(columns):
        other = seen.setdefault(unicodedata.normalize("NFKC", name), place)
        if other != place:
            pair = f"columns {other + 1} and {place + 1}"
            message = f"{source}: {pair} are both called `{name}`, written with other signs of Unicode"
            raise RecipeError(Diagnostic("P081", message, help="give one of them another name"))


def _check_header(columns: Mapping[str, np.ndarray], name: str, label: str | None) -> None:
    """Refuse a file without columns, or whose first line looks like data."""
    if not columns:
        raise RecipeError(Diagnostic("P081", f"{name} holds no column", help="name a file that has some"))
    numbers = [column for column in columns if _is_number(column)]
    missing_label = label is not None and label not in columns
    if not are_places(numbers) and (len(numbers) * 2 > len(columns) or (numbers and missing_label)):
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
        return {
            "name": name, "dtype": "images", "shape": list(column[0].shape[:1]), "missing": 0, "distinct": None,
            "unlike": 0.0, "standard": None,
        }  # fmt: skip
    gone = missing(column)
    distinct = len(np.unique(column[~gone])) if column.ndim == 1 else None
    dtype = "text" if is_text(column) else str(column.dtype)
    unlike = 0.0 if distinct is None else distinct / max(1, len(column))
    shape = list(column.shape[1:])
    return {
        "name": name, "dtype": dtype, "shape": shape, "missing": int(gone.sum()), "distinct": distinct,
        "unlike": unlike, "standard": _looks_standard(column[~gone]),
    }  # fmt: skip


def _looks_standard(values: np.ndarray) -> bool | None:
    """Whether fractions have a mean of about 0 and a deviation of about 1; None for what is no column of fractions."""
    if values.ndim != 1 or values.dtype.kind != "f" or len(values) < 2 or bool((values == np.floor(values)).all()):
        return None
    low, high = _STANDARD_SPREAD
    return bool(abs(values.mean()) <= _STANDARD_MEAN and low <= values.std() <= high)


def _label(name: str, column: np.ndarray) -> dict[str, Any]:
    column = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
    if column.ndim != 1:
        message = f"{name} has {' × '.join(map(str, column.shape[1:]))} numbers a case, and a label is one value"
        advice = (
            "name another column, or write the recipe by hand for `task: segmentation`, `detection` or "
            "`multilabel_classification`: `titrant show recipes` lists some to copy"
        )
        raise RecipeError(Diagnostic("P081", message, help=ARGMAX if is_one_hot(column) else advice))
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
