"""Say which columns become which input of the model, in which dtype."""

from collections.abc import Mapping, Sequence

import numpy as np

from titrant.runtime.data.parameters import InputSpec
from titrant.schema.diagnostics import Diagnostic, RecipeError

STACKED = "features"


def wire(
    columns: Mapping[str, np.ndarray], specs: Sequence[InputSpec]
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Map each model input to its columns and its dtype.

    Columns of single values are stacked into one input, "features"; an array is an input of its own name. With names
    from the recipe, inputs are matched by name where all match, else in order. Raises RecipeError X126 when their
    numbers differ.
    """
    single = tuple(name for name, column in columns.items() if column.ndim == 1 and column.dtype.kind != "O")
    found = ({STACKED: single} if single else {}) | {name: (name,) for name in columns if name not in single}
    if not specs:
        return found, {name: _dtype([columns[column] for column in names]) for name, names in found.items()}
    if len(specs) != len(found):
        raise RecipeError(
            Diagnostic(
                "X126",
                f"model.inputs names {len(specs)} inputs and the data gives {len(found)}: {', '.join(found)}",
                help="name as many inputs, or choose columns with `data.inputs`",
            )
        )
    by_name = all(spec.name in found for spec in specs)
    matched = {spec.name: found[spec.name] for spec in specs} if by_name else _in_order(specs, found)
    return matched, {spec.name: spec.dtype for spec in specs}


def check_shapes(inputs: Mapping[str, np.ndarray], specs: Sequence[InputSpec]) -> None:
    """Compare the inputs with the shapes of `model.inputs`; RecipeError X126 where they differ."""
    for spec in specs:
        given = inputs[spec.name].shape[1:]
        if len(spec.shape) != len(given) + 1 or any(
            wanted != size for wanted, size in zip(spec.shape[1:], given, strict=True) if isinstance(wanted, int)
        ):
            wanted, found = ", ".join(map(str, spec.shape)), ", ".join(map(str, ("batch", *given)))
            raise RecipeError(
                Diagnostic(
                    "X126",
                    f"model.inputs: {spec.name} is ({wanted}), and the data gives ({found})",
                    help="correct `shape`, or reshape the array in a data factory",
                )
            )


def _in_order(specs: Sequence[InputSpec], found: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {spec.name: names for spec, names in zip(specs, found.values(), strict=True)}


def _dtype(columns: Sequence[np.ndarray]) -> str:
    """Whole numbers in an array are token numbers and stay int64; pixels and columns become float32."""
    whole = all(column.ndim > 1 and column.dtype.kind in "iu" and column.dtype.itemsize > 1 for column in columns)
    return "int64" if whole else "float32"
