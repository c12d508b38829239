"""Fit the transforms in order, and apply fitted ones to raw columns."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from titrant.runtime.data.columns import find, flat, is_ragged, is_text
from titrant.runtime.data.encoding import apply_one_hot, fit_one_hot
from titrant.runtime.data.imputing import apply_impute, fit_impute
from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.data.resizing import apply_resize, fit_resize
from titrant.runtime.data.scaling import apply_normalize, apply_standardize, fit_normalize, fit_standardize
from titrant.runtime.values import Fitted, Transforms
from titrant.schema.diagnostics import Diagnostic, PreconditionError, StepError

Columns = Mapping[str, np.ndarray]


def _numeric(column: np.ndarray) -> bool:
    return not is_text(column) and not is_ragged(column)


def _single(column: np.ndarray) -> bool:
    return column.ndim == 1 and not is_ragged(column)


def _image(column: np.ndarray) -> bool:
    return is_ragged(column) or column.ndim in (3, 4)


# name → how to fit it, how to apply it, and which columns it takes when the recipe names none.
TRANSFORMS: Mapping[
    str,
    tuple[
        Callable[[Columns, TransformStep], Fitted],
        Callable[[Fitted, int, np.ndarray], np.ndarray],
        Callable[[np.ndarray], bool],
    ],
] = {
    "standardize": (fit_standardize, apply_standardize, _numeric),
    "normalize": (fit_normalize, apply_normalize, _numeric),
    "impute": (fit_impute, apply_impute, _single),
    "one_hot": (fit_one_hot, apply_one_hot, is_text),
    "resize": (fit_resize, apply_resize, _image),
}


def fit(steps: Sequence[TransformStep], columns: Columns) -> tuple[Fitted, ...]:
    """Fit each transform on what the earlier ones made of the columns (of train rows)."""
    working = dict(columns)
    encoded: set[str] = set()
    fitted = []
    for step in steps:
        fitting, _, takes = TRANSFORMS[step.name]
        if step.columns is None:
            # Columns of zeros and ones that one_hot made are left as they are.
            chosen = {name: column for name, column in working.items() if takes(column) and name not in encoded}
        else:
            chosen = {name: find(working, name, "the data", f"data.transform {step.name}") for name in step.columns}
        one = fitting(chosen, step)
        encoded |= set(chosen) if step.name == "one_hot" else set()
        working = _run(one, working)
        fitted.append(one)
    return tuple(fitted)


def apply(transforms: Transforms, columns: Columns) -> dict[str, np.ndarray]:
    """Turn raw columns into the model's inputs: name → (rows, …), as fitted.

    Columns are those that the data has, by name; others are not looked at. Raises RecipeError X101 for one that is not
    there, PreconditionError X120 where NaN or infinity is left, X121 for text.
    """
    needed = list(dict.fromkeys(name for names in transforms.inputs.values() for name in names))
    working = {name: find(columns, name, "the data", "an input of the model") for name in needed}
    for fitted in transforms.steps:
        working = _run(fitted, working)
    for name, column in working.items():
        _check_ready(name, column)
    return {
        name: _stack([working[column] for column in names], transforms.dtypes[name])
        for name, names in transforms.inputs.items()
    }


def _run(fitted: Fitted, columns: Columns) -> dict[str, np.ndarray]:
    apply_one = TRANSFORMS[fitted.name][1]
    changed = dict(columns)
    for place, name in enumerate(fitted.columns):
        if is_text(columns[name]) and fitted.name in ("standardize", "normalize"):
            raise StepError(
                Diagnostic("X122", f"{fitted.name}: {name} is text", help="give numbers, as when it was fitted")
            )
        changed[name] = apply_one(fitted, place, columns[name])
    return changed


def _check_ready(name: str, column: np.ndarray) -> None:
    if is_text(column):
        raise PreconditionError(
            Diagnostic(
                "X121", f"{name} is text", help="add `- one_hot` to `data.transform`, or leave it out of `data.inputs`"
            )
        )
    if is_ragged(column):
        raise PreconditionError(Diagnostic("X122", f"images of {name} differ in size", help="add a resize transform"))
    if column.dtype.kind != "f":
        return
    bad = int((~np.isfinite(flat(column))).any(axis=1).sum())
    if bad:
        raise PreconditionError(
            Diagnostic(
                "X120",
                f"{name} has missing or infinite values in {bad} of {len(column)} rows after all transforms",
                help="add `- impute` to `data.transform`, before transforms that need complete numbers",
            )
        )


def _stack(columns: list[np.ndarray], dtype: str) -> np.ndarray:
    if len(columns) == 1 and columns[0].ndim > 1:
        return np.ascontiguousarray(columns[0], dtype=dtype)
    # A column of single numbers is one wide, an encoded one as wide as it has values.
    return np.ascontiguousarray(np.concatenate([flat(column) for column in columns], axis=1), dtype=dtype)
