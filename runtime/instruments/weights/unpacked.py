"""Return the numbers that a quantized weight of an ONNX graph stands for, however its scale is written down."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

# Operator → the places of a weight, its scale and its zero point among the operands.
_SCALED = {
    "QLinearConv": (3, 4, 5), "QLinearMatMul": (3, 4, 5), "QGemm": (3, 4, 5), "DynamicQuantizeMatMul": (1, 2, 3),
    "MatMulIntegerToFloat": (1, 3, 5), "QAttention": (1, 4, 7),
}  # fmt: skip
# Operators of whole numbers whose scale is multiplied by afterwards → the place of the weight's zero point.
_AFTERWARDS = {"ConvInteger": 3, "MatMulInteger": 3}
_UNPACKS = "DequantizeLinear"
# What stands between such a product and its scale.
_PASSES, _STEPS_BEHIND = ("Add", "Cast", "Reshape"), 4
_BYTE = 8


def unpacked(names: "GraphNames", node: str, weight: str, folder: Path) -> "np.ndarray":
    """Return a weight of a node in its stored shape, multiplied out where it is quantized.

    Those of few bits (`MatMulNBits`) come as (output channels, inputs). Whole numbers whose scale is nowhere stay as
    they are. `folder` holds weights outside the file.
    """
    import numpy as np

    proto = names.nodes[node]
    if proto.op_type == "MatMulNBits":
        return _of_few_bits(names, proto, folder)
    values = _array(names, weight, folder)
    if values.dtype.kind == "f" or str(values.dtype) == "bfloat16":
        return values
    scale, zero, axis, block = _scale(names, proto, weight, folder)
    if scale is None:
        return values.astype(np.float32)
    if block:
        scale = np.repeat(scale, block, axis=axis).take(range(values.shape[axis]), axis=axis)
        zero = None if zero is None else np.repeat(zero, block, axis=axis).take(range(values.shape[axis]), axis=axis)
    shape = [1] * values.ndim
    if scale.ndim == 1 and scale.size > 1:
        shape[axis] = scale.size
        scale = scale.reshape(shape)
        zero = zero.reshape(shape) if zero is not None and zero.size > 1 else zero
    moved = values.astype(np.float32)
    if zero is not None:
        moved -= zero.astype(np.float32)
    moved *= scale.astype(np.float32)
    return moved


def _scale(
    names: "GraphNames", node: "onnx.NodeProto", weight: str, folder: Path
) -> "tuple[np.ndarray | None, np.ndarray | None, int, int]":
    """Return a weight's scale and zero point, None where there is none, the dimension they go along, and the block."""
    held = next((name for name in node.input if names.constant(name) == weight), weight)
    while held not in names.constants:
        maker = names.nodes[names.makers[held]]
        if maker.op_type == _UNPACKS:
            attributes = {item.name: item.i for item in maker.attribute}
            zero = maker.input[2] if len(maker.input) > 2 else ""
            axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
            return _maybe(names, maker.input[1], folder), _maybe(names, zero, folder), axis, block
        held = maker.input[0]
    last = len(names.constants[weight].dims) - 1
    if node.op_type in _SCALED:
        _, scale_at, zero_at = _SCALED[node.op_type]
        axis = 0 if node.op_type == "QLinearConv" or _transposed(node) else last
        return _maybe(names, _operand(node, scale_at), folder), _maybe(names, _operand(node, zero_at), folder), axis, 0
    axis = 0 if node.op_type == "ConvInteger" else last
    zero = _maybe(names, _operand(node, _AFTERWARDS.get(node.op_type, len(node.input))), folder)
    return _maybe(names, _later_scale(names, node), folder), zero, axis, 0


def _later_scale(names: "GraphNames", node: "onnx.NodeProto") -> str:
    """Name the constant that a product of whole numbers is multiplied by, with the input's scale or not."""
    tensor = node.output[0]
    for _ in range(_STEPS_BEHIND):
        readers = [names.nodes[name] for name in names.readers.get(tensor, ())]
        for reader in readers:
            if reader.op_type == "Mul":
                others = [name for name in reader.input if name != tensor]
                return next((scale for name in others for scale in _constants(names, name)), "")
        passed = next((reader for reader in readers if reader.op_type in _PASSES), None)
        if passed is None:
            return ""
        tensor = passed.output[0]
    return ""


def _constants(names: "GraphNames", tensor: str) -> "list[str]":
    """List the constants that a scale is, or is a product of."""
    if own := names.constant(tensor):
        return [own]
    maker = names.nodes.get(names.makers.get(tensor, ""))
    if maker is None or maker.op_type != "Mul":
        return []
    return [held for name in maker.input if (held := names.constant(name))]


def _transposed(node: "onnx.NodeProto") -> bool:
    return any(item.name == "transB" and item.i for item in node.attribute)


def _operand(node: "onnx.NodeProto", place: int) -> str:
    return node.input[place] if place < len(node.input) else ""


def _maybe(names: "GraphNames", tensor: str, folder: Path) -> "np.ndarray | None":
    constant = names.constant(tensor) if tensor else ""
    return _array(names, constant, folder) if constant else None


def _array(names: "GraphNames", constant: str, folder: Path) -> "np.ndarray":
    from onnx import numpy_helper

    return numpy_helper.to_array(names.constants[constant], base_dir=str(folder))


def _of_few_bits(names: "GraphNames", node: "onnx.NodeProto", folder: Path) -> "np.ndarray":
    """Multiply out onnxruntime's MatMulNBits: (out, blocks, bytes of a block), numbers packed low bits first."""
    import numpy as np

    sizes = {item.name: item.i for item in node.attribute}
    inputs, outputs, bits, block = sizes["K"], sizes["N"], sizes.get("bits", 4), sizes["block_size"]
    packed = _array(names, names.constant(node.input[1]), folder)
    whole = _bits(packed.reshape(outputs, -1), bits).reshape(outputs, -1, block).astype(np.float32)
    blocks = whole.shape[1]
    scales = _array(names, names.constant(node.input[2]), folder).astype(np.float32).reshape(outputs, blocks, 1)
    zero = _maybe(names, _operand(node, 3), folder)
    if zero is None:
        zeros: np.ndarray | float = float(1 << bits - 1)
    elif zero.dtype.kind == "f":
        zeros = zero.astype(np.float32).reshape(outputs, blocks, 1)
    else:
        zeros = _bits(zero.reshape(outputs, -1), bits)[:, :blocks].astype(np.float32)[:, :, None]
    return ((whole - zeros) * scales).reshape(outputs, -1)[:, :inputs]


def _bits(packed: "np.ndarray", bits: int) -> "np.ndarray":
    """Unpack bytes (rows, bytes) into numbers (rows, bytes x 8 / bits), low bits first."""
    import numpy as np

    parts: Sequence[np.ndarray] = [(packed >> shift) & ((1 << bits) - 1) for shift in range(0, _BYTE, bits)]
    return np.stack(parts, axis=-1).reshape(len(packed), -1)
