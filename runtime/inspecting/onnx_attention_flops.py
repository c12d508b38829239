"""Count the FLOPs of attention in one ONNX node: both matrix products in full, whatever is masked."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Shape = Sequence[int]
_HEADED, _FLAT = 4, 3
# The operand of MultiHeadAttention that says how much of a shared key and value buffer is filled.
_SHARED_LENGTH = 8


def attention_flops(given: Sequence[Shape | None], settings: Mapping[str, Any]) -> int:
    """Count ai.onnx's Attention: query, key, value (batch, heads, length, width) or (batch, length, heads · width).

    A past key, the operand at place 4, is prepended to the key. Raises LookupError for unknown shapes.
    """
    query, key, value = known(given, 0), known(given, 1), known(given, 2)
    places = key[-2] + _past(given, 4)
    if len(query) == _HEADED:
        return 2 * math.prod(query[:3]) * places * (query[-1] + value[-1])
    heads, shared = settings["q_num_heads"], settings["kv_num_heads"]
    return 2 * query[0] * query[1] * places * (query[2] + heads * (value[2] // shared))


def microsoft_attention_flops(given: Sequence[Shape | None], settings: Mapping[str, Any], past: int = 4) -> int:
    """Count com.microsoft's Attention: the product of (batch, length, width) and (width, q + k + v), then attention.

    `past` is the place of the operand that holds the keys and values of earlier calls. Raises LookupError for unknown
    shapes.
    """
    if settings.get("past_present_share_buffer", 0):
        raise LookupError("how much of the buffer is filled is a value")
    batch, places, _ = known(given, 0)
    weight = known(given, 1)
    query, _, value = settings.get("qkv_hidden_sizes") or [weight[1] // 3] * 3
    attended = places + _past(given, past)
    return 2 * batch * places * math.prod(weight) + 2 * batch * places * attended * (query + value)


def multi_head_flops(given: Sequence[Shape | None], settings: Mapping[str, Any]) -> int:
    """Count com.microsoft's MultiHeadAttention on separate query, key and value; LookupError for packed ones."""
    query, key, value = known(given, 0), known(given, 1), known(given, 2)
    if not len(query) == len(key) == len(value) == _FLAT or len(given) > _SHARED_LENGTH:
        raise LookupError("packed, or a buffer of which a value says how much is filled")
    return 2 * query[0] * query[1] * (key[1] + _past(given, 6)) * (query[2] + value[2])


def known(given: Sequence[Shape | None], place: int) -> Shape:
    """Return an operand's shape; LookupError where it is unknown, or (), as that of an operand that is left out."""
    shape = given[place]
    if not shape:
        raise LookupError(place)
    return shape


def _past(given: Sequence[Shape | None], place: int) -> int:
    """Return the length that an optional operand of earlier keys (…, length, width) adds."""
    return known(given, place)[-2] if len(given) > place and given[place] != () else 0
