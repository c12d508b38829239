"""Fit transforms (standardize, impute, one_hot, tokenize, …) in the recipe's order, and apply fitted ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from titrant.runtime.data.columns import (
    check_numeric,
    check_values,
    find,
    flat,
    is_ragged,
    is_text,
    is_written_number,
    missing,
    text_refused,
    value_text,
)
from titrant.runtime.data.gaps import (
    apply_impute,
    as_numbers_if_empty,
    fit_impute,
    gap_marks,
    gaps_kept,
    with_indicators,
)
from titrant.runtime.data.given import chosen as given_columns
from titrant.runtime.data.given import given_one_hot, given_standardize
from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.data.tokenize import TOKENIZE, apply_tokenize, as_tokens, fit_tokenize
from titrant.runtime.values import GRAPH, Fitted, Transforms
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError, StepError

Columns = Mapping[str, np.ndarray]


def fit_standardize(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Learn mean and standard deviation: of a column, of each place of a 1-D array, of each channel of an image."""
    arrays: dict[str, np.ndarray] = {}
    for place, (name, column) in enumerate(columns.items()):
        check_numeric(name, column, "standardize")
        if step.given:
            continue
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
        # A constant column becomes zeros, not a division by nothing, nor by what rounding left of its deviation.
        least = column.min(axis=axes, keepdims=True)
        constant = least == column.max(axis=axes, keepdims=True)
        arrays[f"{place}.mean"] = np.where(constant, least, mean).reshape(mean.shape[1:])
        arrays[f"{place}.spread"] = np.where(constant | (spread == 0), 1.0, spread).reshape(mean.shape[1:])
    return given_standardize(columns, step) if step.given else Fitted("standardize", tuple(columns), {}, arrays)


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
        check_numeric(name, column, "normalize")
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


def _numbers(value: float | Sequence[float] | Mapping[str, object] | None, key: str) -> np.ndarray:
    if value is None or isinstance(value, Mapping):
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


def fit_resize(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Keep the size; RecipeError X122 for a column that is not an image."""
    for name, column in columns.items():
        if column.dtype.kind != "O" and column.ndim not in (3, 4):
            raise RecipeError(Diagnostic("X122", f"resize: {name} is not an image", help="name the image `columns`"))
    if step.height is None or step.width is None:
        raise RecipeError(
            Diagnostic("X122", "resize needs height and width", help="write `resize: {height: 32, width: 32}`")
        )
    return Fitted("resize", tuple(columns), {"height": step.height, "width": step.width}, {})


def apply_resize(fitted: Fitted, place: int, column: np.ndarray) -> np.ndarray:
    """Return images of the fitted size, bilinear with antialiasing; uint8 pixels are rounded and stay uint8.

    Takes (rows, channels, height, width), (rows, height, width), or an object array of such rows.
    """
    size = int(fitted.params["height"]), int(fitted.params["width"])
    if column.dtype.kind != "O" and column.shape[-2:] == size:
        return column
    if not len(column):
        return np.empty((0, *(column.shape[1:-2] if column.ndim > 1 else (3,)), *size), dtype=np.float32)
    return np.stack([_resized(image, *size) for image in column])


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    from PIL import Image

    # One after the other: at once Pillow begins with either by their sizes, and rounds other numbers in between.
    scaled = []
    for plane in image.reshape(-1, *image.shape[-2:]).astype(np.float32):
        wide = Image.fromarray(plane).resize((width, plane.shape[0]), Image.Resampling.BILINEAR)
        scaled.append(np.asarray(wide.resize((width, height), Image.Resampling.BILINEAR)))
    resized = np.stack(scaled).reshape(*image.shape[:-2], height, width)
    return np.rint(resized).astype(np.uint8) if image.dtype == np.uint8 else resized


def fit_one_hot(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Learn the values of each column, in alphabetical order; missing text is none of them.

    Raises RecipeError X233 for a column of more values than an encoding is for.
    """
    arrays = {}
    for place, (name, column) in enumerate(columns.items()):
        if column.ndim != 1:
            raise RecipeError(Diagnostic("X122", f"one_hot: {name} is an array", help="name the text `columns`"))
        if not step.given:
            arrays[str(place)] = np.array(sorted(set(texts(column).tolist()) - {""}), dtype=str)
            check_values(name, len(arrays[str(place)]), len(column), named=step.columns is not None)
    return given_one_hot(columns, step) if step.given else Fitted("one_hot", tuple(columns), {}, arrays)


def apply_one_hot(fitted: Fitted, place: int, column: np.ndarray) -> np.ndarray:
    """Return (rows, values) float32 with a 1 at each row's value; a value not seen when fitted gives zeros."""
    values = fitted.arrays[str(place)]
    if not is_text(column) and not missing(column).all() and not all(map(is_written_number, values.tolist())):
        name = fitted.columns[place]
        message = f"one_hot: {name} is numbers, and was text when it was fitted"
        help = "give the texts, with zeros in front where the data have them"
        raise StepError(Diagnostic("X122", message, help=help))
    written = texts(column)
    if not len(values):
        return np.zeros((len(written), 0), dtype=np.float32)
    order = values.argsort()  # given values are in the order of the training
    places = order[np.searchsorted(values, written, sorter=order).clip(0, len(values) - 1)]
    seen = values[places] == written
    encoded = np.zeros((len(written), len(values)), dtype=np.float32)
    encoded[np.flatnonzero(seen), places[seen]] = 1
    return encoded


def texts(column: np.ndarray) -> np.ndarray:
    """Return a column of single values as text, (rows,): numbers as recipes write them, "" for missing ones."""
    if column.dtype.kind == "U":
        return column
    distinct, index = np.unique(column, return_inverse=True)
    return np.array(["" if value != value else value_text(value) for value in distinct.tolist()])[index]  # noqa: PLR0124


def _numeric(column: np.ndarray) -> bool:
    return not is_text(column) and not is_ragged(column)


def _single(column: np.ndarray) -> bool:
    return column.ndim == 1 and not is_ragged(column)


def _image(column: np.ndarray) -> bool:
    return is_ragged(column) or column.ndim in (3, 4)


# What makes fractions of whole numbers, or shows that they are pixels.
_FRACTIONS = frozenset({"standardize", "normalize", "resize"})
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
    TOKENIZE: (fit_tokenize, apply_tokenize, is_text),
}


