"""Missing values: refuse those that no transform fills, fill them, and mark where they were."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from titrant.runtime.data.columns import flat, is_text, missing
from titrant.runtime.data.given import given_impute
from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.values import Fitted
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError
from titrant.schema.recipe.transform import KEEP


def check_gaps(
    columns: Iterable[tuple[str, Sequence[np.ndarray]]],
    steps: Sequence[TransformStep],
    marks: Mapping[str, tuple[str, ...]],
) -> None:
    """Raise PreconditionError X120 for the first input that has NaN or infinity where no transform takes it.

    `columns` holds a name and the rows of every role for each input that is a column of numbers, `marks` the texts of a
    file that were read as missing. `one_hot` takes what is missing for none of its values.
    """
    filling = [step for step in steps if step.name == "impute"]
    encoded = {name for step in steps if step.name == "one_hot" for name in step.columns or ()}
    for name, parts in columns:
        if name in encoded:
            continue
        rows = sum(map(len, parts))
        filled = any(step.columns is None or name in step.columns for step in filling)
        gone = 0 if filled else sum(int(missing(part).sum()) for part in parts)
        if gone:
            raise PreconditionError(_missing(name, gone, rows, marks.get(name, ()), again=bool(filling)))
        endless = sum(int(np.isinf(part).sum()) for part in parts)
        if endless:
            message = f"{name} has infinite values in {endless:,} of {rows:,} rows, and no transform fills these"
            advice = "leave these rows out, or read them as missing: `csv: {path: …, missing: [inf, -inf]}`"
            raise PreconditionError(Diagnostic("X120", message, help=advice))


def _missing(name: str, gone: int, rows: int, marks: Sequence[str], *, again: bool) -> Diagnostic:
    read = f" (`{'` and `'.join(marks)}` is read as missing)" if marks else ""
    message = f"{name} has missing values in {gone:,} of {rows:,} rows{read}"
    if again:
        return Diagnostic("X120", message, help=f"name {name} among the `columns` of `impute`, or leave them out")
    if gone == rows:
        message = f"{name} has no value in any of {rows:,} rows{read}"
        return Diagnostic("X120", message, help="leave it out of `data.inputs`")
    advice = (
        "add `- impute` to `data.transform`, before transforms that need complete numbers, or "
        "`impute: {strategy: keep}` where the model was trained on gaps"
    )
    return Diagnostic("X120", message, help=advice)


def fit_impute(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Learn one value a column: its median, mean or most frequent value (of text always the most frequent).

    Every column is learned from, since a gap may turn up later in one that has none now. Raises PreconditionError X120
    for a column without any value.
    """
    if step.keeps_gaps:
        return _kept(columns, step)
    arrays = {}
    for place, (name, column) in enumerate(columns.items()):
        if column.ndim != 1:
            raise RecipeError(Diagnostic("X122", f"impute: {name} is an array", help="name the `columns` to fill"))
        if step.given:
            continue
        there = column[~missing(column)]
        if not len(there):
            message = f"impute: {name} has no value in the rows that it is fitted on"
            raise PreconditionError(Diagnostic("X120", message, help="leave it out of `data.inputs`"))
        arrays[str(place)] = np.atleast_1d(_typical(there, step.strategy))
    fitted = (
        given_impute(columns, step)
        if step.given
        else Fitted("impute", tuple(columns), {"strategy": step.strategy}, arrays)
    )
    marked = indicated(step, columns)
    return replace(fitted, params={**fitted.params, "indicator": marked}) if marked else fitted


def _kept(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Fill gaps of numbers with NaN, which is what they are; RecipeError X122 for text, of which "" is missing."""
    if text := next((name for name, column in columns.items() if step.columns is not None and is_text(column)), None):
        message = f"impute: {text} is text, and only gaps of numbers are kept"
        raise RecipeError(
            Diagnostic("X122", message, help="leave it out of `columns`: a missing text is none of its values")
        )
    numeric = tuple(name for name, column in columns.items() if not is_text(column))
    kept = Fitted(
        "impute", numeric, {"strategy": KEEP}, {str(place): np.array([np.nan]) for place in range(len(numeric))}
    )
    marked = [name for name in indicated(step, columns) if name in numeric]
    return replace(kept, params={**kept.params, "indicator": marked}) if marked else kept


def gaps_kept(steps: Iterable[Fitted]) -> frozenset[str]:
    """Name the columns whose gaps a model is given, as it was trained on them."""
    return frozenset(
        name for step in steps if step.name == "impute" and step.params["strategy"] == KEEP for name in step.columns
    )


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


def as_numbers_if_empty(columns: Mapping[str, np.ndarray], steps: Sequence[Fitted]) -> dict[str, np.ndarray]:
    """Read a column without any value as numbers, unless it was filled with text when its transforms were fitted.

    Nothing in it says which of the two it is: so it is in one row with a gap.
    """
    texts = {
        name
        for step in steps
        for place, name in enumerate(step.columns)
        if step.name == "tokenize" or (step.name == "impute" and is_text(step.arrays[str(place)]))
    }
    return {
        name: np.full(len(column), np.nan)
        if is_text(column) and len(column) and name not in texts and bool(missing(column).all())
        else column
        for name, column in columns.items()
    }


def indicated(step: TransformStep, columns: Mapping[str, np.ndarray]) -> list[str]:
    """Name the columns that `impute: {indicator: true}` adds an indicator for: those named, or those with gaps now."""
    if not step.indicator:
        return []
    return [name for name, column in columns.items() if step.columns is not None or bool(missing(column).any())]


def gap_marks(step: Fitted, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return, for the columns that a fitted step indicates, which rows (rows,) have a gap before it fills them."""
    return {name: missing(columns[name]) for name in step.params.get("indicator", ())}


def with_indicators(columns: Mapping[str, np.ndarray], marks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Put 1 for a gap and 0 for none behind each marked column, which becomes (rows, width + 1)."""
    widened = {
        name: np.concatenate([flat(columns[name]), mark[:, None].astype(columns[name].dtype)], axis=1)
        for name, mark in marks.items()
    }
    return {**columns, **widened}
