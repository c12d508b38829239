"""The inputs and outputs of an ONNX graph, and whether the data fits them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import TensorSpec

if TYPE_CHECKING:
    import onnx


def graph_inputs(model: "onnx.ModelProto") -> "list[onnx.ValueInfoProto]":
    """Return the inputs that are not weights: old graphs list those too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def specs_of(
    model: "onnx.ModelProto",
    values: "list[onnx.ValueInfoProto]",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[TensorSpec, ...]:
    """Read names, shapes and dtypes; a free first dimension is the batch, other free ones are filled from `shapes`."""
    import onnx

    specs = []
    for value in values:
        tensor = value.type.tensor_type
        known = (shapes or {}).get(value.name)
        dimensions: list[int | str] = [
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else dim.dim_param or "free"
            for dim in tensor.shape.dim
        ]
        if known is not None and not dimensions:
            dimensions = ["batch", *known[1:]]
        if known is not None and len(known) == len(dimensions):
            dimensions = [
                size if isinstance(size, int) or not place else known[place] for place, size in enumerate(dimensions)
            ]
        if dimensions and isinstance(dimensions[0], str):
            dimensions[0] = "batch"
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        specs.append(TensorSpec(value.name, tuple(dimensions), str(np.dtype(dtype))))
    return tuple(specs)


def fit(inputs: tuple[TensorSpec, ...], given: tuple[TensorSpec, ...], name: str) -> tuple[TensorSpec, ...]:
    """Fill free sizes from the data's inputs, which must have the graph's names, shapes and dtypes."""
    by_name = {spec.name: spec for spec in given}
    if set(by_name) != {spec.name for spec in inputs}:
        wanted = ", ".join(_written(spec) for spec in inputs)
        raise RecipeError(
            Diagnostic(
                "X126",
                f"{name} takes {', '.join(spec.name for spec in inputs)}, "
                f"and the data gives {', '.join(by_name) or 'nothing'}",
                help=f"write `model: {{inputs: [{wanted}]}}`",
            )
        )
    return tuple(_filled(spec, by_name[spec.name], name) for spec in inputs)


def _filled(spec: TensorSpec, given: TensorSpec, name: str) -> TensorSpec:
    fits = len(spec.shape) == len(given.shape) and all(
        isinstance(want, str) or want == size for want, size in zip(spec.shape[1:], given.shape[1:], strict=True)
    )
    if not fits or spec.dtype != given.dtype:
        raise RecipeError(
            Diagnostic(
                "X126",
                f"{name}: {spec.name} is {_shape(spec)} {spec.dtype}, and the data gives {_shape(given)} {given.dtype}",
                help="change `data.inputs` or `data.transform`, or name the shape and dtype in `model.inputs`",
            )
        )
    return TensorSpec(spec.name, (spec.shape[0], *given.shape[1:]), spec.dtype)


def _shape(spec: TensorSpec) -> str:
    return f"({', '.join(str(size) for size in spec.shape)})"


def _written(spec: TensorSpec) -> str:
    sizes = ", ".join("batch" if not place else str(size) for place, size in enumerate(spec.shape))
    return f"{{name: {spec.name}, shape: [{sizes}], dtype: {spec.dtype}}}"
