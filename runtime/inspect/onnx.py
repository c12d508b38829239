"""Describe an ONNX graph: layers, parameters (told from other constants), FLOPs and memory, and the data's fit."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.backends.onnxruntime.graph import STANDARD, opset, subgraphs
from titrant.runtime.backends.onnxruntime.mend import mend
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
from titrant.runtime.inspect.graph.parameters import inlined
from titrant.runtime.inspect.graph.shapes import (
    MOST_SHAPE_NUMBERS,
    Constant,
    constants,
    infer_shapes,
    moved_constants,
)
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
Counted = Sequence[tuple["onnx.NodeProto", int | None]]


@dataclass(frozen=True)
class OnnxReading:
    """An ONNX file as it was looked at: its facts, its graph with the file's functions inlined, and what was inferred.

    `shapes` are of a batch of `cases`. The weights' values are gone. The nodes of `graph` are the layers of `facts`.
    """

    facts: ModelFacts
    graph: "onnx.GraphProto"
    shapes: Mapping[str, tuple[int, ...]]
    cases: int


def describe_onnx(params: "ModelLoadOnnxParams", data: DataFacts | None) -> ModelFacts:
    """Return what is known of an ONNX file; as `read_onnx`."""
    return read_onnx(params, data).facts


def read_onnx(params: "ModelLoadOnnxParams", data: DataFacts | None) -> OnnxReading:
    """Read the graph, check that onnxruntime opens it and that the data fits its inputs.

    Weights in other files are not read, and onnxruntime does not open a graph that would fill the memory. Without data
    the inputs are as the graph has them. FLOPs are None where those of a node are unknown; `count_parameters`
    says what a parameter is.
    Raises StepError X160 and X161 as model.load_onnx does, X155 for NaN among its parameters where there are data,
    RecipeError X126 when inputs and data differ.
    """
    path = params.onnx.path
    model, parts = read_graph(path)
    unzipped = unzip(model)
    check_tensors(model, Path(path).name)
    model, mended = mend(model)
    whole = inlined(model)
    counts = count_parameters(whole.graph)
    if data is not None:  # a file that is looked at is told about
        _check_values(whole.graph, counts, Path(path).name)
    biases = [held for name, held in constants(whole.graph).items() if name in counts and not _weighs(held)]
    weight_bytes = sum(constant.bytes for constant in (*_held(whole.graph), *biases))
    if weight_bytes <= OPENED_BYTES:
        open_check(path, model)
    inputs = specs_of(model, graph_inputs(model))
    taken, steps = _taken(params, inputs, data)
    fixed = (*taken, *(spec for spec in inputs if spec.name in _fed(params)))
    broken, repeated = tuple(nan_weights(whole.graph, counts)), repeated_bytes(whole.graph)
    drop_values(model)
    drop_values(whole)
    shapes = infer_shapes(whole, fixed)
    cases = _cases(taken)
    outputs = specs_of(model, numeric(model.graph.output), shapes)
    state = None if params.state is None else described_state(params.state, inputs, outputs, steps)
    counted = [(node, node_flops(node, shapes)) for node in whole.graph.node]
    flops = total(count for _, count in counted)
    facts = ModelFacts(
        source="onnx",
        digest=params.onnx.digest,
        parameters=sum(counts.values()),
        trainable=0,
        weight_bytes=weight_bytes,
        layers=tuple(node_layers(whole.graph, counted, counts, shapes, cases)),
        inputs=taken,
        outputs=outputs if state is None else answers_of(outputs, state),
        flops=None if flops is None else flops // cases,
        activation_bytes=activation_bytes(whole, shapes, cases),
        notes=(
            *_notes(opset(model), counted, weight_bytes, outside=bool(parts)),
            *mended,
            *_output_notes(model, unzipped),
            *broken,
        ),
        state=state,
        work=graph_work(counted, constants(whole.graph), shapes, cases),
        repeated_bytes=repeated,
    )
    return OnnxReading(facts, whole.graph, shapes, cases)


def _check_values(graph: "onnx.GraphProto", counts: Mapping[str, int], name: str) -> None:
    broken = [item for item, held in constants(graph).items() if item in counts and held.has_nan()]
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


def _held(graph: "onnx.GraphProto") -> Iterator[Constant]:
    """Yield the weights that a graph and those in it hold; other constants are shapes and axes."""
    yield from (constant for constant in constants(graph).values() if _weighs(constant))
    for node in graph.node:
        for body in subgraphs(node).values():
            yield from _held(body)


def _weighs(constant: Constant) -> bool:
    return constant.floating or (constant.low_bit and len(constant.shape) > 0)


def repeated_bytes(graph: "onnx.GraphProto") -> int:
    """Return the bytes of constants of two or more axes, read by elementwise nodes alone, that repeat earlier ones."""
    from onnx import TensorProto, numpy_helper

    others = {name for node in graph.node if node.op_type not in _BY_ELEMENT for name in node.input}
    operands = {name for node in graph.node if node.op_type in _BY_ELEMENT for name in node.input} - others
    read = [held for name, held in constants(graph).items() if name in operands and len(held.shape) >= _TABLE_RANK]
    inside = [held.tensor for held in read if held.floating and held.tensor.data_location != TensorProto.EXTERNAL]
    numbers = [((tensor.data_type, *tensor.dims), numpy_helper.to_array(tensor).tobytes()) for tensor in inside]
    return sum(len(held) for _, held in numbers) - sum(len(held) for _, held in {*numbers})


def _notes(version: int, counted: Counted, weight_bytes: int, *, outside: bool) -> Iterator[str]:
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
        if math.prod(tensor.dims) > MOST_SHAPE_NUMBERS:
            for field in ("raw_data", "float_data", "double_data"):
                tensor.ClearField(field)


def node_layers(
    graph: "onnx.GraphProto",
    counted: Counted,
    counts: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]],
    cases: int,
) -> Iterator[Layer]:
    """List the nodes; parameters belong to the first node that reads them, and one number alone is not a weight.

    A weight that is first moved (transposed, cast, reshaped) belongs to the node that reads what becomes of it:
    onnxruntime moves it once, when it opens the file.
    """
    held = {name: constant for name, constant in constants(graph).items() if _weighs(constant) and constant.size > 1}
    held |= {name: constant for name, constant in constants(graph).items() if name in counts}
    moved = moved_constants(graph, held, shapes)
    read = held | moved
    sources = {name: constant.source for name, constant in moved.items()}
    left = dict(counts)
    for place, (node, flops) in enumerate(counted):
        moves = any(name in moved for name in node.output)
        own = {} if moves else {name: read[name] for name in node.input if name in read}
        weight = max(own, key=lambda name: len(own[name].shape), default="")
        inside = [name for name in left if name.startswith(f"{place}/")] if subgraphs(node) else []
        names = () if moves else tuple(sources.get(name, name) for name in dict.fromkeys(node.input))
        yield Layer(
            name=node.name or f"{node.op_type}_{place}",
            type=node.op_type,
            parameters=sum(left.pop(name, 0) for name in (*names, *inside)),
            weight_bytes=sum(constant.bytes for constant in own.values()),
            weight_shape=own[weight].shape if own else (),
            weight_operand=list(node.input).index(weight) if own else 0,
            flops=flops // cases if flops else None,
            dtype=next((constant.dtype for constant in own.values()), ""),
            groups=next((item.i for item in node.attribute if item.name == "group"), 1),
            custom=node.domain not in STANDARD,
        )


# Operator → the places of its weights and biases among its operands.
_ROLES: Mapping[str, Sequence[int]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "DeformConv": (1, 3), "FusedConv": (1, 2), "ConvInteger": (1,),
    "QLinearConv": (3, 8), "Gemm": (0, 1, 2), "FusedGemm": (0, 1, 2), "QGemm": (0, 3, 6), "MatMul": (0, 1),
    "FusedMatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3), "DynamicQuantizeMatMul": (1, 4),
    "MatMulIntegerToFloat": (0, 1, 6), "MatMulNBits": (1, 5), "Einsum": range(16), "LSTM": (1, 2, 3, 7),
    "GRU": (1, 2, 3), "RNN": (1, 2, 3), "DynamicQuantizeLSTM": (1, 2, 3, 7), "Attention": (0, 1, 2),
    "QAttention": (1, 2), "MultiHeadAttention": (0, 1, 2, 3), "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2), "GroupNormalization": (1, 2), "InstanceNormalization": (1, 2),
    "RMSNormalization": (1,), "SimplifiedLayerNormalization": (1,), "SkipLayerNormalization": (2, 3, 4),
    "SkipSimplifiedLayerNormalization": (2, 3), "EmbedLayerNormalization": (2, 3, 4, 5, 6), "PRelu": (1,),
    "BiasGelu": (1,), "FastGelu": (1,), "QLinearAdd": (0, 3), "QLinearMul": (0, 3),
}  # fmt: skip
# Element-wise operators: an initializer among their operands is a bias, a scale or a positional encoding.
_BY_ELEMENT = ("Add", "Sub", "Mul", "Div", "Sum")
# Operators whose output has the numbers of an operand: of the first one, Concat of any.
_MOVES = (
    "Transpose", "Reshape", "Unsqueeze", "Squeeze", "Slice", "Split", "Cast", "Identity", "Expand", "Flatten", "Tile",
    "Concat", "DequantizeLinear", "QuantizeLinear",
)  # fmt: skip
_PRODUCTS = (
    "Conv", "ConvTranspose", "ConvInteger", "Gemm", "MatMul", "FusedMatMul", "MatMulInteger", "Einsum", "DeformConv",
)  # fmt: skip
_TABLE_RANK = 2
# The bits of a quantized bias; wider integers are indices and sizes.
_BIAS_BITS = 32
# How a tensor is read: element by element or by rows, or as a weight.
_PLAINLY, _AS_WEIGHT = 1, 2


def count_parameters(graph: "onnx.GraphProto") -> dict[str, int]:
    """Count the parameters of a graph by the name of the tensor that holds them, each tensor once.

    A parameter is a number of a constant that is a weight or bias of a matrix product, a recurrent layer, attention or
    a normalization; the slope of a PRelu; a table of two or more dimensions whose rows are gathered or that is
    concatenated with computed values; or an initializer of one or more dimensions in an element-wise sum or product.
    It remains one where it is first transposed, sliced, concatenated or dequantized. Not counted are constants that
    describe a shape, an axis, a range or a quantization, scalars, running statistics, initial states of recurrent
    layers, and `Constant` nodes that are used element-wise (except as the bias after a product) or whose numbers are
    all equal.

    So an int8 file has as many parameters as the fp32 one that it was made from, and a file that torch wrote as many as
    the module, less what export folds: scale and bias of a batch normalization become the bias of the convolution
    before it. An embedding table that is also the output layer's weight, and is written a second time transposed,
    counts once while both hold the same numbers. A saved buffer that is multiplied or added, such as a table of sines,
    looks like a parameter in a file and is counted. Names in the body of a loop or a branch are prefixed by the place
    of its node.
    """
    return _count(graph, "")[0]


def _count(graph: "onnx.GraphProto", path: str) -> tuple[dict[str, int], dict[str, int]]:
    """Count a graph's parameters; return them, and how it and the graphs in it read each tensor, by name."""
    held, read = constants(graph), dict[str, int]()
    counts: dict[str, int] = {}
    for place, node in enumerate(graph.node):
        for name, body in subgraphs(node).items():
            inner, reads = _count(body, f"{path}{place}/{name}/")
            counts |= inner
            _mark(read, *reads.items())
    _read(graph, held, read)
    packed = dict(_packed(graph))
    for name, constant in held.items():
        if _is_parameter(constant, read.get(name, 0)):
            counts[path + name] = packed.get(name, constant.size)
    for name in _written_twice(graph, held):
        counts.pop(path + name, None)
    return counts, read


