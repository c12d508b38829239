"""Tell which layer of the original an operation of an OpenVINO graph computes, by the ONNX node that it is made of."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import openvino

# What OpenVINO and NNCF put behind the name of a node that they make several operations of.
_BEHIND = ("/WithoutBiases", "/DequantizationMultiply", "/DequantizationSubtract", "/fq_output_0", "/fq_input_0")


SEQUENCES = {"LSTMSequence": "LSTM", "GRUSequence": "GRU", "RNNSequence": "RNN"}
# Operations that multiply by weights, or look rows up in them.
MULTIPLY = (
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul", "Gather",
    *SEQUENCES,
)  # fmt: skip
_NO_NODES = ("Parameter", "Result", "Constant")


def name_as(graph: "openvino.Model", source: "onnx.ModelProto") -> None:
    """Call operations as the ONNX nodes whose answers they make: an output's own name hides that of its node."""
    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

    names = GraphNames.of(source.graph)
    recurrent: dict[str, list[openvino.Node]] = {}
    for operation in graph.get_ordered_ops():
        kind = operation.get_type_name()
        if kind in SEQUENCES:
            recurrent.setdefault(SEQUENCES[kind], []).append(operation)
        elif kind not in _NO_NODES:
            tensors = (name for port in operation.outputs() for name in port.get_names())
            # A product before its bias is called after the tensor of both where nobody named the node.
            before = operation.get_friendly_name().removesuffix(_BEHIND[0])
            if before != operation.get_friendly_name() and before in names.makers:
                operation.set_friendly_name(f"{names.makers[before]}{_BEHIND[0]}")
            if name := min((names.makers[tensor] for tensor in tensors if tensor in names.makers), default=""):
                operation.set_friendly_name(name)
    # What a recurrent node answers is turned and cut by others, which have its name.
    for kind, operations in recurrent.items():
        nodes = [name for name, node in names.nodes.items() if node.op_type == kind]
        if len(nodes) == len(operations):
            for operation, name in zip(operations, nodes, strict=True):
                operation.set_friendly_name(f"{name}{_BEHIND[0]}")


def telling_weights(source: "onnx.ModelProto") -> dict[str, str]:
    """Return {node: weight} where a weight's name says what its node's does not: of which module inside it is."""
    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

    weights = GraphNames.of(source.graph).weights
    return {
        node: weight
        for node, weight in weights.items()
        if "." in weight and "::" not in weight and weight.split(".")[-2] not in node.split("/")
    }


def layers_of(operations: Collection[str], layers: Collection[str], weights: Mapping[str, str]) -> dict[str, str]:
    """Return {operation: layer} of every operation that computes one of the original's layers.

    Operations have the names of the ONNX nodes that they are made of, with something behind. `layers` are modules, or
    nodes of the original's own graph; `weights` are `telling_weights`.
    """
    if not layers:
        return {}
    from onnx import TensorProto, helper

    from titrant.runtime.backends.onnxruntime.layer_names import layers_by_node

    nodes = {operation: node_of(operation) for operation in operations}
    # The names are read as those of a graph of such nodes, with weights that mostly nobody named.
    read = {name: weights.get(name, f"onnx::MatMul_{place}") for place, name in enumerate(sorted(set(nodes.values())))}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", weight], [f"onnx::{weight}"], name=name) for name, weight in read.items()],
        "names",
        [],
        [],
        [TensorProto(name=weight, dims=[1, 1], data_type=1) for weight in read.values()],
    )
    found_by_node = layers_by_node(graph, layers, inside=True)
    return {operation: found_by_node[node] for operation, node in nodes.items() if node in found_by_node}


def node_of(operation: str) -> str:
    """Return the name of the ONNX node that an operation is made of."""
    name = operation
    while behind := next((suffix for suffix in _BEHIND if name.endswith(suffix)), ""):
        name = name.removesuffix(behind)
    return name
