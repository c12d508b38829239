"""Turn text columns into one column a value."""

from collections.abc import Mapping

import numpy as np

from titrant.runtime.data.columns import value_text
from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.values import Fitted
from titrant.schema.diagnostics import Diagnostic, RecipeError


def fit_one_hot(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Learn the values of each column, in alphabetical order; missing text is none of them."""
    arrays = {}
    for place, (name, column) in enumerate(columns.items()):
        if column.ndim != 1:
            raise RecipeError(Diagnostic("X122", f"one_hot: {name} is an array", help="name the text `columns`"))
        arrays[str(place)] = np.array(sorted(set(_texts(column).tolist()) - {""}), dtype=str)
    return Fitted("one_hot", tuple(columns), {}, arrays)


def apply_one_hot(fitted: Fitted, place: int, column: np.ndarray) -> np.ndarray:
    """Return (rows, values) float32 with a 1 at each row's value; a value not seen when fitted gives zeros."""
    values = fitted.arrays[str(place)]
    texts = _texts(column)
    if not len(values):
        return np.zeros((len(texts), 0), dtype=np.float32)
    found = np.searchsorted(values, texts).clip(0, len(values) - 1)
    seen = values[found] == texts
    encoded = np.zeros((len(texts), len(values)), dtype=np.float32)
    encoded[np.flatnonzero(seen), found[seen]] = 1
    return encoded


def _texts(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "U":
        return column
    distinct, index = np.unique(column, return_inverse=True)
    return np.array(["" if value != value else value_text(value) for value in distinct.tolist()])[index]  # noqa: PLR0124