def fit(steps: Sequence[TransformStep], columns: Columns) -> tuple[Fitted, ...]:
    """Fit each transform on what the earlier ones made of the columns (of train rows)."""
    working = dict(columns)
    encoded: set[str] = set()
    fitted = []
    for place, step in enumerate(steps):
        fitting, _, takes = TRANSFORMS[step.name]
        # Columns of zeros and ones that one_hot made are left as they are, and so are tokens.
        chosen = {name: column for name, column in working.items() if takes(column) and name not in encoded}
        if step.columns is not None:
            chosen = {name: find(working, name, "the data", f"data.transform {step.name}") for name in step.columns}
        with _keyed(f"data.transform.{place}.{step.name}"):
            if step.given and step.name != TOKENIZE and not step.keeps_gaps:
                chosen = given_columns(step, working, tuple(chosen))
            learned = fitting(chosen, step)
        encoded |= set(chosen) if step.name in ("one_hot", TOKENIZE) else set()
        # No later transform works on tokens: what they are is not needed yet.
        working = as_tokens(working, [learned]) if step.name == TOKENIZE else _run(learned, working)
        fitted.append(learned)
    return tuple(fitted)


@contextmanager
def _keyed(key: str) -> Iterator[None]:
    """Give what is refused the key of the transform in the recipe, before the key of the figure that is."""
    try:
        yield
    except RecipeError as error:
        keyed = (replace(item, key=f"{key}.{item.key}" if item.key else key) for item in error.diagnostics)
        raise RecipeError(*keyed) from None


def apply(transforms: Transforms, columns: Columns) -> dict[str, np.ndarray]:
    """Turn raw columns into the model's inputs: name → (rows, …), as fitted.

    Columns are those that the data has, by name; others are not looked at. Raises RecipeError X101 for one that is not
    there, PreconditionError X120 where NaN or infinity is left, X121 for text.
    """
    needed = list(dict.fromkeys(name for names in transforms.inputs.values() for name in names))
    working = {name: find(columns, name, "the data", "an input of the model") for name in needed}
    working = as_numbers_if_empty(working, transforms.steps)
    marks: dict[str, np.ndarray] = {}
    for fitted in transforms.steps:
        marks = gap_marks(fitted, working) | marks
        working = _run(fitted, working)
    kept = gaps_kept(transforms.steps)
    for name, column in working.items():
        _check_ready(name, column, may_miss=name in kept)
    working = with_indicators(working, marks)
    rows = len(next(iter(working.values()), ()))
    return {
        name: converted(name, _made(transforms, name, working, rows), transforms.dtypes[name])
        for name in transforms.inputs
    }


