"""Read what an ONNX graph takes and gives, and fit it to the data: by name, shape and dtype, with rows first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from titrant.runtime.operators.model.load_onnx import numeric
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError, StepError
from titrant.schema.facts import TensorSpec

if TYPE_CHECKING:
    import onnx

_SHOWN = 3
# Weights that are looked through for NaN at once.
_CHECKED_BYTES = 1 << 20


def check_tensors(model: "onnx.ModelProto", name: str) -> None:
    """Raise StepError X162 for an input or output that is no array of numbers or texts which onnxruntime exchanges.

    So does a file that gives texts alone; beside numbers they are left out.
    """
    import onnx

    from titrant.runtime.backends.onnxruntime.normalize import ELEMENTS

    for sort, values in (("takes", graph_inputs(model)), ("gives", model.graph.output)):
        for value in values:
            kind = value.type.WhichOneof("value") or "value without a type"
            element = value.type.tensor_type.elem_type
            if kind == "tensor_type" and element in ELEMENTS.values():
                continue
            what = (
                onnx.TensorProto.DataType.Name(element).lower() if kind == "tensor_type" else kind.removesuffix("_type")
            )
            raise StepError(
                Diagnostic(
                    "X162",
                    f"{name} {sort} `{value.name}` as {what}",
                    help="export it with arrays of float32 or int64 as inputs and outputs (skl2onnx: zipmap=False)",
                )
            )
    if not numeric(model.graph.output):
        advice = "export it with an output of numbers, such as the probabilities"
        raise StepError(Diagnostic("X162", f"{name} gives texts alone, and numbers are what is judged", help=advice))


def graph_inputs(model: "onnx.ModelProto") -> "list[onnx.ValueInfoProto]":
    """Return the inputs that are not weights: old graphs list those too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def refuse_text(specs: Sequence[TensorSpec], name: str) -> None:
    """Raise PreconditionError X162 where a model's inputs hold text: what is handed to a model are numbers."""
    texts = [spec.name for spec in specs if spec.dtype == "object"]
    if not texts:
        return
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    message = f"{name} takes text, as {', '.join(texts[:_SHOWN])}{more}, and a model is handed numbers here"
    advice = (
        "write two files: what prepares the columns, and the model behind it, such as pipeline[:-1] and pipeline[-1] "
        "of scikit-learn; the first is data.transform_from, the second model.onnx"
    )
    raise PreconditionError(Diagnostic("X162", message, help=advice))


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
        inferred = (shapes or {}).get(value.name)
        dimensions: list[int | str] = [
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or "free"
            for dim in tensor.shape.dim
        ]
        if inferred and not tensor.HasField("shape"):
            dimensions = ["batch", *inferred[1:]]
        if inferred is not None and len(inferred) == len(dimensions):
            dimensions = [
                size if isinstance(size, int) or not place else inferred[place] for place, size in enumerate(dimensions)
            ]
        if dimensions and isinstance(dimensions[0], str):
            dimensions[0] = "batch"
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        specs.append(TensorSpec(value.name, tuple(dimensions), str(np.dtype(dtype))))
    return tuple(specs)


def fit(inputs: tuple[TensorSpec, ...], given: tuple[TensorSpec, ...], name: str) -> tuple[TensorSpec, ...]:
    """Fill free sizes from the data's inputs, which must have the graph's names, shapes and dtypes."""
    check_rows(inputs, name)
    by_name = {spec.name: spec for spec in given}
    if set(by_name) != {spec.name for spec in inputs}:
        listed = ", ".join(_written(spec) for spec in inputs)
        raise RecipeError(
            Diagnostic(
                "X126",
                f"{name} takes {', '.join(spec.name for spec in inputs)}, "
                f"and the data gives {', '.join(by_name) or 'nothing'}",
                help=f"write `model: {{inputs: [{listed}]}}`",
            )
        )
    return tuple(_filled(spec, by_name[spec.name], name) for spec in inputs)


