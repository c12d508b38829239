"""Count the FLOPs of ONNX nodes, two per multiply-add: matrix products count, element-wise operations do not."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titrant.runtime.inspecting.einsum_flops import einsum_flops
from titrant.runtime.inspecting.onnx_attention_flops import (
    attention_flops,
    known,
    microsoft_attention_flops,
    multi_head_flops,
)
from titrant.runtime.onnx.domains import MICROSOFT, STANDARD
from titrant.runtime.onnx.subgraphs import subgraphs

if TYPE_CHECKING:
    import onnx

Shapes = Mapping[str, tuple[int, ...]]
# onnxruntime's own operators that multiply no matrices; any other without a rule below may multiply some.
_PLAIN_MICROSOFT = frozenset({
    "BiasAdd", "BiasDropout", "BiasGelu", "BiasSoftmax", "BiasSplitGelu", "DequantizeLinear",
    "DynamicQuantizeLinear", "ExpandDims", "FastGelu", "Gelu", "GridSample", "GroupNorm", "Inverse", "IsAllFinite",
    "NhwcMaxPool", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearGlobalAveragePool",
    "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
    "QuantizeLinear", "QuickGelu", "RemovePadding", "RestorePadding", "RotaryEmbedding", "SkipGroupNorm",
    "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "Trilu", "Unique",
})  # fmt: skip


@dataclass(frozen=True)
class _Sized:
    """The shapes of a node's operands and first output; an operand that is left out has the shape ()."""

    given: Sequence[tuple[int, ...] | None]
    output: tuple[int, ...] | None
    settings: Mapping[str, Any]

    def of(self, place: int) -> Sequence[int]:
        return known(self.given, place)

    @property
    def out(self) -> int:
        """How many elements the output has."""
        if self.output is None:
            raise LookupError("output")
        return math.prod(self.output)


def node_flops(node: "onnx.NodeProto", shapes: Shapes) -> int | None:
    """Return the FLOPs of a node, 0 where it multiplies no matrices; None where they cannot be known.

    They are unknown for nodes with unknown shapes, operators of other domains, loops, and branches that differ.
    """
    bodies = subgraphs(node)
    if bodies:
        return _branches(node, list(bodies.values()), shapes)
    rule = _rule(node)
    if rule is None:
        plain = node.domain in STANDARD or (node.domain == MICROSOFT and node.op_type in _PLAIN_MICROSOFT)
        return 0 if plain else None
    from onnx import helper

    settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    given = [shapes.get(name) if name else () for name in node.input]
    try:
        return rule(_Sized(given, shapes.get(node.output[0]), settings))
    except (LookupError, ValueError):
        return None


def total(counted: Iterable[int | None]) -> int | None:
    """Add FLOPs up; None where some of them are not known."""
    numbers = list(counted)
    return None if None in numbers else sum(number for number in numbers if number)


def _branches(node: "onnx.NodeProto", bodies: "list[onnx.GraphProto]", shapes: Shapes) -> int | None:
    """Count a node that holds graphs: 0 where they multiply nothing, and an If whose two branches cost the same."""
    each = [total(node_flops(inner, shapes) for inner in body.node) for body in bodies]
    return each[0] if len(set(each)) == 1 and (node.op_type == "If" or not each[0]) else None


def _rule(node: "onnx.NodeProto") -> Callable[[_Sized], int] | None:
    if node.domain in STANDARD:
        return _STANDARD.get(node.op_type)
    return _MICROSOFT.get(node.op_type) if node.domain == MICROSOFT else None


def _convolution(weight: int) -> Callable[[_Sized], int]:
    """Count with the weight (out, in per group, …) at a place: each output element sums over all but `out`."""
    return lambda node: 2 * node.out * math.prod(node.of(weight)[1:])


def _transposed(node: _Sized) -> int:
    """Count with the weight (in, out per group, …): each input element is multiplied by all but `in`."""
    return 2 * math.prod(node.of(0)) * math.prod(node.of(1)[1:])


def _product(node: _Sized) -> int:
    """Count a matrix or vector product, broadcast or not: each output element sums over the left's last axis."""
    transposed = node.settings.get("transA", 0)
    if node.settings.get("transBatchA", 0):
        raise LookupError("transBatchA")
    return 2 * node.out * node.of(0)[-2 if transposed else -1]


def _recurrent(node: _Sized) -> int:
    """Count both weights (directions, …, …), by which each case is multiplied at each step."""
    steps = math.prod(node.of(0)[:2])
    return 2 * steps * (math.prod(node.of(1)) + math.prod(node.of(2)))


def _einsum(node: _Sized) -> int:
    return einsum_flops(node.settings["equation"].decode(), [node.of(place) for place in range(len(node.given))])


def _packed(node: _Sized) -> int:
    return 2 * node.out * int(node.settings["K"])


_STANDARD: Mapping[str, Callable[[_Sized], int]] = {
    "Conv": _convolution(1), "ConvInteger": _convolution(1), "QLinearConv": _convolution(3),
    "DeformConv": _convolution(1), "ConvTranspose": _transposed,
    "Gemm": _product, "MatMul": _product, "MatMulInteger": _product, "QLinearMatMul": _product,
    "LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent, "Einsum": _einsum,
    "Attention": lambda node: attention_flops(node.given, node.settings),
}  # fmt: skip
_MICROSOFT: Mapping[str, Callable[[_Sized], int]] = {
    "FusedConv": _convolution(1), "QLinearConv": _convolution(3), "ConvTransposeWithDynamicPads": _transposed,
    "FusedGemm": _product, "QGemm": _product, "FusedMatMul": _product, "DynamicQuantizeMatMul": _product,
    "MatMulIntegerToFloat": _product, "MatMulInteger16": _product, "MatMulNBits": _packed,
    "DynamicQuantizeLSTM": _recurrent,
    "Attention": lambda node: microsoft_attention_flops(node.given, node.settings),
    "QAttention": lambda node: microsoft_attention_flops(node.given, node.settings, past=8),
    "MultiHeadAttention": lambda node: multi_head_flops(node.given, node.settings),
}  # fmt: skip
