"""Write means over all pixels as global pooling, which has an int8 kernel where ReduceMean has none."""

from typing import Any

import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

PIXELS = (2, 3)


def pooled(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with every mean over the last two of four dimensions as GlobalAveragePool.

    The sums are the same; where the mean drops the dimensions, a Flatten follows.
    """
    inferred = onnx.shape_inference.infer_shapes(graph)
    ranks = _ranks(inferred.graph)
    constants = {one.name: one for one in inferred.graph.initializer}
    nodes = []
    for node in inferred.graph.node:
        if node.op_type == "ReduceMean" and ranks.get(node.input[0]) == 4 and _axes(node, constants) == PIXELS:
            nodes += _as_pool(node)
        else:
            nodes.append(node)
    del inferred.graph.node[:]
    inferred.graph.node.extend(nodes)
    return inferred


def _ranks(graph: onnx.GraphProto) -> dict[str, int]:
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _axes(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> tuple[int, ...] | None:
    """Return the axes of a mean over four dimensions, counted from the first; None where they are computed."""
    axes = _attribute(node, "axes")
    if axes is None and len(node.input) > 1 and node.input[1] in constants:
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
    return None if axes is None else tuple(sorted(int(axis) % 4 for axis in axes))


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), None)


def _as_pool(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    [answer] = node.output
    if _attribute(node, "keepdims") in (None, 1):
        return [helper.make_node("GlobalAveragePool", [node.input[0]], [answer], name=node.name)]
    return [
        helper.make_node("GlobalAveragePool", [node.input[0]], [f"{answer}_pooled"], name=f"{node.name}_pooled"),
        helper.make_node("Flatten", [f"{answer}_pooled"], [answer], name=node.name, axis=1),
    ]
