"""Infer the shape of every tensor of an ONNX graph for one case.

Inference goes through onnxruntime's own operators and, node by node, through sizes that the graph computes.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.onnxruntime.graph import MICROSOFT, STANDARD, opset, subgraphs
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import TensorSpec
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import onnx

Types = dict[str, "onnx.TypeProto"]
KnownTensors = dict[str, "onnx.TensorProto"]

# Tensors with more numbers than this do not describe a shape.
MOST_SHAPE_NUMBERS = 1024
# onnxruntime's own operators, which onnx infers no shapes for → the standard operator, and its operands, that has an
# output of the same shape.
_STAND_INS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "QLinearAdd": ("Add", (0, 3)), "QLinearMul": ("Mul", (0, 3)), "QLinearWhere": ("Where", (0, 1, 4)),
    "QLinearLeakyRelu": ("Identity", (0,)), "QLinearSigmoid": ("Identity", (0,)), "QLinearSoftmax": ("Identity", (0,)),
    "QLinearAveragePool": ("AveragePool", (0,)), "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "FusedConv": ("Conv", (0, 1)), "QGemm": ("Gemm", (0, 3)), "FusedGemm": ("Gemm", (0, 1)),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)), "Gelu": ("Identity", (0,)), "FastGelu": ("Identity", (0,)),
    "BiasGelu": ("Identity", (0,)), "QuickGelu": ("Identity", (0,)), "DynamicQuantizeLSTM": ("LSTM", (0, 1, 2)),
    "QuantizeLinear": ("QuantizeLinear", (0, 1, 2)),
    "DequantizeLinear": ("DequantizeLinear", (0, 1, 2)),
}  # fmt: skip
# The operator set since which Split has an attribute for the number of its outputs.
_SPLITS_BY_NUMBER = 18
# The attributes of an operator that its stand-in reads.
_SETTINGS = (
    "auto_pad", "axis", "ceil_mode", "count_include_pad", "dilations", "direction", "group", "hidden_size",
    "kernel_shape", "pads", "strides", "transA", "transB",
)  # fmt: skip


def infer_shapes(model: "onnx.ModelProto", inputs: tuple[TensorSpec, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that follow from the inputs, with a batch of 1 where it is free; unknown ones are left out.

    Raises StepError X160 where the shapes of the graph contradict each other.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    sizes = {
        spec.name: (*(1 if isinstance(size, str) else size for size in spec.shape[:1]), *spec.shape[1:])
        for spec in inputs
    }
    for value in copy.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, sizes.get(value.name, ()), strict=False):
            if isinstance(size, int):
                dim.dim_value = size
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    version = opset(copy)
    if any(node.domain == MICROSOFT for node in copy.graph.node):
        nodes = [stand_in for node in copy.graph.node for stand_in in _stand_ins(node, version)]
        del copy.graph.node[:]
        copy.graph.node.extend(nodes)
    try:
        inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise StepError(
            Diagnostic("X160", f"shapes of the graph contradict: {first_line(error)}", help="export it again")
        ) from None
    graph = inferred.graph
    types = {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}
    shapes = _shapes_of(types)
    if any(name and name not in shapes for node in graph.node for name in node.output):
        shapes = _shapes_of(follow(inferred, types))
    return shapes | {weight.name: tuple(weight.dims) for weight in graph.initializer}


def _shapes_of(types: Types) -> dict[str, tuple[int, ...]]:
    """Read the shapes that are fully known; most tensors of a graph share few types, each of which is read once."""
    read: dict[bytes, tuple[int, ...] | None] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, kind in types.items():
        written = kind.SerializeToString()
        if written not in read:
            read[written] = shape_of(kind)
        shape = read[written]
        if shape is not None:
            shapes[name] = shape
    return shapes


def _stand_ins(node: "onnx.NodeProto", version: int) -> "Iterator[onnx.NodeProto]":
    from onnx import helper

    if node.domain != MICROSOFT:
        yield node
    elif node.op_type in _EXPANDED:
        yield from _EXPANDED[node.op_type](node, version)
    elif node.op_type in _STAND_INS and not any(item.name == "channels_last" and item.i for item in node.attribute):
        operator, places = _STAND_INS[node.op_type]
        operands = [node.input[place] for place in places if place < len(node.input)]
        made = helper.make_node(operator, operands, node.output if operator == "LSTM" else node.output[:1])
        made.attribute.extend(item for item in node.attribute if item.name in _SETTINGS)
        yield made
    else:
        yield node


def _joined(node: "onnx.NodeProto", _: int) -> "Iterator[onnx.NodeProto]":
    """Stand for QLinearConcat, whose tensors come in threes after the output's scale and zero point."""
    from onnx import helper

    yield helper.make_node("Concat", node.input[2::3], node.output, axis=next(item.i for item in node.attribute))


def _scaled(node: "onnx.NodeProto", _: int) -> "Iterator[onnx.NodeProto]":
    """Stand for MatMulIntegerToFloat, whose output is float32."""
    from onnx import helper

    real = f"{node.output[0]} real"
    yield helper.make_node("Cast", node.input[:1], [real], to=1)
    yield helper.make_node("MatMul", [real, node.input[1]], node.output)


