"""Check a batch against what a model takes, with errors that name both."""

from collections.abc import Mapping, Sequence

import numpy as np

from titrant.schema.diagnostics import Diagnostic, StepError

# An input: its name, its shape with text where a dimension is free, its dtype as NumPy names it.
Spec = tuple[str, tuple[int | str, ...], str]


def checked(specs: Sequence[Spec], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays that the model takes, in its order; what it does not take is left out.

    Raises StepError X201 for an input that is missing or has another shape or dtype than the model's. Nothing is
    converted: a conversion here would be repeated for every batch and timed with it.
    """
    return {name: _checked(name, shape, dtype, arrays) for name, shape, dtype in specs}


def fixed_batch(specs: Sequence[Spec]) -> int | None:
    """Return the batch size that the model insists on, or None where it is free."""
    sizes = {shape[0] for _, shape, _ in specs if shape and isinstance(shape[0], int)}
    return min(sizes) if sizes else None


def described(shape: Sequence[int | str], dtype: str) -> str:
    """Write a shape and dtype as `(batch, 3, 32, 32) float32`."""
    return f"({', '.join(str(size) for size in shape)}{',' if len(shape) == 1 else ''}) {dtype}"


def _checked(name: str, shape: Sequence[int | str], dtype: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in arrays:
        raise StepError(
            Diagnostic(
                "X201",
                f"the model takes an input {name}, and the rows have {', '.join(arrays) or 'none'}",
                help="name the model's inputs in model.inputs as the data's columns are named",
            )
        )
    array = arrays[name]
    if str(array.dtype) != dtype or not _fits(array.shape, shape):
        raise StepError(
            Diagnostic(
                "X201",
                f"input {name}: the model takes {described(shape, dtype)}, "
                f"and the rows have {described(array.shape, str(array.dtype))}",
                help=_advice(array, shape, dtype),
            )
        )
    return array


def _advice(array: np.ndarray, shape: Sequence[int | str], dtype: str) -> str:
    if _fits(array.shape, shape):
        return f"give the input as {dtype}"
    if _fits(array.shape[1:], shape[1:]) and len(array.shape) == len(shape):
        return f"the file was made for batches of {shape[0]}: export it with a free batch size, or ask for that one"
    return "change data.transform or data.inputs, or the arguments of the model"


def _fits(actual: Sequence[int], wanted: Sequence[int | str]) -> bool:
    return len(actual) == len(wanted) and all(
        isinstance(want, str) or size == want for size, want in zip(actual, wanted, strict=True)
    )
