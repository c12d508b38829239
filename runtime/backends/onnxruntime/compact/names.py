"""Shorten the names in a quantized graph that neither users nor the read-back of layers look for.

What an engine runs is told by nodes and by weights, so that nodes of the original and parameters keep their names, and
so do inputs and outputs. The tools name all that they add after the tensor that it is added to, twice over.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import count

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import STANDARD, subgraphs
from titrant.runtime.backends.onnxruntime.layer_names import GraphNames
from titrant.runtime.backends.onnxruntime.normalize import constants_of, rename_all

QUANTIZES, UNPACKS = "QuantizeLinear", "DequantizeLinear"
# Where nodes read scales and zero points.
SCALES: Mapping[str, tuple[int, ...]] = {
    QUANTIZES: (1,), UNPACKS: (1,), "MatMulNBits": (2,), "GatherBlockQuantized": (2,), "DynamicQuantizeLSTM": (8, 10),
}  # fmt: skip
ZERO_POINTS: Mapping[str, tuple[int, ...]] = {
    QUANTIZES: (2,), UNPACKS: (2,), "MatMulNBits": (3,), "GatherBlockQuantized": (3,), "DynamicQuantizeLSTM": (9, 11),
    "MatMulInteger": (2, 3),
}  # fmt: skip
# What the tool puts around a product of whole numbers: its operand quantized, scales multiplied, sums unpacked.
_DYNAMIC = ("_QuantizeLinear", "_quant_scales_mul", "_quant_output_scale_mul", "_output_quantized_cast")
_ZERO_POINT, _SCALE = "_zero_point", "_scale"
_MATRIX = 2


def shorten_names(model: onnx.ModelProto) -> None:
    """Number the tensors between nodes, scales, zero points and shape constants, and the nodes that quantize.

    In place.
    """
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)} | set(_called_after(graph))
    inner = [name for node in graph.node for name in node.output if name]
    taken = set(_names(graph))
    free = (name for name in (f"t{number}" for number in count()) if name not in taken)
    new = {name: next(free) for name in dict.fromkeys((*inner, *_nameless(model))) if name not in fixed}
    rename_all(graph, new)
    short = set(new.values())
    for node in graph.node:
        if _quantizes(node) and node.output[0] in short:
            node.name = node.output[0]


def read_at(graph: onnx.GraphProto, places: Mapping[str, Collection[int]]) -> Iterator[str]:
    """Yield what nodes read at some places, given by operator."""
    for node in graph.node:
        yield from (node.input[place] for place in places.get(node.op_type, ()) if place < len(node.input))


def _called_after(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the tensors that onnxruntime calls convolutions in float after: the last that it fuses one with."""
    names = GraphNames.of(graph)
    for name, weight in names.weights.items():
        if names.nodes[name].op_type == "Conv" and names.constants[weight].data_type == onnx.TensorProto.FLOAT:
            made = (tensor for tensor in names.ahead(name) if tensor)
            yield from (tensor for tensor in made if not _quantizes(names.nodes[names.makers[tensor]]))


def _nameless(model: onnx.ModelProto) -> Iterator[str]:
    """Yield the constants that are no parameters: scales, zero points, and what exporters name by a path."""
    zero_points = set(read_at(model.graph, ZERO_POINTS))
    scales = {*read_at(model.graph, SCALES), *(f"{name.removesuffix(_ZERO_POINT)}{_SCALE}" for name in zero_points)}
    for name, tensor in constants_of(model).items():
        if name in zero_points or name in scales or ("/" in name and len(tensor.dims) < _MATRIX):
            yield name


def _quantizes(node: onnx.NodeProto) -> bool:
    return node.domain in STANDARD and (node.op_type in (QUANTIZES, UNPACKS) or node.name.endswith(_DYNAMIC))


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield every name of a tensor or node, in the graphs inside nodes too."""
    yield from (value.name for value in (*graph.input, *graph.initializer, *graph.output))
    for node in graph.node:
        yield from (node.name, *node.input, *node.output)
        for inner in subgraphs(node).values():
            yield from _names(inner)
