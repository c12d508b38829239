"""Count the parameters of an ONNX graph, list them by name, and read the numbers of one at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.onnxruntime.graph import subgraphs
from titrant.runtime.inspect.graph.constants import Constant, constants

if TYPE_CHECKING:
    import onnx

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


@dataclass(frozen=True)
class GraphTensor:
    """A tensor that a file holds; `parameters` counts those of its numbers that are parameters.

    `tied` names the tensor before it whose numbers, outside of the file, are its own too.
    """

    name: str
    constant: Constant
    parameters: int
    tied: str = ""


def inlined(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Inline the model's own functions, so that their nodes are seen."""
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model) if model.functions else model


def graph_tensors(graph: "onnx.GraphProto", counts: Mapping[str, int]) -> Iterator[GraphTensor]:
    """Yield the tensors that are parameters by `counts`, and the other fractions of one dimension or more.

    Those in the body of a loop or a branch have the place of its node before their names, as `counts` has.
    """
    first: dict[tuple[tuple[str, str], ...], str] = {}
    for name, constant in _named(graph, ""):
        weighs = constant.floating and len(constant.shape) > 0 and constant.initializer
        if name in counts or weighs:
            outside = tuple((item.key, item.value) for item in constant.tensor.external_data if item.key != "checksum")
            before = first.setdefault(outside, name) if outside else name
            yield GraphTensor(name, constant, counts.get(name, 0), "" if before == name else before)


def _named(graph: "onnx.GraphProto", path: str) -> Iterator[tuple[str, Constant]]:
    for name, constant in constants(graph).items():
        yield path + name, constant
    for place, node in enumerate(graph.node):
        for name, body in subgraphs(node).items():
            yield from _named(body, f"{path}{place}/{name}/")


def numbers_of(constant: Constant, folder: Path) -> Any:
    """Return a tensor's numbers as an array, from its file in `folder` where they stand outside; None of sparse ones.

    Raises OSError and ValueError for a file that is missing or too short.
    """
    from onnx import numpy_helper

    tensor = constant.tensor
    lists = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    held = tensor.HasField("raw_data") or len(tensor.external_data) > 0 or any(map(len, lists))
    return numpy_helper.to_array(tensor, str(folder)) if held or not constant.size else None


def count_parameters(graph: "onnx.GraphProto", held: Mapping[str, Constant]) -> dict[str, int]:
    """Count the parameters of a graph with its constants by the name of the tensor that holds them, each tensor once.

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
    return _count(graph, held, "")[0]


def _count(graph: "onnx.GraphProto", held: Mapping[str, Constant], path: str) -> tuple[dict[str, int], dict[str, int]]:
    """Count a graph's parameters; return them, and how it and the graphs in it read each tensor, by name."""
    counts, read = dict[str, int](), dict[str, int]()
    for place, node in enumerate(graph.node):
        for name, body in subgraphs(node).items():
            inner, reads = _count(body, constants(body), f"{path}{place}/{name}/")
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
    nodes = list(graph.node)
    products = {name for node in nodes if node.op_type in _PRODUCTS for name in node.output}
    scales = {node.output[1] for node in nodes if node.op_type == "DynamicQuantizeLinear"}
    for node in reversed(nodes):
        kind = node.op_type
        if places := _places(node):
            _mark(read, *((node.input[place], _AS_WEIGHT) for place in places if place < len(node.input)))
        elif kind in _BY_ELEMENT and scales.isdisjoint(node.input):
            bias = kind == "Add" and not products.isdisjoint(node.input)
            _mark(read, *((name, _AS_WEIGHT if bias and _is_vector(name, held) else _PLAINLY) for name in node.input))
        elif kind in ("Gather", "Concat"):
            _mark(read, *(reading for name in _moved(node) for reading in _as_rows(name, held)))
        if kind in _MOVES and (use := max((read.get(name, 0) for name in node.output), default=0)):
            _mark(read, *((name, _AS_WEIGHT if kind == "DequantizeLinear" else use) for name in _moved(node)))


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


def repeated_bytes(graph: "onnx.GraphProto", held: Mapping[str, Constant]) -> int:
    """Return the bytes of constants of two or more axes, read by elementwise nodes alone, that repeat earlier ones.

    `held` are the graph's constants.
    """
    from onnx import TensorProto, numpy_helper

    others, operands = set[str](), set[str]()
    for node in graph.node:
        (operands if node.op_type in _BY_ELEMENT else others).update(node.input)
    operands -= others
    read = [constant for name, constant in held.items() if name in operands and len(constant.shape) >= _TABLE_RANK]
    inside = [each.tensor for each in read if each.floating and each.tensor.data_location != TensorProto.EXTERNAL]
    numbers = [((tensor.data_type, *tensor.dims), numpy_helper.to_array(tensor).tobytes()) for tensor in inside]
    return sum(len(held) for _, held in numbers) - sum(len(held) for _, held in {*numbers})
