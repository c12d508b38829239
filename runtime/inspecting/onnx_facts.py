"""Inspect an ONNX graph: weights, nodes, FLOPs, inputs and outputs."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from titrant.runtime.inspecting.onnx_flops import node_flops
from titrant.runtime.models.onnx_loading import open_check, read_graph
from titrant.schema.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import DataFacts, Layer, ModelFacts, TensorSpec
from titrant.schema.first_line import first_line

if TYPE_CHECKING:
    import onnx

    from titrant.runtime.operators.model_load_onnx import ModelLoadOnnxParams

# A graph's other tensors hold shapes and axes rather than weights.
_WEIGHT_KINDS = "f"
# A graph with more weights than this is not opened in onnxruntime, which would load them all.
OPENED_BYTES = 256 << 20
# Tensors with more numbers than this describe no shape.
_MOST_SHAPE_NUMBERS = 1024
# Nodes that compute products and whose FLOPs are not counted.
_UNCOUNTED = ("LSTM", "GRU", "RNN", "Einsum", "Attention", "MultiHeadAttention", "GroupQueryAttention")


def describe_onnx(params: "ModelLoadOnnxParams", data: DataFacts | None) -> ModelFacts:
    """Read the graph, check that onnxruntime opens it and that the data fits its inputs.

    Weights in other files are not read, and onnxruntime is not asked to open what would fill the memory. Without data
    the inputs are as the graph has them.
    Raises StepError X160 and X161 as model.load_onnx does, RecipeError X126 when inputs and data differ.
    """
    path = params.onnx.path
    model, parts = read_graph(path)
    sizes = _weights(model)
    weight_bytes = sum(size for _, size in sizes.values())
    if weight_bytes <= OPENED_BYTES:
        open_check(path)
    inputs = _specs(model, _graph_inputs(model))
    fixed = inputs if data is None else _fit(inputs, data.inputs, Path(path).name)
    _drop_values(model)
    shapes = _shapes(model, fixed)
    dtypes = _dtypes(model)
    layers = tuple(_layer(node, place, sizes, shapes, dtypes) for place, node in enumerate(model.graph.node))
    counted = [layer.flops for layer in layers if layer.flops is not None]
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 1)
    return ModelFacts(
        source="onnx",
        digest=params.onnx.digest,
        parameters=sum(int(np.prod(shape)) for shape, _ in sizes.values()),
        trainable=0,
        weight_bytes=weight_bytes,
        layers=layers,
        inputs=fixed,
        outputs=_specs(model, list(model.graph.output), shapes),
        flops=sum(counted) if counted else None,
        activation_bytes=_activation_bytes(model, shapes),
        notes=tuple(_notes(opset, layers, weight_bytes, outside=bool(parts))),
    )


def outside_files(path: str) -> tuple[Path, ...]:
    """List the files that hold weights of an ONNX file outside it."""
    return read_graph(path)[1]


def _notes(opset: int, layers: tuple[Layer, ...], weight_bytes: int, *, outside: bool) -> Iterator[str]:
    yield f"opset {opset}"
    if outside:
        yield "weights outside the file are brought inside"
    if weight_bytes > OPENED_BYTES:
        yield "it is too large to open while planning: onnxruntime opens it when it runs"
    uncounted = sorted({layer.type for layer in layers if layer.type in _UNCOUNTED})
    if uncounted:
        yield f"the FLOPs of {', '.join(uncounted)} are not counted"


def _drop_values(model: "onnx.ModelProto") -> None:
    """Let go of the weights themselves: inferring shapes would copy them, and only small integers matter to it."""
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) > _MOST_SHAPE_NUMBERS:
            for field in ("raw_data", "float_data", "double_data"):
                tensor.ClearField(field)


def _graph_inputs(model: "onnx.ModelProto") -> "list[onnx.ValueInfoProto]":
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _specs(
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


def _fit(inputs: tuple[TensorSpec, ...], given: tuple[TensorSpec, ...], name: str) -> tuple[TensorSpec, ...]:
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


def _shapes(model: "onnx.ModelProto", inputs: tuple[TensorSpec, ...]) -> dict[str, tuple[int, ...]]:
    """Infer the shape of every tensor for one case; those that stay unknown are left out."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    sizes = {spec.name: (1 if isinstance(spec.shape[0], str) else spec.shape[0], *spec.shape[1:]) for spec in inputs}
    for value in copy.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, sizes.get(value.name, ()), strict=False):
            if isinstance(size, int):
                dim.dim_value = size
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    try:
        inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise StepError(
            Diagnostic("X160", f"shapes of the graph contradict: {first_line(error)}", help="export it again")
        ) from None
    values = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    shapes = {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values}
    found = {name: shape for name, shape in shapes.items() if all(size > 0 for size in shape)}
    return found | {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}


def _weights(model: "onnx.ModelProto") -> dict[str, tuple[tuple[int, ...], int]]:
    """List weights by name with shape and bytes: float initializers, constants, and low-bit initializers."""
    import onnx

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors |= dict.fromkeys(node.output, next(item.t for item in node.attribute)) if _is_tensor(node) else {}
    found = {}
    for name, tensor in tensors.items():
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        low_bit = dtype.itemsize == 1 and dtype.kind in "iu"
        if dtype.kind in _WEIGHT_KINDS or (low_bit and len(tensor.dims) > 0):
            found[name] = (tuple(tensor.dims), int(np.prod(tensor.dims)) * dtype.itemsize)
    return found


def _dtypes(model: "onnx.ModelProto") -> dict[str, str]:
    import onnx

    return {
        tensor.name: str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)))
        for tensor in model.graph.initializer
    }


def _is_tensor(node: "onnx.NodeProto") -> bool:
    return any(item.name == "value" for item in node.attribute)


def _layer(
    node: "onnx.NodeProto",
    place: int,
    weights: Mapping[str, tuple[tuple[int, ...], int]],
    shapes: Mapping[str, tuple[int, ...]],
    dtypes: Mapping[str, str],
) -> Layer:
    own = [weights[name] for name in node.input if name in weights]
    return Layer(
        name=node.name or f"{node.op_type}_{place}",
        type=node.op_type,
        parameters=sum(int(np.prod(shape)) for shape, _ in own),
        weight_bytes=sum(size for _, size in own),
        weight_shape=max((shape for shape, _ in own), key=len, default=()),
        flops=node_flops(node, shapes),
        dtype=dtypes.get(next((name for name in node.input if name in weights), ""), ""),
        groups=next((item.i for item in node.attribute if item.name == "group"), 1),
        custom=node.domain not in ("", "ai.onnx"),
    )


def _activation_bytes(model: "onnx.ModelProto", shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the largest sum of float32 node outputs that are alive at once, freed after their last use."""
    last = {name: place for place, node in enumerate(model.graph.node) for name in node.input}
    kept = {value.name for value in model.graph.output}
    alive: dict[str, int] = {}
    peak = 0
    for place, node in enumerate(model.graph.node):
        alive |= {name: 4 * int(np.prod(shapes[name])) for name in node.output if name in shapes}
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, -1) > place or name in kept}
    return peak or None


def _shape(spec: TensorSpec) -> str:
    return f"({', '.join(str(size) for size in spec.shape)})"


def _written(spec: TensorSpec) -> str:
    sizes = ", ".join("batch" if not place else str(size) for place, size in enumerate(spec.shape))
    return f"{{name: {spec.name}, shape: [{sizes}], dtype: {spec.dtype}}}"