def _is_parameter(constant: Constant, read: int) -> bool:
    if not read or constant.integer_bits > _BIAS_BITS:
        return False
    if not constant.initializer:
        return read == _AS_WEIGHT and not constant.uniform()
    return read == _AS_WEIGHT or (constant.floating and len(constant.shape) > 0)


def _read(graph: "onnx.GraphProto", held: Mapping[str, Constant], read: dict[str, int]) -> None:
    """Note how each tensor is read, from the last node back, so that the use of a moved tensor is already known."""
    products = {name for node in graph.node if node.op_type in _PRODUCTS for name in node.output}
    scales = {node.output[1] for node in graph.node if node.op_type == "DynamicQuantizeLinear"}
    for node in reversed(graph.node):
        _mark(read, *((node.input[place], _AS_WEIGHT) for place in _places(node) if place < len(node.input)))
        if node.op_type in _BY_ELEMENT and scales.isdisjoint(node.input):
            bias = node.op_type == "Add" and not products.isdisjoint(node.input)
            _mark(read, *((name, _AS_WEIGHT if bias and _is_vector(name, held) else _PLAINLY) for name in node.input))
        if node.op_type in ("Gather", "Concat"):
            _mark(read, *(reading for name in _moved(node) for reading in _as_rows(name, held)))
        use = max((read.get(name, 0) for name in node.output), default=0)
        if node.op_type in _MOVES and use:
            _mark(read, *((name, _AS_WEIGHT if node.op_type == "DequantizeLinear" else use) for name in _moved(node)))


