"""Compute the attention weights that torch's fused kernels keep to themselves, from what they are given."""

from collections.abc import Mapping
from typing import Any

import torch  # noqa: TID253 - its very subject

# Kernels by the beginning of their names.
FUSED = ("aten::_scaled_dot_product_", "aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd")
# Kernels over sequences of several lengths that lie one behind the other.
UNREAD = ("aten::_flash_attention_forward", "aten::_efficient_attention_forward")
_BACKWARD, _WHOLE_LAYER = "backward", "_transformer_encoder_layer_fwd"
# What the mask of a layer's fast path hides.
_OF_KEYS = 1


def fused_weights(operation: str, operands: Mapping[str, Any]) -> torch.Tensor | None:
    """Return the weights (batch, heads, queries, keys) of a fused kernel; None for one that goes backwards."""
    if _BACKWARD in operation:
        return None
    if "query" in operands and "embed_dim" not in operands:
        query, key = operands["query"].float(), operands["key"].float()
        mask = operands.get("attn_mask", operands.get("attn_bias"))
        causal = bool(operands.get("is_causal", False))
        return attention_weights(query, key, mask=mask, causal=causal, scale=operands.get("scale"))
    return _of_layer(operation, operands)


def _of_layer(operation: str, operands: Mapping[str, Any]) -> torch.Tensor:
    """Project the queries and keys as torch's fast path of a layer does, and weigh them."""
    source = operands["src"] if operation.endswith(_WHOLE_LAYER) else operands["query"]
    if operands.get("norm_first"):
        scale, shift = operands["norm_weight_1"], operands["norm_bias_1"]
        source = torch.nn.functional.layer_norm(source, source.shape[-1:], scale, shift, operands["eps"])
    key = source if operation.endswith(_WHOLE_LAYER) else operands["key"]
    heads, width = operands.get("num_heads", operands.get("num_head")), operands["embed_dim"]
    weight, bias = operands["qkv_weight"], operands["qkv_bias"]
    parts = [
        torch.nn.functional.linear(part, weight[first : first + width], bias[first : first + width])
        for part, first in ((source, 0), (key, width))
    ]
    queries, keys = (part.float().unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
    return attention_weights(queries, keys, mask=_layer_mask(operands, queries, keys))


def _layer_mask(operands: Mapping[str, Any], queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor | None:
    """Return a mask that lets through where it is true: the fast path's own say where something is hidden."""
    mask, kind = operands.get("mask"), operands.get("mask_type")
    if mask is None:
        return None
    if mask.dtype != torch.bool:
        return mask  # type: ignore[no-any-return]
    if kind == _OF_KEYS and mask.shape == (queries.shape[0], keys.shape[2]):
        return ~mask[:, None, None, :]
    return ~mask


def attention_weights(
    query: torch.Tensor,
    key: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> torch.Tensor:
    """Return softmax(q k^T scale + mask) of (…, heads, queries, features) and (…, heads of keys, keys, features).

    `scale` is 1 / sqrt(features) by default. A mask of truth values lets through where it is true; `causal` lets query
    i see keys 0 … i, as `torch.nn.functional.scaled_dot_product_attention` has it. A query that sees nothing has zeros.
    """
    if query.ndim > 2 and query.shape[-3] != key.shape[-3]:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, float("-inf"))
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, float("-inf"))
    elif mask is not None:
        scores = scores + mask.float()
    hidden = torch.isneginf(scores).all(dim=-1, keepdim=True)
    return torch.softmax(scores.masked_fill(hidden, 0.0), dim=-1).masked_fill(hidden, 0.0)
