"""Infer the shape of every tensor of an ONNX graph for one case, also through onnxruntime's own operators."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from titrant.runtime.inspecting.onnx_shape_values import follow, shape_of
from titrant.runtime.onnx.domains import MICROSOFT, opset
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.facts import TensorSpec
from titrant.schema.first_line import first_line

if TYPE_CHECKING:
    import onnx

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
    sizes = {spec.name: (1 if isinstance(spec.shape[0], str) else spec.shape[0], *spec.shape[1:]) for spec in inputs}
    for value in copy.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, sizes.get(value.name, ()), strict=False):
            if isinstance(size, int):
                dim.dim_value = size
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    version = opset(copy)
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
    if any(shape_of(types.get(name)) is None for node in graph.node for name in node.output if name):
        types = follow(inferred, types)
    shapes = {name: shape_of(kind) for name, kind in types.items()}
    known = {name: shape for name, shape in shapes.items() if shape is not None}
    return known | {weight.name: tuple(weight.dims) for weight in graph.initializer}


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