def _attended(node: "onnx.NodeProto", _: int) -> "Iterator[onnx.NodeProto]":
    """Stand for MultiHeadAttention on separate operands: two products."""
    from onnx import helper

    query, key, value = (*node.input[:3], "", "")[:3]
    if not (key and value):
        yield node
        return
    turned, weighed = f"{node.output[0]} turned", f"{node.output[0]} weighed"
    yield helper.make_node("Transpose", [key], [turned], perm=[0, 2, 1])
    yield helper.make_node("MatMul", [query, turned], [weighed])
    yield helper.make_node("MatMul", [weighed, value], node.output[:1])


def _projected(node: "onnx.NodeProto", version: int) -> "Iterator[onnx.NodeProto]":
    """Stand for Attention whose query, key and value have the same width: a third of one matrix product."""
    from onnx import helper

    if any(item.name == "qkv_hidden_sizes" for item in node.attribute):
        yield node
        return
    name = node.output[0]
    split = helper.make_node("Split", [f"{name} all"], [f"{name} q", f"{name} k", name], axis=-1)
    if version >= _SPLITS_BY_NUMBER:
        split.attribute.append(helper.make_attribute("num_outputs", 3))
    yield helper.make_node("MatMul", node.input[:2], [f"{name} all"])
    yield split


def _skipped(node: "onnx.NodeProto", _: int) -> "Iterator[onnx.NodeProto]":
    """Stand for a normalization of a sum, whose fourth output is the sum."""
    from onnx import helper

    for name in (*node.output[:1], *node.output[3:4]):
        yield helper.make_node("Identity", node.input[:1], [name])


_EXPANDED: "Mapping[str, Callable[[onnx.NodeProto, int], Iterator[onnx.NodeProto]]]" = {
    "QLinearConcat": _joined, "MatMulIntegerToFloat": _scaled, "MultiHeadAttention": _attended,
    "Attention": _projected, "SkipLayerNormalization": _skipped, "SkipSimplifiedLayerNormalization": _skipped,
}  # fmt: skip


def shape_of(kind: "onnx.TypeProto | None") -> tuple[int, ...] | None:
    """Return the shape of a tensor's type, None where it is not fully known; a scalar's is ()."""
    if kind is None or not kind.HasField("tensor_type"):
        return None
    tensor = kind.tensor_type
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def follow(model: "onnx.ModelProto", types: Types) -> Types:
    """Return the types, and those that follow once sizes are computed, such as that of a Reshape to a Shape."""
    from onnx import helper

    followed, values, version = dict(types), KnownTensors(), opset(model)
    for tensor in model.graph.initializer:
        followed[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        if math.prod(tensor.dims) <= MOST_SHAPE_NUMBERS:
            values[tensor.name] = tensor
    for node in model.graph.node:
        if node.domain not in STANDARD or subgraphs(node):
            continue
        given = [name for name in node.input if name]
        if any(shape_of(followed.get(name)) is None for name in node.output if name):
            followed |= _inferred(node, followed, values, model)
        value = _value(node, given, followed, values, version)
        if value is not None:
            values[node.output[0]] = value
            followed[node.output[0]] = helper.make_tensor_type_proto(value.data_type, list(value.dims))
    return followed


def _inferred(node: "onnx.NodeProto", types: Types, values: KnownTensors, model: "onnx.ModelProto") -> Types:
    import onnx

    given = [name for name in node.input if name]
    if not all(name in types for name in given):
        return {}
    try:
        schema = onnx.defs.get_schema(node.op_type, opset(model), "")
        return onnx.shape_inference.infer_node_outputs(
            schema,
            node,
            {name: types[name] for name in given},
            {name: values[name] for name in given if name in values},
            opset_imports=list(model.opset_import),
            ir_version=model.ir_version,
        )
    except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError, ValueError, TypeError, RuntimeError):
        return {}


def _value(
    node: "onnx.NodeProto", given: list[str], types: Types, values: KnownTensors, version: int
) -> "onnx.TensorProto | None":
    """Compute a small tensor: a constant, the shape of a tensor, or what follows from small tensors alone."""
    from onnx import numpy_helper

    if node.op_type == "Constant":
        return next((item.t for item in node.attribute if item.name == "value" and _small(tuple(item.t.dims))), None)
    shape = shape_of(types.get(given[0])) if given else None
    if node.op_type in ("Shape", "Size") and shape is not None:
        return _measured(node, shape)
    small = len(node.output) == 1 and _small(shape_of(types.get(node.output[0])))
    if not given or not small or not all(name in values for name in given):
        return None
    return _computed(node, {name: numpy_helper.to_array(values[name]) for name in given}, version)


def _small(shape: tuple[int, ...] | None) -> bool:
    return shape is not None and math.prod(shape) <= MOST_SHAPE_NUMBERS


def _measured(node: "onnx.NodeProto", shape: tuple[int, ...]) -> "onnx.TensorProto":
    import numpy as np
    from onnx import numpy_helper

    ends = {item.name: item.i for item in node.attribute}
    size = math.prod(shape) if node.op_type == "Size" else shape[ends.get("start", 0) : ends.get("end", len(shape))]
    return numpy_helper.from_array(np.array(size, np.int64))


def _computed(node: "onnx.NodeProto", given: Mapping[str, object], version: int) -> "onnx.TensorProto | None":
    import numpy as np
    from onnx import TypeProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    takes, gives = ([helper.make_value_info(name, TypeProto()) for name in names] for names in (given, node.output))
    graph = helper.make_graph([node], node.op_type, takes, gives)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    try:
        answers: Any = ReferenceEvaluator(model).run(None, dict(given))
    except (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError, ArithmeticError):
        return None
    return numpy_helper.from_array(np.asarray(answers[0]))
