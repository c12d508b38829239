"""Inspect an ONNX graph: weights, nodes, FLOPs, inputs and outputs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.inspecting.onnx_constants import Constant, constants
from titrant.runtime.inspecting.onnx_flops import node_flops, total
from titrant.runtime.inspecting.onnx_inputs import fit, graph_inputs, specs_of
from titrant.runtime.inspecting.onnx_parameters import count_parameters
from titrant.runtime.inspecting.onnx_shape_values import MOST_SHAPE_NUMBERS
from titrant.runtime.inspecting.onnx_shapes import infer_shapes
from titrant.runtime.models.onnx_loading import open_check, read_graph
from titrant.runtime.onnx.domains import STANDARD, opset
from titrant.runtime.onnx.subgraphs import subgraphs
from titrant.schema.facts import DataFacts, Layer, ModelFacts, TensorSpec

if TYPE_CHECKING:
    import onnx

    from titrant.runtime.operators.model_load_onnx import ModelLoadOnnxParams

# A graph with more weights than this is not opened in onnxruntime, which would load them all.
OPENED_BYTES = 256 << 20
Counted = Sequence[tuple["onnx.NodeProto", int | None]]


def describe_onnx(params: "ModelLoadOnnxParams", data: DataFacts | None) -> ModelFacts:
    """Read the graph, check that onnxruntime opens it and that the data fits its inputs.

    Weights in other files are not read, and onnxruntime does not open a graph that would fill the memory. Without data
    the inputs are as the graph has them. FLOPs are None where those of a node are unknown; `count_parameters`
    says what a parameter is.
    Raises StepError X160 and X161 as model.load_onnx does, RecipeError X126 when inputs and data differ.
    """
    path = params.onnx.path
    model, parts = read_graph(path)
    whole = _inlined(model)
    counts = count_parameters(whole.graph)
    biases = [one for name, one in constants(whole.graph).items() if name in counts and not _weighs(one)]
    weight_bytes = sum(one.bytes for one in (*_held(whole.graph), *biases))
    if weight_bytes <= OPENED_BYTES:
        open_check(path)
    inputs = specs_of(model, graph_inputs(model))
    fixed = inputs if data is None else fit(inputs, data.inputs, Path(path).name)
    _drop_values(model)
    _drop_values(whole)
    shapes = infer_shapes(whole, fixed)
    cases = _cases(fixed)
    counted = [(node, node_flops(node, shapes)) for node in whole.graph.node]
    flops = total(count for _, count in counted)
    own = counted if whole is model else [(node, node_flops(node, shapes)) for node in model.graph.node]
    return ModelFacts(
        source="onnx",
        digest=params.onnx.digest,
        parameters=sum(counts.values()),
        trainable=0,
        weight_bytes=weight_bytes,
        layers=tuple(_layers(model.graph, own, counts, cases)),
        inputs=fixed,
        outputs=specs_of(model, list(model.graph.output), shapes),
        flops=None if flops is None else flops // cases,
        activation_bytes=_activation_bytes(whole, shapes, cases),
        notes=tuple(_notes(opset(model), counted, weight_bytes, outside=bool(parts))),
    )


def outside_files(path: str) -> tuple[Path, ...]:
    """List the files that hold weights of an ONNX file outside it."""
    return read_graph(path)[1]


def _inlined(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Inline the model's own functions, so that their nodes are counted."""
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _cases(inputs: tuple[TensorSpec, ...]) -> int:
    """Return the batch size that a graph is fixed to, 1 where it is free."""
    sizes = {spec.shape[0] for spec in inputs if spec.shape}
    size = next(iter(sizes)) if len(sizes) == 1 else 1
    return size if isinstance(size, int) and size > 0 else 1


def _held(graph: "onnx.GraphProto") -> Iterator[Constant]:
    """Yield the weights that a graph and those in it hold; other constants are shapes and axes."""
    yield from (one for one in constants(graph).values() if _weighs(one))
    for node in graph.node:
        for body in subgraphs(node).values():
            yield from _held(body)


def _weighs(constant: Constant) -> bool:
    return constant.floating or (constant.low_bit and len(constant.shape) > 0)


def _notes(version: int, counted: "Counted", weight_bytes: int, *, outside: bool) -> Iterator[str]:
    yield f"opset {version}"
    if outside:
        yield "weights outside the file are brought inside"
    if weight_bytes > OPENED_BYTES:
        yield "it is too large to open while planning: onnxruntime opens it when it runs"
    unknown = sorted({node.op_type for node, count in counted if count is None})
    if unknown:
        yield (
            f"FLOPs are not known: those of {', '.join(unknown)} depend on values, or on what titrant does not know "
            "of the operator"
        )


def _drop_values(model: "onnx.ModelProto") -> None:
    """Drop the weights' values: shape inference would copy them, and it reads small integers only."""
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) > MOST_SHAPE_NUMBERS:
            for field in ("raw_data", "float_data", "double_data"):
                tensor.ClearField(field)


def _layers(graph: "onnx.GraphProto", counted: "Counted", counts: Mapping[str, int], cases: int) -> Iterator[Layer]:
    """List the nodes; parameters belong to the first node that reads them, and one number alone is not a weight."""
    several = {name: one for name, one in constants(graph).items() if _weighs(one) and one.size > 1}
    held = several | {name: one for name, one in constants(graph).items() if name in counts}
    left = dict(counts)
    for place, (node, flops) in enumerate(counted):
        own = {name: held[name] for name in node.input if name in held}
        shaped = [one.shape for one in own.values()]
        inside = [name for name in left if name.startswith(f"{place}/")] if subgraphs(node) else []
        yield Layer(
            name=node.name or f"{node.op_type}_{place}",
            type=node.op_type,
            parameters=sum(left.pop(name, 0) for name in (*dict.fromkeys(node.input), *inside)),
            weight_bytes=sum(one.bytes for one in own.values()),
            weight_shape=max(shaped, key=len, default=()),
            flops=flops // cases if flops else None,
            dtype=next((one.dtype for one in own.values()), ""),
            groups=next((item.i for item in node.attribute if item.name == "group"), 1),
            custom=node.domain not in STANDARD,
        )


def _activation_bytes(model: "onnx.ModelProto", shapes: Mapping[str, tuple[int, ...]], cases: int) -> int | None:
    """Return the largest sum of float32 node outputs of a case that are alive at once, freed after their last use."""
    last = {name: place for place, node in enumerate(model.graph.node) for name in node.input}
    kept = {value.name for value in model.graph.output}
    alive: dict[str, int] = {}
    peak = now = 0
    ends: dict[int, list[str]] = {}
    for place, node in enumerate(model.graph.node):
        born = {name: 4 * math.prod(shapes[name]) for name in node.output if name in shapes}
        alive |= born
        now += sum(born.values())
        peak = max(peak, now)
        for name in born:
            ends.setdefault(max(last.get(name, place), place), []).append(name)
        now -= sum(alive.pop(name) for name in ends.pop(place, ()) if name not in kept)
    return peak // cases or None