def of_fractions(inputs: Mapping[str, Sequence[str]], steps: Sequence[Fitted]) -> set[str]:
    """Return the inputs that hold what a transform of numbers or pixels makes, which are fractions and no tokens."""
    made = {name for step in steps if step.name in _FRACTIONS for name in step.columns}
    return {name for name, names in inputs.items() if made & set(names)}


def _made(transforms: Transforms, name: str, working: Columns, rows: int) -> np.ndarray:
    """Return an input of the model: a fixed value, what a graph gives for it, a column as it is, or columns stacked."""
    names = transforms.inputs[name]
    if name in transforms.constants:
        return np.full(rows, transforms.constants[name])
    if transforms.by_graph:
        return working[name]
    return working[names[0]] if name in transforms.unstacked else _stack([working[column] for column in names])


def _run(fitted: Fitted, columns: Columns) -> dict[str, np.ndarray]:
    if fitted.name == GRAPH:
        from titrant.runtime.data.graph import run_graph

        return run_graph(fitted, columns)
    apply_one = TRANSFORMS[fitted.name][1]
    changed = dict(columns)
    for place, name in enumerate(fitted.columns):
        if is_text(columns[name]) and fitted.name in ("standardize", "normalize"):
            raise StepError(
                Diagnostic("X122", f"{fitted.name}: {name} is text", help="give numbers, as when it was fitted")
            )
        changed[name] = apply_one(fitted, place, columns[name])
    return changed


def _check_ready(name: str, column: np.ndarray, *, may_miss: bool) -> None:
    if is_text(column):
        advice = "add `- one_hot`, or `- tokenize`, to `data.transform`, or leave it out of `data.inputs`"
        raise PreconditionError(text_refused(column, f"{name} is text", advice, "X121"))
    if is_ragged(column):
        raise PreconditionError(Diagnostic("X122", f"images of {name} differ in size", help="add a resize transform"))
    if column.dtype.kind != "f":
        return
    endless = int(np.isinf(flat(column)).any(axis=1).sum())
    gone = 0 if may_miss else int(np.isnan(flat(column)).any(axis=1).sum())
    if endless or gone:
        what, bad = ("infinite", endless) if endless else ("missing", gone)
        advice = "leave these rows out, or mend them" if endless else "add `- impute` to `data.transform`"
        message = f"{name} has {what} values in {bad} of {len(column)} rows after all transforms"
        raise PreconditionError(Diagnostic("X120", message, help=advice))


def _stack(columns: list[np.ndarray]) -> np.ndarray:
    if len(columns) == 1 and columns[0].ndim > 1:
        return columns[0]
    # A column of single numbers is one wide, an encoded one as wide as it has values.
    return np.concatenate([flat(column) for column in columns], axis=1)


def converted(name: str, values: np.ndarray, dtype: str) -> np.ndarray:
    """Return a model input in the dtype that the model takes, in C order.

    Raises PreconditionError X119 where whole numbers or truth values are wanted and the values are others, X120 where a
    number is beyond what the dtype holds.
    """
    target = np.dtype(dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        array = np.ascontiguousarray(values, dtype=target)
    if target.kind in "iub" and target != values.dtype:
        odd = int((flat(array) != flat(values)).any(axis=1).sum())
        if odd:
            what = "0 or 1" if target.kind == "b" else f"whole numbers ({dtype})"
            raise PreconditionError(
                Diagnostic(
                    "X119",
                    f"the model's input {name} takes {what}, and {odd} of {len(values)} rows have other numbers",
                    help="nothing is rounded silently: change `data.transform`, or `dtype` in `model.inputs`",
                )
            )
    if target.kind == values.dtype.kind == "f" and target.itemsize < values.dtype.itemsize:
        beyond = int(np.isinf(flat(array)).any(axis=1).sum())
        if beyond:
            message = f"{name} has numbers beyond {np.finfo(target).max:.3g} in {beyond} of {len(values)} rows"
            advice = f"the model takes {dtype}: leave these rows out, or scale them in `data.transform`"
            raise PreconditionError(Diagnostic("X120", message, help=advice))
    return array
