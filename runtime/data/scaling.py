"""Standardize columns by their own mean and spread, or normalize them by given ones."""

from collections.abc import Mapping, Sequence

import numpy as np

from titrant.runtime.data.columns import is_ragged, is_text
from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.values import Fitted
from titrant.schema.diagnostics import Diagnostic, PreconditionError, RecipeError


def fit_standardize(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Learn mean and standard deviation: of a column, of each place of a 1-D array, of each channel of an image."""
    arrays: dict[str, np.ndarray] = {}
    for place, (name, column) in enumerate(columns.items()):
        _check_numeric(name, column, "standardize")
        axes = _pooled_axes(column)
        with np.errstate(invalid="ignore"):
            mean = column.mean(axis=axes, dtype=np.float64, keepdims=True)
            spread = column.std(axis=axes, dtype=np.float64, keepdims=True)
        if not (np.isfinite(mean).all() and np.isfinite(spread).all()):
            if np.isinf(column).any():
                message = f"standardize: {name} has infinite values"
                raise PreconditionError(Diagnostic("X120", message, help="leave these rows out, or mend them"))
            raise PreconditionError(
                Diagnostic(
                    "X120", f"standardize: {name} has missing values", help="put `- impute` before `- standardize`"
                )
            )
        arrays[f"{place}.mean"] = mean.reshape(mean.shape[1:])
        # A constant column becomes zeros, not a division by nothing.
        arrays[f"{place}.spread"] = np.where(spread == 0, 1.0, spread).reshape(mean.shape[1:])
    return Fitted("standardize", tuple(columns), {}, arrays)


def apply_standardize(fitted: Fitted, place: int, column: np.ndarray) -> np.ndarray:
    """Return (column - mean) / spread as float32, computed in float64."""
    shifted = column.astype(np.float64) - fitted.arrays[f"{place}.mean"]
    return np.asarray(shifted / fitted.arrays[f"{place}.spread"], dtype=np.float32)


def fit_normalize(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Keep the given mean and std, one number or one a channel (a column of its own, for columns of single numbers)."""
    mean, std = _numbers(step.mean, "mean"), _numbers(step.std, "std")
    if (std == 0).any():
        raise RecipeError(Diagnostic("X122", "normalize: std has a 0", help="write numbers above 0"))
    arrays: dict[str, np.ndarray] = {}
    for place, (name, column) in enumerate(columns.items()):
        _check_numeric(name, column, "normalize")
        for key, values in (("mean", mean), ("spread", std)):
            arrays[f"{place}.{key}"] = _per_channel(values, place, len(columns), name, column)
    return Fitted("normalize", tuple(columns), {"scale": step.scale}, arrays)


def apply_normalize(fitted: Fitted, place: int, column: np.ndarray) -> np.ndarray:
    """Bring pixels to the range that mean and std are given in, subtract and divide, in float32.

    uint8 arrays are pixels in 0..255; other numbers are taken to be in 0..1 already.
    """
    scale = float(fitted.params["scale"])
    factor = scale / 255 if column.dtype == np.uint8 else scale
    mean, spread = fitted.arrays[f"{place}.mean"], fitted.arrays[f"{place}.spread"]
    # One multiply-add: x · factor / spread - mean / spread.
    scaled = column.astype(np.float32) * (factor / spread).astype(np.float32)
    return np.asarray(scaled - (mean / spread).astype(np.float32))


def _pooled_axes(column: np.ndarray) -> tuple[int, ...]:
    """Axes that share one mean: the rows, and in images every axis but the channel's."""
    if column.ndim <= 2:
        return (0,)
    return (0, *range(2 if column.ndim > 3 else 1, column.ndim))


def _numbers(value: float | Sequence[float] | None, key: str) -> np.ndarray:
    if value is None:
        raise RecipeError(Diagnostic("X122", f"normalize needs {key}", help="write `normalize: {mean: 0.5, std: 0.5}`"))
    return np.atleast_1d(np.asarray(value, dtype=np.float64))


def _per_channel(values: np.ndarray, place: int, columns: int, name: str, column: np.ndarray) -> np.ndarray:
    """Shape one number, or one a channel, so that it broadcasts over one row of the column."""
    if len(values) == 1:
        return values.reshape(())
    if column.ndim == 1 and len(values) == columns:
        return values[place].reshape(())
    if column.ndim >= 2 and len(values) == column.shape[1]:
        return values.reshape(len(values), *(1,) * (column.ndim - 2))
    has = f"{column.shape[1]} channels" if column.ndim >= 2 else f"{columns} columns"
    raise RecipeError(
        Diagnostic(
            "X122", f"normalize has {len(values)} numbers and {name} {has}", help="write one number, or one a channel"
        )
    )


def _check_numeric(name: str, column: np.ndarray, transform: str) -> None:
    if is_text(column):
        raise RecipeError(
            Diagnostic("X122", f"{transform}: {name} is text", help="put `- one_hot` after it, or name `columns`")
        )
    if is_ragged(column):
        raise RecipeError(
            Diagnostic(
                "X122", f"{transform}: images of {name} differ in size", help=f"put `- resize` before `- {transform}`"
            )
        )
