"""Keep figures that a recipe gives for its transforms, as they were where the model was trained, and check them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.data.columns import is_text, value_text
from titrant.runtime.values import Fitted, Transforms
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.nearest import nearest

if TYPE_CHECKING:
    from titrant.runtime.data.parameters import TransformStep

ColumnsByName = Mapping[str, np.ndarray]
_SHOWN = 6


def chosen(step: "TransformStep", working: ColumnsByName, numeric: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns that a transform with given figures works on, in the order of the data.

    `numeric` are those that `standardize` takes by itself: each must have its figures, or it would reach the model as
    it is. Raises RecipeError X240, with the key of the figures, for a column that is not there or has none.
    """
    key = "mean" if step.name == "standardize" else "values"
    figures: Mapping[str, Any] = getattr(step, key)
    missing = [name for name in figures if name not in working]
    if missing:
        near = nearest(missing[0], tuple(working))
        advice = f"did you mean `{near}`?" if near else f"the inputs are {', '.join(list(working)[:8])}"
        raise _misfit(f"{step.name} has figures for `{missing[0]}`, which is no input", f"{key}.{missing[0]}", advice)
    left = [name for name in numeric if name not in figures] if step.name == "standardize" else []
    if left and step.columns is None:
        message = f"standardize gives no mean and std for `{left[0]}`, which is a numeric input"
        others = f" (nor for {len(left) - 1} more)" if len(left) > 1 else ""
        advice = f"add `{left[0]}: …` to both, or name the `columns` that were standardized in the training"
        raise _misfit(message + others, key, advice)
    names = step.columns or tuple(name for name in working if name in figures)
    return {name: working[name] for name in names}


def given_standardize(columns: ColumnsByName, step: "TransformStep") -> Fitted:
    """Keep mean and std of each column: a number, or one for each place of an array or channel of an image.

    Raises RecipeError X240 where there are as many as the column has neither places nor channels.
    """
    arrays: dict[str, np.ndarray] = {}
    for place, (name, column) in enumerate(columns.items()):
        for key, part in (("mean", "mean"), ("std", "spread")):
            figures: Any = getattr(step, key)
            arrays[f"{place}.{part}"] = _shaped(np.atleast_1d(np.asarray(figures[name], np.float64)), name, column, key)
    return Fitted("standardize", tuple(columns), {}, arrays)


def _shaped(values: np.ndarray, name: str, column: np.ndarray, key: str) -> np.ndarray:
    if len(values) == 1:
        return values.reshape(())
    if column.ndim >= 2 and len(values) == column.shape[1]:
        return values.reshape(len(values), *(1,) * (column.ndim - 2))
    has = "one number a row" if column.ndim == 1 else f"{column.shape[1]} places"
    message = f"`{key}` has {len(values)} numbers for `{name}`, which has {has}"
    raise _misfit(message, f"{key}.{name}", "write one number, or one for each place or channel")


def given_impute(columns: ColumnsByName, step: "TransformStep") -> Fitted:
    """Keep what the gaps of each column are filled with; RecipeError X240 for text in a column of numbers."""
    arrays = {}
    for place, (name, column) in enumerate(columns.items()):
        value = step.values[name] if step.values is not None else None
        if is_text(column):
            arrays[str(place)] = np.array([value_text(value)], dtype=str)
            continue
        if isinstance(value, str) or not isinstance(value, (bool, int, float)):
            message = f"impute fills `{name}` with a text, and it is a column of numbers"
            raise _misfit(message, f"values.{name}", "write a number, or read the column as text")
        arrays[str(place)] = np.array([float(value)])
    return Fitted("impute", tuple(columns), {"strategy": "given"}, arrays)


def given_one_hot(columns: ColumnsByName, step: "TransformStep") -> Fitted:
    """Keep the values of each column in their order, which is that of the columns that are made of them."""
    arrays = {}
    for place, name in enumerate(columns):
        values: Any = step.values[name] if step.values is not None else ()
        arrays[str(place)] = np.array([value_text(value) for value in values], dtype=str)
    return Fitted("one_hot", tuple(columns), {}, arrays)


def encoded_words(transforms: Transforms, steps: "Sequence[TransformStep]", rows: Mapping[str, int]) -> str:
    """Say what one_hot was fitted on, "" where it was not: how many columns it makes may be what does not fit.

    `rows` counts the rows of each role that transforms may be fitted on, in their order.
    """
    role = next((role for role, count in rows.items() if count), None)
    for fitted, step in zip(transforms.steps, steps, strict=False):
        if fitted.name == "one_hot" and not step.given and role is not None:
            values = {name: fitted.arrays[str(place)].tolist() for place, name in enumerate(fitted.columns)}
            return fitted_words(values, role, rows[role]) if values else ""
    return ""


def fitted_words(values: Mapping[str, Sequence[str]], role: str, rows: int) -> str:
    """Word, to stand behind an advice, which values one_hot has seen and where, and how to give those of the training.

    How many columns it makes depends on the rows that it was fitted on.
    """
    seen = "; ".join(f"{name} has {_some(listed)}" for name, listed in values.items())
    first = next(iter(values))
    return (
        f"; one_hot was fitted on the {rows:,} {role} rows, where {seen}: "
        f"for a model that was trained elsewhere write `one_hot: {{values: {{{first}: […]}}}}`, as in its training"
    )


def _some(values: Sequence[str]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more


def _misfit(message: str, key: str, advice: str) -> RecipeError:
    """Refuse figures; the key is seen from the transform's own place in the recipe."""
    return RecipeError(Diagnostic("X240", message, help=advice, key=key))
