"""Count the FLOPs of a torch model's forward pass, two per multiply-add, fused kernels included."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]


def counter() -> "FlopCounterMode":
    """Return torch's counter, extended by kernels that it does not know.

    Those are fused attention and recurrent layers, matrix-vector and integer products, bilinear layers, and
    convolutions over time. Element-wise operations, look-ups and pooling count as zero.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    known: Mapping[Any, Callable[..., int]] = {
        aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
        aten._scaled_dot_product_fused_attention_overrideable: attention_flops,
        aten._scaled_dot_product_attention_math_for_mps: attention_flops,
        aten.mkldnn_rnn_layer: recurrent_flops,
        aten._cudnn_rnn: packed_recurrent_flops,
        aten.mv: vector_flops,
        aten.dot: vector_flops,
        aten.vdot: vector_flops,
        aten.addmv: lambda _, matrix, *__, **___: vector_flops(matrix),
        aten.addbmm: lambda _, left, right, *__, **___: 2 * math.prod(left) * right[-1],
        aten._int_mm: lambda left, right, *_, **__: 2 * math.prod(left) * right[-1],
        aten._weight_int8pack_mm: lambda left, right, *_, **__: 2 * math.prod(left) * right[0],
        aten._trilinear: bilinear_flops,
        aten.conv_tbc: lambda _, weight, *__, out_shape, **___: 2 * math.prod(out_shape) * math.prod(weight[:2]),
    }
    return FlopCounterMode(display=False, custom_mapping=dict(known))


def attention_flops(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Count both matrix products of attention; shapes (batch, heads, sequence, width)."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[-2] * (width + value[-1])


def recurrent_flops(steps: Shape, inner: Shape, outer: Shape, *_: Any, **__: Any) -> int:
    """Count a recurrent layer's products with its two weight matrices, at every step of every case."""
    return 2 * steps[0] * steps[1] * (math.prod(inner) + math.prod(outer))


def packed_recurrent_flops(steps: Shape, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    """Count several recurrent layers in one kernel: each step of each case is multiplied by every weight matrix."""
    matrices = [weight for weight in weights if len(weight) > 1]
    return 2 * math.prod(steps[:-1]) * sum(math.prod(weight) for weight in matrices)


def vector_flops(matrix: Shape, *_: Any, **__: Any) -> int:
    """Count a product of a matrix, or of a vector, with a vector."""
    return 2 * math.prod(matrix)


def bilinear_flops(left: Shape, weight: Shape, right: Shape, *_: Any, **__: Any) -> int:
    """Count a bilinear layer, (batch, in) with (out, in, other) and then with (batch, other)."""
    out, inner, other = weight
    return 2 * left[0] * out * (inner * other + other)
