"""Take out of a quantized graph what says nothing: no answer changes, nor a node that an engine runs.

At a quarter of a million weights of one byte, what stands beside them is a third of the file as the tools write it.
"""

from collections.abc import Iterator

import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.apart import values
from titrant.runtime.backends.onnxruntime.compact.names import (
    QUANTIZES,
    UNPACKS,
    ZERO_POINTS,
    read_at,
    shorten_names,
)
from titrant.runtime.backends.onnxruntime.graph import STANDARD, reads
from titrant.runtime.backends.onnxruntime.normalize import constants_of

_MATRIX = 2
# Where a DequantizeLinear reads its zero point.
_ZERO_POINT = 2
_INT32 = onnx.TensorProto.INT32
_FLOAT = onnx.TensorProto.FLOAT
_ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
# What an attribute is where a node has none, of those that exporters write; lists are all of one number.
_DEFAULTS: dict[str, dict[str, int | float | bytes]] = {
    "Conv": {"auto_pad": b"NOTSET", "dilations": 1, "group": 1, "pads": 0, "strides": 1},
    "ConvTranspose": {"auto_pad": b"NOTSET", "dilations": 1, "group": 1, "output_padding": 0, "pads": 0, "strides": 1},
    "Gemm": {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0},
    QUANTIZES: {"axis": 1},
    UNPACKS: {"axis": 1},
}


def compact(model: onnx.ModelProto) -> None:
    """Make a graph that is quantized as small as it runs the same, in place.

    What is left of names are those of nodes, inputs, outputs and parameters.
    """
    drop_types(model)
    drop_zeros(model)
    share_constants(model)
    drop_defaults(model)
    shorten_names(model)
    _drop_unused(model)


def drop_types(model: onnx.ModelProto) -> None:
    """Note no tensor's type: every engine infers them. Left are the operands of sums that a LayerNormalization reads.

    onnxruntime makes both one node where their sizes have the same names, and infers none itself.
    """
    graph = model.graph
    shapes = {value.name: value.type.tensor_type.shape for value in graph.value_info}
    sums = {node.output[0]: node for node in graph.node if node.op_type == "Add"}
    normalized = [sums[node.input[0]] for node in graph.node if _normalizes(node) and node.input[0] in sums]
    alike = [node for node in normalized if shapes.get(node.input[0]) == shapes.get(node.input[1])]
    needed = {name for node in alike for name in node.input}
    kept = [value for value in graph.value_info if value.name in needed]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _normalizes(node: onnx.NodeProto) -> bool:
    return node.op_type == "LayerNormalization"


def drop_zeros(model: onnx.ModelProto) -> None:
    """Leave out the zero points of biases, which are zero where there are none.

    Those of weights stay: without them onnxruntime makes no QGemm.
    """
    constants = constants_of(model)
    for node in model.graph.node:
        if node.op_type != UNPACKS or node.domain not in STANDARD or len(node.input) <= _ZERO_POINT:
            continue
        bias, zero = constants.get(node.input[0]), constants.get(node.input[_ZERO_POINT])
        if bias is not None and bias.data_type == _INT32 and zero is not None and not _any(zero):
            del node.input[_ZERO_POINT]


def _any(tensor: onnx.TensorProto) -> bool:
    return bool(numpy_helper.to_array(tensor).any())


def share_constants(model: onnx.ModelProto) -> None:
    """Hold equal zero points of channels once, and equal operands of elementwise nodes that have two or more axes.

    Not those that are one number: OpenVINO looks for its ranges by who reads them.
    """
    same: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    constants, shared = constants_of(model), set(read_at(model.graph, ZERO_POINTS))
    operands = set(_operands(model.graph))
    for name, tensor in constants.items():
        channels = name in shared and len(tensor.dims) > 0
        if channels or (name in operands and len(tensor.dims) >= _MATRIX and tensor.data_type == _FLOAT):
            key = (channels, tensor.data_type, tuple(tensor.dims), values(tensor).tobytes())
            same[name] = first.setdefault(key, name)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)


def _operands(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield what elementwise nodes read and no other node does."""
    others = {name for node in graph.node if node.op_type not in _ELEMENTWISE for name in reads(node)}
    for node in graph.node:
        if node.op_type in _ELEMENTWISE:
            yield from (name for name in node.input if name not in others)


def drop_defaults(model: onnx.ModelProto) -> None:
    """Leave out attributes that are what they are without being said."""
    for node in model.graph.node:
        defaults = _DEFAULTS.get(node.op_type, {}) if node.domain in STANDARD else {}
        kept = [item for item in node.attribute if item.name not in defaults or _says(item, defaults[item.name])]
        if len(kept) < len(node.attribute):
            del node.attribute[:]
            node.attribute.extend(kept)


def _says(item: onnx.AttributeProto, default: int | float | bytes) -> bool:
    value = helper.get_attribute_value(item)
    return set(value) != {default} if isinstance(value, list) else value != default


def _drop_unused(model: onnx.ModelProto) -> None:
    """Drop constants that nothing reads, and operator sets that no node is of."""
    graph = model.graph
    read = {name for node in graph.node for name in reads(node)} | {value.name for value in graph.output}
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    used = {"", *_domains(graph)}
    sets = [item for item in model.opset_import if item.domain in used or item.domain in STANDARD]
    del model.opset_import[:]
    model.opset_import.extend(sets)


def _domains(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.domain
        for item in node.attribute:
            for inner in (item.g, *item.graphs):
                yield from _domains(inner)
