"""Seeded random inputs for a model that has no data."""

from collections.abc import Sequence

import numpy as np

from titrant.runtime.data.parameters import InputSpec
from titrant.runtime.values import Table
from titrant.schema.diagnostics import Diagnostic, RecipeError


def random_table(inputs: Sequence[InputSpec], rows: int, seed: int) -> Table:
    """Draw standard normal numbers for float inputs, 0 or 1 for whole and truth values (valid in any vocabulary).

    Input shapes hold the batch first; RecipeError X126 when another dimension is free.
    """
    generator = np.random.default_rng(seed)
    columns = {}
    for spec in inputs:
        free = [size for size in spec.shape[1:] if not isinstance(size, int)]
        if free:
            raise RecipeError(
                Diagnostic(
                    "X126", f"model input {spec.name} has a free size {free[0]}", help="write a number in `shape`"
                )
            )
        shape = (rows, *(int(size) for size in spec.shape[1:]))
        columns[spec.name] = _draw(generator, shape, spec.dtype)
    return Table(columns, notes=(f"no data: {rows} rows of seeded random inputs",))


def _draw(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return generator.standard_normal(shape, dtype=np.float32)
    return generator.integers(0, 2, shape).astype(dtype)