def check_rows(inputs: tuple[TensorSpec, ...], name: str) -> None:
    """Raise RecipeError X126 where the inputs' first dimensions cannot be the rows of one batch."""
    fixed = {spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], int)}
    if any(spec.shape for spec in inputs) and len(fixed) <= 1 and 0 not in fixed:
        return
    listed = ", ".join(f"`{spec.name}` with {spec.shape[0] if spec.shape else 'no dimension'}" for spec in inputs)
    raise RecipeError(
        Diagnostic(
            "X126",
            f"{name} has no batch axis: {f'its inputs begin {listed}' if inputs else 'it takes no input'}",
            help="export it with the rows as the first dimension of its inputs, free or of one size",
        )
    )


def sized(spec: TensorSpec, stated: TensorSpec | None, name: str) -> TensorSpec:
    """Fill a graph's free sizes with those that the recipe states; RecipeError X126 where they differ."""
    if stated is None:
        return spec
    pairs = zip(spec.shape[1:], stated.shape[1:], strict=False)
    if len(spec.shape) != len(stated.shape) or any(isinstance(a, int) and a != b for a, b in pairs):
        message = f"{name}: {spec.name} is {_shape(spec)}, and model.inputs says {_shape(stated)}"
        raise RecipeError(Diagnostic("X126", message, help="write the size of one step", key="model.inputs"))
    return TensorSpec(spec.name, (*spec.shape[:1], *stated.shape[1:]), spec.dtype)


def _filled(spec: TensorSpec, given: TensorSpec, name: str) -> TensorSpec:
    fits = len(spec.shape) == len(given.shape) and all(
        isinstance(want, str) or want == size for want, size in zip(spec.shape[1:], given.shape[1:], strict=True)
    )
    if not fits or spec.dtype != given.dtype:
        raise RecipeError(
            Diagnostic(
                "X126",
                f"{name}: {spec.name} is {_shape(spec)} {spec.dtype}, and the data gives {_shape(given)} {given.dtype}",
                help=_image_advice(spec, given)
                or "change `data.inputs` or `data.transform`, or name the shape and dtype in `model.inputs`",
            )
        )
    return TensorSpec(spec.name, (*spec.shape[:1], *given.shape[1:]), spec.dtype)


def _image_advice(spec: TensorSpec, given: TensorSpec) -> str:
    """Say what fits images (batch, channels, height, width) to a file that has other channels; "" for anything else."""
    if len(spec.shape) != 4 or len(given.shape) != 4 or spec.shape[1] == given.shape[1]:
        return ""
    if spec.shape[3] == given.shape[1]:
        return (
            "its channels stand last, and images are given channels first: export it so, as tf2onnx does by "
            f"`--inputs-as-nchw {spec.name}`"
        )
    if (spec.shape[1], given.shape[1]) == (1, 3):
        return "its images have one channel: write `image_folder: {path: …, color: gray}`"
    return ""


def _shape(spec: TensorSpec) -> str:
    return f"({', '.join(str(size) for size in spec.shape)})"


def _written(spec: TensorSpec) -> str:
    sizes = ", ".join("batch" if not place else str(size) for place, size in enumerate(spec.shape))
    return f"{{name: {spec.name}, shape: [{sizes}], dtype: {spec.dtype}}}"


def nan_weights(graph: "onnx.GraphProto", counts: Mapping[str, int]) -> Iterator[str]:
    """Name each parameter inside the file that holds NaN, and how many; a constant that is none may mean them."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    inside = [tensor for tensor in graph.initializer if tensor.data_location != TensorProto.EXTERNAL]
    for element, dtype in ((TensorProto.FLOAT, "<f4"), (TensorProto.DOUBLE, "<f8")):
        tensors = [tensor for tensor in inside if tensor.data_type == element and tensor.name in counts]
        for some in _together(tensors):
            raw = b"".join(tensor.raw_data for tensor in some)
            if all(tensor.raw_data for tensor in some) and not np.isnan(np.frombuffer(raw, dtype)).any():
                continue
            for tensor in some:
                values = numpy_helper.to_array(tensor)
                if broken := int(np.isnan(values).sum()):
                    yield f"{broken:,} of the {values.size:,} numbers of its weight `{tensor.name}` are NaN"


def _together(tensors: "Sequence[onnx.TensorProto]") -> "Iterator[Sequence[onnx.TensorProto]]":
    """Yield tensors in groups of which a single check takes no longer than that of each would."""
    group: list[onnx.TensorProto] = []
    size = 0
    for tensor in tensors:
        group.append(tensor)
        size += len(tensor.raw_data)
        if size > _CHECKED_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
