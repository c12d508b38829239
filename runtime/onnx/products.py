"""Tell which nodes of a graph have constant weights."""

from collections.abc import Iterable

import onnx  # noqa: TID253 - its very subject

PRODUCTS = ("MatMul", "Gemm")
WEIGHTED = (*PRODUCTS, "Conv", "ConvTranspose")


def weighted_nodes(model: onnx.ModelProto, types: Iterable[str] = WEIGHTED) -> list[str]:
    """Name the nodes of some types whose second input is a constant of two or more dimensions in fp32."""
    constants = {one.name for one in model.graph.initializer if len(one.dims) > 1 and one.data_type == 1}
    constants |= {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value" and len(attribute.t.dims) > 1 and attribute.t.data_type == 1
    }
    return [
        node.name
        for node in model.graph.node
        if node.op_type in types and len(node.input) > 1 and node.input[1] in constants
    ]


def count(model: onnx.ModelProto, *types: str) -> int:
    """Count the nodes of some types."""
    return sum(node.op_type in types for node in model.graph.node)
