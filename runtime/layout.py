"""The memory layout of arrays: their shape alone decides it, so that equal numbers give equal sums."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np


def laid_out(array: np.ndarray) -> np.ndarray:
    """Return an array in C order with the strides that its shape alone gives, as reading it from a file would.

    Sums and kernels choose their order by strides, also by those of dimensions of size one, which NumPy lets be
    anything. Memory is shared where it already has that layout. Of an array of objects, each array in it is laid out.
    """
    if array.dtype == object:
        made = np.empty(array.size, dtype=object)
        for place, item in enumerate(array.ravel()):
            made[place] = laid_out(item) if isinstance(item, np.ndarray) else item
        return made.reshape(array.shape)
    return np.ascontiguousarray(array).reshape(-1).reshape(array.shape)


def with_layout(value: Any) -> Any:
    """Return a value with every array in it laid out: in dataclasses, mappings and tuples."""
    if isinstance(value, np.ndarray):
        return laid_out(value)
    if isinstance(value, Mapping):
        return {key: with_layout(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(with_layout(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: with_layout(getattr(value, one.name)) for one in fields(value)})
    return value
