"""Matrix products and convolutions with constant weights: which there are, and Gemm written as MatMul."""

from collections.abc import Iterable, Iterator

import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

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


def without_gemm(model: onnx.ModelProto) -> None:
    """Write each plain Gemm with constant weights as MatMul and Add, in place.

    onnxruntime's dynamic quantization does the same, but transposes a weight once for every Gemm that reads it: two
    layers that share a square weight would then answer with it untransposed.
    """
    weights = {one.name: one for one in model.graph.initializer}
    transposed: dict[str, str] = {}
    nodes = [part for node in model.graph.node for part in _as_matmul(node, weights, transposed)]
    for name, new in transposed.items():
        array = numpy_helper.to_array(weights[name]).T.copy()
        model.graph.initializer.append(numpy_helper.from_array(array, new))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input} | {one.name for one in model.graph.output}
    kept = [one for one in model.graph.initializer if one.name in read or one.name not in transposed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _as_matmul(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], transposed: dict[str, str]
) -> Iterator[onnx.NodeProto]:
    settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    scaled = settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0 or settings.get("transA", 0)
    if node.op_type != "Gemm" or scaled or node.input[1] not in weights:
        yield node
        return
    weight = node.input[1]
    if settings.get("transB", 0):
        weight = transposed.setdefault(weight, f"{weight}_transposed")
    biased = len(node.input) > 2 and node.input[2] != ""
    product = f"{node.output[0]}_product" if biased else node.output[0]
    yield helper.make_node("MatMul", [node.input[0], weight], [product], f"{node.name}_product")
    if biased:
        yield helper.make_node("Add", [product, node.input[2]], [node.output[0]], f"{node.name}_bias")
