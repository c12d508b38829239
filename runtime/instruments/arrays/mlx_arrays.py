"""MLX's arrays and modules; its arrays are computed when they are read, and all that are asked for together at once."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn
import mlx.utils
import numpy as np

from titrant.runtime.instruments.arrays.library import ArrayForm, ArrayLibrary, ModulePart, Moments, MomentsPiece, added
from titrant.runtime.instruments.arrays.numpy_arrays import piece_of

_PIECE = 1 << 22


def form(array: Any) -> ArrayForm:
    """Describe an array, without computing it."""
    dtype = str(array.dtype).rpartition(".")[2]
    return ArrayForm(tuple(array.shape), dtype, array.nbytes, mx.issubdtype(array.dtype, mx.inexact))


# Running statistics stand among an MLX module's parameters, frozen.
_BUFFERS = ("running_mean", "running_var")
_PACKED = (mlx.nn.QuantizedLinear, mlx.nn.QuantizedEmbedding)
_WORD_BITS = 32


def _parts(module: Any) -> Iterator[ModulePart]:
    """Yield what a module holds; of a quantized layer the weight's numbers count, not their scales."""
    trained = {name for name, _ in _flat(module.trainable_parameters())}
    packed = {name: layer for name, layer in module.named_modules() if isinstance(layer, _PACKED)}
    seen: dict[int, str] = {}
    for name, array in _flat(module.parameters()):
        first = seen.setdefault(id(array), name)
        layer, _, last = name.rpartition(".")
        few = packed.get(layer)
        parameter = last not in _BUFFERS and not (few is not None and last in ("scales", "biases"))
        count = array.size * _WORD_BITS // few.bits if few is not None and last == "weight" else 0
        yield ModulePart(name, array, parameter, name in trained, "" if first == name else first, count)


def _flat(parameters: Any) -> list[tuple[str, Any]]:
    pairs: Any = mlx.utils.tree_flatten(parameters)
    return list(pairs)


def _single(array: Any) -> Any:
    """Return the numbers in single precision at least; of complex ones the magnitudes."""
    if mx.issubdtype(array.dtype, mx.complexfloating):
        return mx.abs(array)
    return array if array.dtype == mx.float64 else array.astype(mx.float32)


def _extremes(arrays: Sequence[Any]) -> list[float]:
    """Return the largest magnitudes: all are one graph, which is computed and read once."""
    asked = [place for place, array in enumerate(arrays) if form(array).floating and array.size]
    largest = [0.0] * len(arrays)
    if asked:
        values: Any = mx.stack([_largest(arrays[place]) for place in asked]).tolist()
        for place, value in zip(asked, values, strict=True):
            largest[place] = value
    return largest


def _largest(array: Any) -> Any:
    # What a library's maximum makes of NaN is its own affair: it is put in by name.
    values = mx.abs(_single(array)).astype(mx.float32)
    return mx.where(mx.any(mx.isnan(values)), mx.array(math.nan), mx.max(values))


def _norms(arrays: Sequence[Any]) -> list[float]:
    """Return L2 norms, each by its largest magnitude: the square of a large number is infinite in single precision."""
    largest = _magnitudes(arrays)
    scaled: list[Any] = [
        mx.sqrt(mx.sum(mx.square(_single(array) / value)))
        for array, value in zip(arrays, largest, strict=True)
        if 0 < value < math.inf
    ]
    mx.eval(scaled)
    norms = iter(scaled)
    return [value * float(next(norms).item()) if 0 < value < math.inf else value for value in largest]


def _magnitudes(arrays: Sequence[Any]) -> list[float]:
    filled = [mx.zeros(1) if not array.size else _single(array) for array in arrays]
    return _extremes(filled)


def _moments(arrays: Sequence[Any]) -> list[Moments]:
    return [added(list(_pieces(array))) for array in arrays]


def _pieces(array: Any) -> Iterator[MomentsPiece]:
    """Measure an array piece by piece as NumPy does: its memory is the processor's too."""
    dtype = array.dtype
    normal = float(mx.finfo(dtype).smallest_normal) if _has_normal(dtype) else 0.0
    flat = array.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        yield piece_of(np.array(_exact(flat[start : start + _PIECE])).astype(np.float64), normal)


def _exact(array: Any) -> Any:
    """Return numbers as NumPy has them too, none of them rounded; of complex ones the magnitudes."""
    if mx.issubdtype(array.dtype, mx.complexfloating):
        return mx.abs(array)
    return array.astype(mx.float32) if array.dtype == mx.bfloat16 else array


def _has_normal(dtype: Any) -> bool:
    return mx.issubdtype(dtype, mx.floating) and hasattr(mx.finfo(dtype), "smallest_normal")


LIBRARY = ArrayLibrary(
    arrays=(mx.array,),
    modules=(mlx.nn.Module,),
    form=form,
    parts=_parts,
    detach=mx.stop_gradient,
    norms=_norms,
    extremes=_extremes,
    moments=_moments,
    to_numpy=lambda array: np.array(_exact(array)).astype(np.float64),
)
