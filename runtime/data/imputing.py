"""Fill missing values with what train rows hold."""

from collections.abc import Mapping

import numpy as np

from titrant.runtime.data.columns import is_text, missing
from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.values import Fitted
from titrant.schema.diagnostics import Diagnostic, PreconditionError, RecipeError


def fit_impute(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Learn one value a column: its median, mean or most frequent value (of text always the most frequent).

    Every column is learned from, since a gap may turn up later in one that has none now. Raises PreconditionError X120
    for a column without any value.
    """
    arrays = {}
    for place, (name, column) in enumerate(columns.items()):
        if column.ndim != 1:
            raise RecipeError(Diagnostic("X122", f"impute: {name} is an array", help="name the `columns` to fill"))
        there = column[~missing(column)]
        if not len(there):
            raise PreconditionError(
                Diagnostic("X120", f"impute: {name} has no value in the rows that it is fitted on", help="leave it out")
            )
        arrays[str(place)] = np.atleast_1d(_typical(there, step.strategy))
    return Fitted("impute", tuple(columns), {"strategy": step.strategy}, arrays)


def apply_impute(fitted: Fitted, place: int, column: np.ndarray) -> np.ndarray:
    """Return the column with its gaps filled."""
    gaps = missing(column)
    if not gaps.any():
        return column
    value = fitted.arrays[str(place)][0]
    if is_text(column):
        return np.where(gaps, value, column)
    return np.where(gaps, value, column.astype(np.float64))


def _typical(values: np.ndarray, strategy: str) -> np.generic | float:
    if strategy == "most_frequent" or is_text(values):
        distinct, counts = np.unique(values, return_counts=True)
        frequent: np.generic = distinct[counts.argmax()]
        return frequent
    return float(np.median(values)) if strategy == "median" else float(values.mean(dtype=np.float64))
