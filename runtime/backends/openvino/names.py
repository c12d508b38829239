"""Tell which layer of the original an operation of an OpenVINO graph computes, by the ONNX node that it is made of."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import openvino

    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

# What OpenVINO and NNCF put behind the name of a node that they make several operations of.
_BEHIND = ("/WithoutBiases", "/DequantizationMultiply", "/DequantizationSubtract", "/fq_output_0", "/fq_input_0")


SEQUENCES = {"LSTMSequence": "LSTM", "GRUSequence": "GRU", "RNNSequence": "RNN"}
# Operations that multiply by weights, or look rows up in them.
MULTIPLY = (
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul", "Gather",
    *SEQUENCES,
)  # fmt: skip
NO_NODES = ("Parameter", "Result", "Constant")
# What OpenVINO calls an operation of its own: a kind, not always its own, and a counter of the process.
_COUNTED = re.compile(r"[A-Z]\w*_\d+")
# What torch's exporter puts behind the name of a module that it comes to again.
_AGAIN = re.compile(r"_\d+$")
# Where OpenVINO notes which operations it made one of.
FUSED = "fused_names_0"


def with_bodies(graph: "openvino.Model") -> "Iterator[openvino.Model]":
    """Yield a graph and those inside it: the bodies of loops and the branches of decisions."""
    yield graph
    for operation in graph.get_ordered_ops():
        if operation.get_type_name() in ("Loop", "TensorIterator"):
            yield from with_bodies(operation.get_function())
        elif operation.get_type_name() == "If":
            yield from with_bodies(operation.get_function(0))
            yield from with_bodies(operation.get_function(1))


def name_as(graph: "openvino.Model", source: "onnx.ModelProto") -> None:
    """Call operations as the ONNX nodes whose answers they make: an output's own name hides that of its node.

    What is made of no node is called after its place: OpenVINO's own names hold a counter of the process, and what is
    folded into a product gives it such a name.
    """
    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

    names = GraphNames.of(source.graph)
    for part in with_bodies(graph):
        _name_part(part, names)


def _name_part(graph: "openvino.Model", names: "GraphNames") -> None:
    recurrent: dict[str, list[openvino.Node]] = {}
    folded: list[openvino.Node] = []
    for place, operation in enumerate(graph.get_ordered_ops()):
        kind = operation.get_type_name()
        if kind in SEQUENCES:
            recurrent.setdefault(SEQUENCES[kind], []).append(operation)
        elif kind not in NO_NODES:
            # A product before its bias is called after the tensor of both where nobody named the node.
            before = operation.get_friendly_name().removesuffix(_BEHIND[0])
            if before != operation.get_friendly_name() and before in names.makers:
                operation.set_friendly_name(f"{names.makers[before]}{_BEHIND[0]}")
            if name := _maker(operation, names):
                operation.set_friendly_name(name)
            called = operation.get_friendly_name()
            if _COUNTED.fullmatch(called) and (not name or called not in names.nodes):
                operation.set_friendly_name(free(f"{kind}_{place}", names.nodes))
            if _has_weights(operation) and node_of(operation.get_friendly_name()) not in names.weights:
                folded.append(operation)
    # What a recurrent node answers is turned and cut by others, which have its name.
    for kind, operations in recurrent.items():
        nodes = [name for name, node in names.nodes.items() if node.op_type == kind]
        if len(nodes) == len(operations):
            for operation, name in zip(operations, nodes, strict=True):
                operation.set_friendly_name(f"{name}{_BEHIND[0]}")
    _name_folded(graph, folded, names)


def _has_weights(operation: "openvino.Node") -> bool:
    """Whether an operation multiplies by a constant or looks rows up in one, as they are or unpacked from 16 bits."""
    makers = [value.get_node() for value in operation.input_values()]
    makers += [maker.input_value(0).get_node() for maker in makers if maker.get_type_name() == "Convert"]
    constant = any(maker.get_type_name() == "Constant" for maker in makers)
    return constant and operation.get_type_name() in MULTIPLY


def _maker(operation: "openvino.Node", names: "GraphNames") -> str:
    """Return the node whose answer an operation makes; of several, which only pass it on, the one with weights."""
    tensors = (name for port in operation.outputs() for name in port.get_names())
    made = sorted(names.makers[tensor] for tensor in tensors if tensor in names.makers)
    return min(made, key=lambda name: name not in names.weights, default="")


def _name_folded(graph: "openvino.Model", folded: Sequence["openvino.Node"], names: "GraphNames") -> None:
    """Name products that what stood behind them was folded into, so that no operation makes their own answer.

    OpenVINO notes what it fused into an operation. Where it did not, the product lies on the way back from the nearest
    answer that is one of the file's.
    """
    taken = {node_of(operation.get_friendly_name()) for operation in graph.get_ordered_ops()}
    for operation in folded:
        noted = _fused(operation)
        nodes = (name if name in names.nodes else names.makers.get(name, "") for name in noted)
        heavy = [name for name in nodes if name in names.weights] or [
            name for maker in _makers_ahead(operation, names) for name in names.nearest(maker)
        ]
        if name := next((name for name in heavy if name not in taken), ""):
            operation.set_friendly_name(f"{name}{_BEHIND[0]}")
            taken.add(name)


def _fused(operation: "openvino.Node") -> list[str]:
    about = operation.get_rt_info()
    return str(about[FUSED].astype(str)).split(",") if FUSED in about else []


def _makers_ahead(operation: "openvino.Node", names: "GraphNames") -> Iterator[str]:
    """Yield the nodes whose answers are made of an operation's, the nearest first, up to the next products."""
    waiting, seen = [operation], {operation.get_name()}
    while waiting:
        for port in waiting.pop(0).outputs():
            for reader in (target.get_node() for target in port.get_target_inputs()):
                maker = _maker(reader, names)
                if maker and maker not in names.weights:
                    yield maker
                elif not maker and reader.get_type_name() not in MULTIPLY and reader.get_name() not in seen:
                    waiting.append(reader)
                seen.add(reader.get_name())


def nodes_of(source: "onnx.ModelProto") -> frozenset[str]:
    """Return the names of an ONNX file's nodes; those without a name are called after their operator and place."""
    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

    return frozenset(GraphNames.of(source.graph).nodes)


def telling_weights(source: "onnx.ModelProto") -> dict[str, str]:
    """Return {node: weight} where a weight's name says what its node's does not: of which module inside it is.

    Of a weight that another module shares it says so of the calls of its own module alone, the second being `/name_1/`.
    """
    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

    weights = {
        node: weight
        for node, weight in GraphNames.of(source.graph).weights.items()
        if "." in weight and "::" not in weight
    }
    called = {weight for node, weight in weights.items() if weight.split(".")[-2] in node.split("/")}
    return {
        node: weight
        for node, weight in weights.items()
        if (module := weight.split(".")[-2]) not in node.split("/")
        and (weight not in called or module in (_AGAIN.sub("", part) for part in node.split("/")))
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


def free(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken yet: itself, or with something behind."""
    while name in taken:
        name = f"{name}_made"
    return name