def _mark(read: dict[str, int], *readings: tuple[str, int]) -> None:
    for name, use in readings:
        read[name] = max(use, read.get(name, 0))


def _places(node: "onnx.NodeProto") -> Sequence[int]:
    if node.op_type == "Attention" and node.domain:
        return (1, 2)
    return _ROLES.get(node.op_type, ())


def _moved(node: "onnx.NodeProto") -> Sequence[str]:
    return list(node.input) if node.op_type == "Concat" else list(node.input[:1])


def _is_vector(name: str, held: Mapping[str, Constant]) -> bool:
    return name in held and len(held[name].shape) > 0


def _as_rows(name: str, held: Mapping[str, Constant]) -> Iterator[tuple[str, int]]:
    """Yield how a table is read: as a weight where it is an initializer of numbers, not of indices or sizes."""
    if name not in held:
        yield name, _PLAINLY
        return
    table = held[name]
    if len(table.shape) >= _TABLE_RANK and table.initializer and (table.floating or table.low_bit):
        yield name, _AS_WEIGHT


def _packed(graph: "onnx.GraphProto") -> Iterator[tuple[str, int]]:
    """Yield the weights whose numbers share bytes, each with the count of its numbers."""
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            sizes = {item.name: item.i for item in node.attribute}
            yield node.input[1], sizes["K"] * sizes["N"]


def _written_twice(graph: "onnx.GraphProto", held: Mapping[str, Constant]) -> Iterator[str]:
    """Yield the weights of matrix products that repeat an embedding table of the graph, transposed."""
    tables = [node.input[0] for node in graph.node if node.op_type == "Gather" and node.input[0] in held]
    weights = [node.input[1] for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in held]
    for table in dict.fromkeys(tables):
        shape = held[table].shape
        for weight in dict.fromkeys(weights):
            fits = len(shape) == _TABLE_RANK and held[weight].shape == shape[::-1] and weight != table
            if fits and held[weight].is_transposed(held[table]):
                yield weight
