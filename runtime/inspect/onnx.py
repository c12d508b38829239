"""Describe an ONNX graph: layers, parameters (told from other constants), FLOPs and memory, and the data's fit."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.backends.onnxruntime.apart import apart_bytes, stays_apart
from titrant.runtime.backends.onnxruntime.graph import STANDARD, opset, subgraphs
from titrant.runtime.backends.onnxruntime.mend import mend
from titrant.runtime.inspect.graph.constants import Constant, constants, moved_constants
from titrant.runtime.inspect.graph.excitations import excitations
from titrant.runtime.inspect.graph.flops import activation_bytes, node_flops, total
from titrant.runtime.inspect.graph.inputs import (
    check_rows,
    check_tensors,
    fit,
    graph_inputs,
    nan_weights,
    sized,
    specs_of,
)
from titrant.runtime.inspect.graph.node_operations import node_operations
from titrant.runtime.inspect.graph.parameters import count_parameters, inlined, repeated_bytes
from titrant.runtime.inspect.graph.shapes import MOST_SHAPE_NUMBERS, infer_shapes
from titrant.runtime.inspect.operation_work import graph_work
from titrant.runtime.inspect.recurrent import answers_of, described_state, one_step
from titrant.runtime.operators.model.load_onnx import numeric, open_check, read_graph, unzip
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import DataFacts, Layer, ModelFacts, TensorSpec

if TYPE_CHECKING:
    import onnx

    from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams

# A graph with more weights than this is not opened in onnxruntime, which would load them all.
OPENED_BYTES = 256 << 20
# One with more nodes is not opened at a first look: opening it and trying another batch take longer than the rest.
OPENED_NODES = 2_000
Counted = Sequence[tuple["onnx.NodeProto", int | None]]


@dataclass(frozen=True)
class OnnxReading:
    """An ONNX file as it was looked at: its facts, its graph with the file's functions inlined, and what was inferred.

    `shapes` are of a batch of `cases`. The weights' values are gone. The nodes of `graph` are the layers of `facts`.
    `parts` are files beside it that hold weights.
    """

    facts: ModelFacts
    graph: "onnx.GraphProto"
    shapes: Mapping[str, tuple[int, ...]]
    cases: int
    parts: tuple[Path, ...]


def describe_onnx(params: "ModelLoadOnnxParams", data: DataFacts | None) -> ModelFacts:
    """Return what is known of an ONNX file; as `read_onnx`."""
    return read_onnx(params, data).facts


def read_onnx(params: "ModelLoadOnnxParams", data: DataFacts | None, *, first_look: bool = False) -> OnnxReading:
    """Read the graph, check that onnxruntime opens it and that the data fits its inputs.

    Weights in other files are not read, and onnxruntime does not open a graph that would fill the memory. Without data
    the inputs are as the graph has them. FLOPs are None where those of a node are unknown; `count_parameters`
    says what a parameter is. At a `first_look`, from which nobody plans, a graph of more than `OPENED_NODES` is neither
    opened nor tried with another batch size, which a note says.
    Raises StepError X160 and X161 as model.load_onnx does, X155 for NaN among its parameters where there are data,
    RecipeError X126 when inputs and data differ.
    """
    path = params.onnx.path
    model, parts = read_graph(path)
    unzipped = unzip(model)
    check_tensors(model, Path(path).name)
    unopened = first_look and data is None and len(model.graph.node) > OPENED_NODES
    model, mended = mend(model, batches=not unopened)
    whole = inlined(model)
    held = constants(whole.graph)
    counts = count_parameters(whole.graph, held)
    if data is not None:  # a file that is looked at is told about
        _check_values(held, counts, Path(path).name)
    biases = [constant for name, constant in held.items() if name in counts and not _weighs(constant)]
    weight_bytes = sum(constant.bytes for constant in (*_held(whole.graph, held), *biases))
    if weight_bytes <= OPENED_BYTES and not unopened:
        open_check(path, model)
    inputs = specs_of(model, graph_inputs(model))
    taken, steps = _taken(params, inputs, data)
    fixed = (*taken, *(spec for spec in inputs if spec.name in _fed(params)))
    broken, repeated = tuple(nan_weights(whole.graph, counts)), repeated_bytes(whole.graph, held)
    dropped = sum(constant.bytes for constant in held.values() if constant.initializer and _is_dropped(constant.tensor))
    apart = apart_bytes(model.graph) if stays_apart(model.graph) else 0
    drop_values(model)
    graph_bytes = 0 if parts else max(0, model.ByteSize() + dropped - weight_bytes)
    if whole is not model:
        drop_values(whole)
    shapes = infer_shapes(whole, fixed)
    cases = _cases(taken)
    outputs = specs_of(model, numeric(model.graph.output), shapes)
    state = None if params.state is None else described_state(params.state, inputs, outputs, steps)
    counted = [(node, node_flops(node, shapes)) for node in whole.graph.node]
    operations = node_operations(whole.graph, held)
    flops = total(count for _, count in counted)
    facts = ModelFacts(
        source="onnx",
        digest=params.onnx.digest,
        parameters=sum(counts.values()),
        trainable=0,
        weight_bytes=weight_bytes,
        layers=tuple(node_layers(whole.graph, held, counted, counts, shapes, cases=cases)),
        inputs=taken,
        outputs=outputs if state is None else answers_of(outputs, state),
        flops=None if flops is None else flops // cases,
        activation_bytes=activation_bytes(whole, shapes, cases),
        notes=(
            *_notes(opset(model), counted, weight_bytes, outside="" if not parts else "apart" if apart else "inside"),
            *([_unopened(model)] if unopened else []),
            *mended,
            *_output_notes(model, unzipped),
            *broken,
        ),
        state=state,
        work=graph_work(counted, held, shapes, cases),
        repeated_bytes=repeated,
        graph_bytes=graph_bytes,
        apart_bytes=apart,
        exported_nodes=0 if operations is None else operations.nodes,
        activation_ranges=0 if operations is None else operations.ranges(),
    )
    return OnnxReading(facts, whole.graph, shapes, cases, parts)


def _check_values(held: Mapping[str, Constant], counts: Mapping[str, int], name: str) -> None:
    broken = [item for item, constant in held.items() if item in counts and constant.has_nan()]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        help = "export it again from weights that trained well"
        raise StepError(Diagnostic("X155", f"{name}: NaN in {broken[0]}{more}", help=help, key="model.onnx"))


def _fed(params: "ModelLoadOnnxParams") -> tuple[str, ...]:
    return () if params.state is None else tuple(params.state.feeds.values())


def _taken(
    params: "ModelLoadOnnxParams", inputs: tuple[TensorSpec, ...], data: DataFacts | None
) -> tuple[tuple[TensorSpec, ...], int]:
    """Return the inputs that are no recurrent state, fitted to the data, and how many steps a case of these has."""
    name = Path(params.onnx.path).name
    if params.state is None:
        return (inputs if data is None else fit(inputs, data.inputs, name)), 1
    stated = {spec.name: TensorSpec(spec.name, spec.shape, spec.dtype) for spec in params.state.inputs}
    plain = tuple(sized(spec, stated.get(spec.name), name) for spec in inputs if spec.name not in _fed(params))
    if data is None:
        return plain, 1
    check_rows(plain, name)
    return one_step(plain, data.inputs)


def outside_files(path: str) -> tuple[Path, ...]:
    """List the files that hold weights of an ONNX file outside it."""
    return read_graph(path)[1]


def _cases(inputs: tuple[TensorSpec, ...]) -> int:
    """Return the batch size that a graph is fixed to, 1 where it is free."""
    sizes = {spec.shape[0] for spec in inputs if spec.shape}
    size = next(iter(sizes)) if len(sizes) == 1 else 1
    return size if isinstance(size, int) and size > 0 else 1


def _held(graph: "onnx.GraphProto", held: Mapping[str, Constant]) -> Iterator[Constant]:
    """Yield the weights that a graph and those in it hold; other constants are shapes and axes."""
    yield from (constant for constant in held.values() if _weighs(constant))
    for node in graph.node:
        for body in subgraphs(node).values():
            yield from _held(body, constants(body))


def _weighs(constant: Constant) -> bool:
    return constant.floating or (constant.low_bit and len(constant.shape) > 0)


def _is_weight(constant: Constant) -> bool:
    return _weighs(constant) and constant.size > 1


def _notes(version: int, counted: Counted, weight_bytes: int, *, outside: str) -> Iterator[str]:
    yield f"opset {version}"
    if outside == "inside":
        yield "weights outside the file are brought inside"
    elif outside:
        yield (
            "weights outside the file are large and stay there: they are read as they are needed and not packed for "
            "onnxruntime's products, so that a large batch takes up to 1.4 times as long as with a copy of them, and "
            "what is said of gains over it at such batches is that much too high"
        )
    if weight_bytes > OPENED_BYTES:
        yield "it is too large to open while planning: onnxruntime opens it when it runs"
    unknown = sorted({node.op_type for node, count in counted if count is None})
    if unknown:
        yield (
            f"FLOPs are not known: those of {', '.join(unknown)} depend on values, or on what titrant does not know "
            "of the operator"
        )


def _unopened(model: "onnx.ModelProto") -> str:
    nodes = f"{len(model.graph.node):,} nodes"
    return f"a first look at {nodes}: not opened in onnxruntime, nor tried with other batches, as a plan does"


def _output_notes(model: "onnx.ModelProto", unzipped: Sequence[str]) -> Iterator[str]:
    for name in unzipped:
        yield f"its output {name} is a mapping of class to probability: the array behind it is taken instead"
    kept = {value.name for value in numeric(model.graph.output)}
    for value in model.graph.output:
        if value.name not in kept:
            yield f"its output {value.name} is no array of numbers, and is not looked at"


def drop_values(model: "onnx.ModelProto") -> None:
    """Drop the weights' values: shape inference would copy them, and it reads small integers only."""
    for tensor in model.graph.initializer:
        if _is_dropped(tensor):
            for field in ("raw_data", "float_data", "double_data"):
                tensor.ClearField(field)


