"""Read the tensors of an ONNX graph with the output channels in front; quantized ones as what they stand for."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.instruments.weights.layer_tensor import LayerTensor, Role, steps
from titrant.runtime.instruments.weights.unpacked import unpacked

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

_MATRIX = 2
# What reads scales and zero points beside a quantized weight.
_SCALED = (
    "DequantizeLinear", "DynamicQuantizeMatMul", "GatherBlockQuantized", "MatMulIntegerToFloat", "MatMulNBits",
    "QAttention", "QGemm", "QLinearConv", "QLinearMatMul", "QuantizeLinear",
)  # fmt: skip
# Operators whose weight has its output channels first, and those that look rows up.
_FIRST = (
    "Conv", "ConvInteger", "DeformConv", "FusedConv", "MatMulNBits", "QLinearConv", "GRU", "LSTM", "RNN",
    "DynamicQuantizeLSTM",
)  # fmt: skip
_LOOKUPS = ("EmbedLayerNormalization", "Gather", "GatherBlockQuantized", "GatherElements", "GatherND")
_TRANSPOSED = ("ConvTranspose",)
_RECURRENT = ("GRU", "LSTM", "RNN", "DynamicQuantizeLSTM")
# Operator → what its operands of one dimension are.
_VECTORS: dict[str, dict[int, Role]] = {
    "BatchNormalization": {1: "scale", 2: "bias", 3: "mean", 4: "variance"},
    "InstanceNormalization": {1: "scale", 2: "bias"},
    "GroupNormalization": {1: "scale", 2: "bias"},
    "LayerNormalization": {1: "scale", 2: "bias"},
    "RMSNormalization": {1: "scale"},
    "SimplifiedLayerNormalization": {1: "scale"},
    "SkipLayerNormalization": {2: "scale", 3: "bias", 4: "bias"},
    "SkipSimplifiedLayerNormalization": {2: "scale"},
}


def graph_tensors(model: "onnx.ModelProto", folder: Path) -> Iterator[LayerTensor]:
    """Yield the weights of a graph in the order of its nodes, then its vectors with fractions, each once.

    `folder` is where the file lies, whose weights may stand outside it: they are read one at a time. Constants of whole
    numbers that are no weights, and single numbers, are left out.
    """
    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

    names = GraphNames.of(model.graph)
    seen: set[str] = set()
    for node, weight in names.weights.items():
        if weight not in seen:
            seen.add(weight)
            yield weight_of(names, node, weight, folder)
    for name, node in names.nodes.items():
        for place, tensor in enumerate(node.input):
            held = names.constants.get(tensor)
            if held is None or tensor in seen or not _is_vector(held):
                continue
            seen.add(tensor)
            role = _VECTORS.get(node.op_type, {}).get(place, "bias" if len(held.dims) < _MATRIX else "table")
            role = "other" if node.op_type in _SCALED else role
            yield _vector(tensor, layer_of(tensor, name), role, held, folder, node.op_type)


def weight_of(names: "GraphNames", node: str, weight: str, folder: Path) -> LayerTensor:
    """Return the weight that a node multiplies by or looks up in, as a matrix with output channels in front."""
    import onnx

    proto, held = names.nodes[node], names.constants[weight]
    role: Role = "table" if proto.op_type in _LOOKUPS else "weight"
    shape = _packed_shape(proto) or tuple(held.dims)
    axis = _axis(names, node, weight)
    channels = _channels(proto, shape, axis)
    each = max(1, _count(shape) // max(1, channels))

    def blocks() -> "Iterator[np.ndarray]":
        import numpy as np

        values = unpacked(names, node, weight, folder)
        if proto.op_type in _RECURRENT:
            values = values.reshape(-1, values.shape[-1])
        moved = np.moveaxis(values, axis, 0) if proto.op_type not in _RECURRENT else values
        for first, end in steps(channels, each):
            yield moved[first:end].reshape(end - first, -1).astype(_floating(values.dtype), copy=False)

    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(held.data_type))
    return LayerTensor(weight, layer_of(weight, node), role, dtype, shape, channels, blocks, proto.op_type)


def layer_of(tensor: str, node: str) -> str:
    """Return the module whose parameter a tensor is named after, else the node that reads it."""
    named = "." in tensor and "::" not in tensor and "/" not in tensor
    return tensor.rpartition(".")[0] if named else node


def _packed_shape(node: "onnx.NodeProto") -> tuple[int, ...]:
    """Return the shape of a weight of few bits, (output channels, inputs); () for one that is stored in its own."""
    if node.op_type != "MatMulNBits":
        return ()
    sizes = {item.name: item.i for item in node.attribute}
    return sizes["N"], sizes["K"]


def _channels(node: "onnx.NodeProto", shape: tuple[int, ...], axis: int) -> int:
    if node.op_type in _RECURRENT:
        return _count(shape[:-1])
    return shape[axis]


def _axis(names: "GraphNames", node: str, weight: str) -> int:
    """Return which dimension of a stored weight its output channels are."""
    proto = names.nodes[node]
    dimensions = len(names.constants[weight].dims)
    attributes = {item.name: item.i for item in proto.attribute}
    if proto.op_type in _FIRST or proto.op_type in _LOOKUPS or dimensions < _MATRIX:
        return 0
    if proto.op_type in _TRANSPOSED:
        return 1 if attributes.get("group", 1) == 1 else 0
    first = names.constant(proto.input[0]) == weight
    turned = bool(attributes.get("transA" if first else "transB", 0)) != _turned(names, node, weight)
    last = dimensions - 1
    return last - 1 if turned != first else last


def _turned(names: "GraphNames", node: str, weight: str) -> bool:
    """Whether a weight is transposed on its way to the node."""
    tensor = next((name for name in names.nodes[node].input if names.constant(name) == weight), weight)
    turned = False
    while tensor not in names.constants:
        maker = names.nodes[names.makers[tensor]]
        turned ^= maker.op_type == "Transpose"
        tensor = maker.input[0]
    return turned


def _is_vector(held: "onnx.TensorProto") -> bool:
    import onnx

    types = onnx.TensorProto
    floats = (types.FLOAT, types.FLOAT16, types.BFLOAT16, types.DOUBLE)
    return held.data_type in floats and _count(tuple(held.dims)) > 1


def _vector(name: str, layer: str, role: Role, held: "onnx.TensorProto", folder: Path, kind: str) -> LayerTensor:
    import onnx

    shape = tuple(held.dims)

    def blocks() -> "Iterator[np.ndarray]":
        from onnx import numpy_helper

        values = numpy_helper.to_array(held, base_dir=str(folder))
        yield values.reshape(1, -1).astype(_floating(values.dtype), copy=False)

    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(held.data_type))
    return LayerTensor(name, layer, role, dtype, shape, 1, blocks, kind)


def _floating(dtype: "np.dtype") -> str:
    return "float64" if str(dtype) == "float64" else "float32"


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
