"""Count the FLOPs of ONNX nodes, two per multiply-add: matrix products count, element-wise operations do not.

Both products of attention count in full, whatever is masked; an einsum counts as the products it is made of.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.onnxruntime.graph import MICROSOFT, STANDARD, subgraphs

if TYPE_CHECKING:
    import onnx

Shapes = Mapping[str, tuple[int, ...]]
TensorShape = Sequence[int]
_HEADED, _FLAT = 4, 3
# The operand of MultiHeadAttention that says how much of a shared key and value buffer is filled.
_SHARED_LENGTH = 8
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
        return operand_shape(self.given, place)

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


def attention_flops(given: Sequence[TensorShape | None], settings: Mapping[str, Any]) -> int:
    """Count ai.onnx's Attention: query, key, value (batch, heads, length, width) or (batch, length, heads · width).

    A past key, the operand at place 4, is prepended to the key. Raises LookupError for unknown shapes.
    """
    query, key, value = operand_shape(given, 0), operand_shape(given, 1), operand_shape(given, 2)
    places = key[-2] + _past(given, 4)
    if len(query) == _HEADED:
        return 2 * math.prod(query[:3]) * places * (query[-1] + value[-1])
    heads, shared = settings["q_num_heads"], settings["kv_num_heads"]
    return 2 * query[0] * query[1] * places * (query[2] + heads * (value[2] // shared))


def microsoft_attention_flops(given: Sequence[TensorShape | None], settings: Mapping[str, Any], past: int = 4) -> int:
    """Count com.microsoft's Attention: the product of (batch, length, width) and (width, q + k + v), then attention.

    `past` is the place of the operand that holds the keys and values of earlier calls. Raises LookupError for unknown
    shapes.
    """
    if settings.get("past_present_share_buffer", 0):
        raise LookupError("how much of the buffer is filled is a value")
    batch, places, _ = operand_shape(given, 0)
    weight = operand_shape(given, 1)
    query, _, value = settings.get("qkv_hidden_sizes") or [weight[1] // 3] * 3
    attended = places + _past(given, past)
    return 2 * batch * places * math.prod(weight) + 2 * batch * places * attended * (query + value)


def multi_head_flops(given: Sequence[TensorShape | None], settings: Mapping[str, Any]) -> int:
    """Count com.microsoft's MultiHeadAttention on separate query, key and value; LookupError for packed ones."""
    query, key, value = operand_shape(given, 0), operand_shape(given, 1), operand_shape(given, 2)
    if not len(query) == len(key) == len(value) == _FLAT or len(given) > _SHARED_LENGTH:
        raise LookupError("packed, or a buffer of which a value says how much is filled")
    return 2 * query[0] * query[1] * (key[1] + _past(given, 6)) * (query[2] + value[2])


def operand_shape(given: Sequence[TensorShape | None], place: int) -> TensorShape:
    """Return an operand's shape; LookupError where it is unknown, or (), as that of an operand that is left out."""
    shape = given[place]
    if not shape:
        raise LookupError(place)
    return shape


def _past(given: Sequence[TensorShape | None], place: int) -> int:
    """Return the length that an optional operand of earlier keys (…, length, width) adds."""
    return operand_shape(given, place)[-2] if len(given) > place and given[place] != () else 0


def einsum_flops(equation: str, shapes: Sequence[TensorShape]) -> int:
    """Count the matrix products of `equation` over operands of these shapes, contracted from left to right.

    torch and onnxruntime compute it in this order. A label that only one operand has, and the output has not, is summed
    before the product; a contraction that sums no label is an element-wise product, which counts as zero, as elsewhere.
    Raises ValueError where equation and shapes do not fit.
    """
    terms, output = _terms(equation, shapes)
    sizes: dict[str, int] = {}
    for labels, shape in zip(terms, shapes, strict=True):
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    flops, joined = 0, set(terms[0])
    for place, labels in enumerate(terms[1:], start=2):
        later = set(output).union(*terms[place:])
        left, right = joined & (later | set(labels)), set(labels) & (later | joined)
        joined = left | right
        if joined - later:
            flops += 2 * math.prod(sizes[label] for label in joined)
        joined &= later
    return flops


def _terms(equation: str, shapes: Sequence[TensorShape]) -> tuple[list[list[str]], list[str]]:
    """Split an equation into the labels of each operand and of the output, an ellipsis into one label a dimension."""
    given, arrow, result = equation.replace(" ", "").partition("->")
    written = given.split(",")
    if len(written) != len(shapes):
        raise ValueError(f"{equation} has {len(written)} operands, and {len(shapes)} are given")
    terms = [list(_labels(term, len(shape))) for term, shape in zip(written, shapes, strict=True)]
    broad = sorted({label for labels in terms for label in labels if label.startswith("-")})
    if not arrow:
        letters = re.sub(r"[.,]", "", given)
        return terms, [*broad, *sorted(letter for letter in set(letters) if letters.count(letter) == 1)]
    return terms, [label for part in re.findall(r"\.\.\.|.", result) for label in (broad if part == "..." else [part])]


def _labels(term: str, rank: int) -> Iterator[str]:
    """Yield a term's labels; those of an ellipsis are -1 for its last dimension, -2 for the one before, and so on."""
    before, dots, after = term.partition("...")
    yield from before
    if dots:
        yield from (str(place) for place in range(len(before) + len(after) - rank, 0))
    yield from after


def activation_bytes(model: "onnx.ModelProto", shapes: Mapping[str, tuple[int, ...]], cases: int) -> int | None:
    """Return the largest sum of float32 node outputs of a case that are alive at once, freed after their last use."""
    last = {name: place for place, node in enumerate(model.graph.node) for name in node.input}
    kept = {value.name for value in model.graph.output}
    alive: dict[str, int] = {}
    peak = now = 0
    ends: dict[int, list[str]] = {}
    for place, node in enumerate(model.graph.node):
        for name in node.output:
            if name in shapes:
                alive[name] = size = 4 * math.prod(shapes[name])
                now += size
                ends.setdefault(max(last.get(name, place), place), []).append(name)
        peak = max(peak, now)
        if place in ends:
            now -= sum([alive.pop(name) for name in ends.pop(place) if name not in kept])
    return peak // cases or None
