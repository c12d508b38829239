"""Keep layers of a graph in float between quantized ones, also where the graph is loaded: onnxruntime quantizes anew.

Its pass WeightBiasQuantization gives int8 weights, of one scale, to a convolution or Gemm in float that reads what
comes out of a DequantizeLinear: neither as accurate as float nor as fast as what was quantized whole. It takes only a
DequantizeLinear of one scale, so that one with a scale a channel, all equal, keeps it away, in anybody's session.
"""

from collections.abc import Collection
from itertools import count

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import STANDARD
from titrant.runtime.backends.onnxruntime.layer_names import GraphNames, layers_by_node
from titrant.runtime.backends.onnxruntime.normalize import setting

_CONCERNED = ("Conv", "ConvTranspose", "Gemm")
_UNPACKS = "DequantizeLinear"
_CHANNELS = 1


def left_nodes(model: onnx.ModelProto, layers: Collection[str]) -> frozenset[str]:
    """Name the nodes of some of the original's layers, and what belongs to them (`owners`)."""
    if not layers:
        return frozenset()
    left = set(layers_by_node(model.graph, layers))
    return frozenset(node for node, owner in owners(GraphNames.of(model.graph)).items() if owner in left)


def owners(names: GraphNames) -> dict[str, str]:
    """Return {node: the node with weights that it belongs to}, its own for those.

    A node without weights belongs to the last that its numbers are made of, so that a residual sum goes with the block
    that it ends; one before all weights, to the first that reads it.
    """
    places = {name: place for place, name in enumerate(names.nodes)}
    belongs: dict[str, str] = {}
    for name, node in names.nodes.items():
        behind = [belongs.get(names.makers.get(tensor, ""), "") for tensor in node.input]
        last = name if name in names.weights else max(filter(None, behind), key=places.__getitem__, default="")
        if last:
            belongs[name] = last
    for name in reversed([name for name in names.nodes if name not in belongs]):
        ahead = [
            belongs.get(reader, "") for tensor in names.nodes[name].output for reader in names.readers.get(tensor, ())
        ]
        first = min(filter(None, ahead), key=places.__getitem__, default="")
        if first:
            belongs[name] = first
    return belongs


def part(model: onnx.ModelProto, quantized: Collection[str]) -> None:
    """Give the other nodes copies of the weights and biases that they share with the nodes to be quantized; in place.

    Else they would read the rounded ones, by whoever's name a tensor is quantized.
    """
    names = {node.name for node in model.graph.node} & {*quantized}
    read = {tensor for node in model.graph.node if node.name in names for tensor in node.input}
    shared = {tensor.name: tensor for tensor in model.graph.initializer if tensor.dims and tensor.name in read}
    taken = {tensor.name for tensor in model.graph.initializer}
    copies: dict[str, str] = {}
    for node in model.graph.node:
        for place, tensor in enumerate(node.input):
            if node.name in names or tensor not in shared or shared[tensor].data_type != onnx.TensorProto.FLOAT:
                continue
            if tensor not in copies:
                copies[tensor] = next(name for number in count() if (name := f"{tensor}_float{number}") not in taken)
                taken.add(copies[tensor])
                own = model.graph.initializer.add()
                own.CopyFrom(shared[tensor])
                own.name = copies[tensor]
            node.input[place] = copies[tensor]


def guard(model: onnx.ModelProto) -> int:
    """Give each convolution and Gemm in float a DequantizeLinear of its own, a scale a channel; returns how many.

    In place. What is multiplied stays the same number by number.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    nodes: list[onnx.NodeProto] = []
    guarded = 0
    for node in model.graph.node:
        unpacking = makers.get(node.input[0]) if node.op_type in _CONCERNED and node.domain in STANDARD else None
        weight = constants.get(node.input[1]) if unpacking is not None else None
        if unpacking is not None and weight is not None and unpacking.op_type == _UNPACKS:
            scales = _scales(unpacking, constants, _channels(node, weight))
            if scales:
                nodes.append(_own(unpacking, node, scales))
                model.graph.initializer.extend(scales)
                guarded += 1
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return guarded


def _channels(node: onnx.NodeProto, weight: onnx.TensorProto) -> int:
    """Return the size of the second dimension of what a node reads."""
    if node.op_type == "Gemm":
        return int(weight.dims[1 if setting(node, "transB", 0) else 0]) if not setting(node, "transA", 0) else 0
    if node.op_type == "ConvTranspose":
        return int(weight.dims[0])
    return int(weight.dims[1]) * int(setting(node, "group", 1))


def _scales(
    unpacking: onnx.NodeProto, constants: dict[str, onnx.TensorProto], channels: int
) -> tuple[onnx.TensorProto, ...]:
    """Repeat a scale and a zero point for every channel; () where they are not one number each, or not constant."""
    held = [constants.get(name) for name in unpacking.input[1:]]
    if not channels or not held or any(tensor is None or tensor.dims for tensor in held):
        return ()
    repeated = [np.repeat(numpy_helper.to_array(tensor).reshape(1), channels) for tensor in held if tensor is not None]
    return tuple(
        numpy_helper.from_array(values, f"{unpacking.input[0]}_{unpacking.output[0]}_{place}_per_channel")
        for place, values in enumerate(repeated)
    )


def _own(unpacking: onnx.NodeProto, node: onnx.NodeProto, scales: Collection[onnx.TensorProto]) -> onnx.NodeProto:
    """Let a node read the same numbers through a DequantizeLinear of its own."""
    for tensor in scales:
        tensor.name = f"{node.name}_{tensor.name}"
    unpacked = f"{node.name}_guarded_input"
    node.input[0] = unpacked
    inputs = [unpacking.input[0], *(tensor.name for tensor in scales)]
    return helper.make_node(_UNPACKS, inputs, [unpacked], name=f"{node.name}_guard", axis=_CHANNELS)
