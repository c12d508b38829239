"""Count FLOPs while a torch model answers, two per multiply-add, also where one fused kernel does a layer's work."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]


def counter() -> "FlopCounterMode":
    """Return torch's counter, taught the kernels of the CPU that it does not know: attention and recurrent layers."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    known: Mapping[Any, Callable[..., int]] = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
        torch.ops.aten.mkldnn_rnn_layer: recurrent_flops,
    }
    return FlopCounterMode(display=False, custom_mapping=dict(known))


def attention_flops(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Count both products of attention; shapes (batch, heads, places, width)."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[-2] * (width + value[-1])


def recurrent_flops(steps: Shape, inner: Shape, outer: Shape, *_: Any, **__: Any) -> int:
    """Count the products of a recurrent layer with its two weights, at every step of every case."""
    return 2 * steps[0] * steps[1] * (math.prod(inner) + math.prod(outer))