def _is_dropped(tensor: "onnx.TensorProto") -> bool:
    return math.prod(tensor.dims) > MOST_SHAPE_NUMBERS


def node_layers(
    graph: "onnx.GraphProto",
    held: Mapping[str, Constant],
    counted: Counted,
    counts: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    cases: int,
) -> Iterator[Layer]:
    """List the nodes; parameters belong to the first node that reads them, and one number alone is not a weight.

    A weight that is first moved (transposed, cast, reshaped) belongs to the node that reads what becomes of it:
    onnxruntime moves it once, when it opens the file.
    """
    weights = {name: constant for name, constant in held.items() if name in counts or _is_weight(constant)}
    moved = moved_constants(graph, weights, shapes)
    read = weights | moved
    sources = {name: constant.source for name, constant in moved.items()}
    left, gates = dict(counts), excitations(graph, held)
    for place, (node, flops) in enumerate(counted):
        kind, operands, settings = node.op_type, list(node.input), node.attribute
        moves = bool(moved) and any(name in moved for name in node.output)
        own = {} if moves else {name: read[name] for name in operands if name in read}
        weight = max(own, key=lambda name: len(own[name].shape)) if own else ""
        names = [sources.get(name, name) for name in own]
        if settings and subgraphs(node):
            names += [name for name in left if name.startswith(f"{place}/")]
        yield Layer(
            name=node.name or f"{kind}_{place}",
            type=kind,
            parameters=sum([left.pop(name, 0) for name in names]),
            weight_bytes=sum([constant.bytes for constant in own.values()]),
            weight_shape=own[weight].shape if own else (),
            weight_operand=operands.index(weight) if own else 0,
            flops=flops // cases if flops else None,
            dtype=next(iter(own.values())).dtype if own else "",
            groups=next((item.i for item in settings if item.name == "group"), 1) if settings else 1,
            custom=node.domain not in STANDARD,
            excitation=place in gates,
        )
