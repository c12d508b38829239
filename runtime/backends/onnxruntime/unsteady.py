"""Read from an ONNX file which nodes draw random numbers, are in training mode, or find scales from the batch."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.backend import DRAWS, SCALES, TRAINS

if TYPE_CHECKING:
    import onnx

_SAMPLES = (
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
)  # fmt: skip
# One scale for the whole tensor, found as it runs; blocks of a row (MatMulNBits) have scales of their own.
_SCALING = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")
_TRAINING_INPUT = 2  # place of a Dropout's `training_mode`
_STANDARD = ("", "ai.onnx")
# Before this operator set batch normalization was in training mode where it also gave its figures away.
_TRAINING_MODE_SINCE = 14


def unsteady(model: Any) -> Mapping[str, str]:
    """Return {node: DRAWS, TRAINS or SCALES}, of nested graphs and functions as well."""
    import onnx

    # Without the files beside it: their weights do not matter here.
    proto = onnx.load(model.path, load_external_data=False)
    version = max((item.version for item in proto.opset_import if item.domain in _STANDARD), default=1)
    graphs: tuple[Iterable[onnx.NodeProto], ...] = (proto.graph.node, *(made.node for made in proto.functions))
    constants = _false_constants(proto)
    nodes = (node for graph in graphs for node in _nodes(graph))
    named = ((node.name or f"{node.op_type}_{place}", node) for place, node in enumerate(nodes))
    return {name: why for name, node in named if (why := _why(node, version, constants))}


def _nodes(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[onnx.NodeProto]":
    for node in nodes:
        yield node
        for item in node.attribute:
            for graph in (item.g, *item.graphs):
                yield from _nodes(graph.node)


def _why(node: "onnx.NodeProto", version: int, off: frozenset[str]) -> str:
    if node.op_type in _SCALING:
        return SCALES
    if node.domain not in _STANDARD:
        return ""
    if node.op_type in _SAMPLES:
        return DRAWS
    if node.op_type == "Dropout" and len(node.input) > _TRAINING_INPUT:
        switch = node.input[_TRAINING_INPUT]
        return "" if not switch or switch in off else DRAWS
    if node.op_type != "BatchNormalization":
        return ""
    set_on = any(item.name == "training_mode" and item.i for item in node.attribute)
    gives_figures = version < _TRAINING_MODE_SINCE and len([name for name in node.output if name]) > 1
    return TRAINS if set_on or gives_figures else ""


def _false_constants(proto: "onnx.ModelProto") -> frozenset[str]:
    """Name the stored tensors that say `false`, as initializers or as nodes of their own."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    stored |= {
        node.output[0]: item.t for node in _nodes(proto.graph.node) if node.op_type == "Constant"
        for item in node.attribute if item.name == "value"
    }  # fmt: skip
    switches = {name: tensor for name, tensor in stored.items() if tensor.data_type == tensor.BOOL}
    return frozenset(name for name, tensor in switches.items() if not numpy_helper.to_array(tensor).any())
