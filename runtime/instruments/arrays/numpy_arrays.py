"""NumPy's arrays, those of `ml_dtypes` (bfloat16, float8) too."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from titrant.runtime.instruments.arrays.library import ArrayForm, ArrayLibrary, ModulePart, Moments, MomentsPiece, added

# Numbers that are read at once: a few copies in double precision of so many are small beside a model.
_PIECE = 1 << 20
_NUMBERS = "biufc"


def form(array: Any) -> ArrayForm:
    """Describe an array; dtypes that are no numbers (object, text, records, dates) cannot be read."""
    dtype = array.dtype
    numbers = dtype.kind in _NUMBERS or _is_extension(dtype)
    floating = dtype.kind in "fc" or (numbers and smallest_normal(dtype) > 0)
    unread = "" if numbers else f"arrays of {dtype.name} hold no numbers"
    return ArrayForm(tuple(array.shape), dtype.name, array.nbytes, floating, unread)


def _is_extension(dtype: "np.dtype[Any]") -> bool:
    """Tell whether a dtype is a number of another package: these cast to float64 without loss."""
    return dtype.kind == "V" and dtype.names is None and np.can_cast(dtype, np.float64, "safe")


def pieces(array: "np.ndarray[Any, Any]") -> "Iterator[np.ndarray[Any, Any]]":
    """Yield the numbers of an array in double precision, as many at a time as fit; of complex ones the magnitudes."""
    flat = np.asarray(array).reshape(-1)
    for start in range(0, flat.size, _PIECE):
        part = flat[start : start + _PIECE]
        yield np.abs(part).astype(np.float64) if part.dtype.kind == "c" else part.astype(np.float64)


def smallest_normal(dtype: "np.dtype[Any]") -> float:
    """Return the smallest number that a floating dtype holds at full precision; 0 of other dtypes."""
    if dtype.kind in "fc":
        return float(np.finfo(dtype).smallest_normal)
    if not _is_extension(dtype):
        return 0.0
    import ml_dtypes

    try:
        return float(ml_dtypes.finfo(dtype).smallest_normal)
    except ValueError:  # its integers
        return 0.0


def piece_of(values: "np.ndarray[Any, Any]", normal: float) -> MomentsPiece:
    """Measure numbers in double precision; those below `normal` and not 0 are subnormal."""
    sound = np.isfinite(values)
    count, nan = int(sound.sum()), int(np.isnan(values).sum())
    finite = values if count == values.size else values[sound]
    if not count:
        return MomentsPiece(0, nan, values.size - nan, 0, 0, 0.0, 0.0, math.inf, -math.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(finite.mean())
        squares = float(np.square(finite - mean).sum())
    magnitudes = np.abs(finite)
    zero = int((magnitudes == 0).sum())
    subnormal = int((magnitudes < normal).sum()) - zero if normal else 0
    return MomentsPiece(
        count, nan, values.size - count - nan, zero, subnormal, mean, squares, float(finite.min()), float(finite.max())
    )


def _moments(arrays: Sequence[Any]) -> list[Moments]:
    return [added([piece_of(piece, smallest_normal(array.dtype)) for piece in pieces(array)]) for array in arrays]


def _extremes(arrays: Sequence[Any]) -> list[float]:
    largest = []
    for array in arrays:
        if not form(array).floating:
            largest.append(0.0)
            continue
        parts = [float(np.max(np.abs(piece), initial=0.0)) for piece in pieces(array)]
        largest.append(math.nan if any(map(math.isnan, parts)) else max(parts, default=0.0))
    return largest


def _norms(arrays: Sequence[Any]) -> list[float]:
    norms = []
    for array in arrays:
        with np.errstate(over="ignore"):
            squares = [float(np.dot(piece, piece)) for piece in pieces(array)]
        norms.append(math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else _large_norm(array))
    return norms


def _large_norm(array: Any) -> float:
    """Return a norm whose square is too large for a double, by dividing first."""
    (largest,) = _extremes([array])
    if not math.isfinite(largest):
        return largest
    return largest * math.sqrt(math.fsum(float(np.square(piece / largest).sum()) for piece in pieces(array)))


def _no_parts(module: Any) -> Iterator[ModulePart]:
    yield from ()


LIBRARY = ArrayLibrary(
    arrays=(np.ndarray, np.generic),
    modules=(),
    form=form,
    parts=_no_parts,
    detach=lambda array: array,
    norms=_norms,
    extremes=_extremes,
    moments=_moments,
    to_numpy=lambda array: np.asarray(array).astype(np.float64),
)
