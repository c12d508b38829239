"""Count the FLOPs of ONNX nodes, two per multiply-add."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv", "FusedConv")
_PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul")


def node_flops(node: "onnx.NodeProto", shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the FLOPs of a convolution or matrix product; None for other nodes and where shapes are not known."""
    out = shapes.get(node.output[0]) if node.output else None
    # QLinear operators have scale and zero point between the data and the weight.
    weight = shapes.get(node.input[3 if node.op_type.startswith("QLinear") else 1]) if len(node.input) > 1 else None
    data = shapes.get(node.input[0]) if node.input else None
    if out is None or weight is None:
        return None
    if node.op_type in _CONVOLUTIONS:
        return 2 * math.prod(out) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose" and data is not None:
        return 2 * math.prod(data) * math.prod(weight[1:])
    if node.op_type == "Gemm":
        transposed = any(item.name == "transB" and item.i for item in node.attribute)
        return 2 * math.prod(out) * weight[1 if transposed else 0]
    if node.op_type in _PRODUCTS:
        return 2 * math.prod(out) * weight[-2 if len(weight) > 1 else 0]
    return None
