"""Compute the attention weights that a fused operator of an ONNX graph keeps to itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.backends.onnxruntime.graph import MICROSOFT
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

if TYPE_CHECKING:
    import onnx

FUSED = ("Attention", "MultiHeadAttention")
_SELF, _MULTI = "Attention", "MultiHeadAttention"
# Operands by place: of onnxruntime's own two, and of the standard operator.
_OF_SELF = ("input", "weights", "bias", "mask_index", "past", "attention_bias")
_OF_MULTI = ("query", "key", "value", "bias", "key_padding_mask", "attention_bias", "past_key")
_OF_STANDARD = ("query", "key", "value", "attn_mask", "past_key")


def read_tensors(node: "onnx.NodeProto") -> tuple[str, ...]:
    """Name the tensors that the weights are computed from, or that hold them."""
    return tuple(name for name in node.input if name) if node.op_type in FUSED else (node.output[0],)


def operator_weights(layer: str, node: "onnx.NodeProto", held: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the weights (batch, heads, queries, keys) of a fused operator, of the values of its operands.

    StepError X685 for one with keys of earlier calls, or another form of mask or of packing than this knows.
    """
    microsoft = node.domain == MICROSOFT
    names = (_OF_SELF if node.op_type == _SELF else _OF_MULTI) if microsoft else _OF_STANDARD
    given = {name: held[tensor] for name, tensor in zip(names, node.input, strict=False) if tensor}
    settings = {item.name: _value(item) for item in node.attribute}
    if "past" in given or "past_key" in given:
        raise _refused(layer, node, "goes on from keys of earlier calls")
    if not microsoft:
        return _of_standard(given, settings)
    heads = int(settings["num_heads"])
    query, key = _projected(layer, node, given)
    mask = given.get("mask_index", given.get("key_padding_mask"))
    if mask is not None and mask.ndim != 2:
        raise _refused(layer, node, f"has a mask of {mask.ndim} dimensions")
    queries, keys = _split(query, heads), _split(key, heads)
    hidden = None if mask is None else (mask == 0)[:, None, None, :]
    causal = bool(settings.get("unidirectional", 0))
    return _weights(queries, keys, settings.get("scale"), given.get("attention_bias"), hidden, causal=causal)


def _projected(layer: str, node: "onnx.NodeProto", given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return queries and keys (batch, sequence, heads x features)."""
    if node.op_type == _SELF:
        both = given["input"].astype(np.float32) @ given["weights"].astype(np.float32)
        both = both + given.get("bias", np.float32(0))
        width = both.shape[-1] // 3
        return both[..., :width], both[..., width : 2 * width]
    query, key = given["query"], given.get("key")
    if key is None or key.ndim != 3 or query.ndim != 3:
        raise _refused(layer, node, "has its queries and keys packed in one tensor")
    width = query.shape[-1]
    bias = given.get("bias", np.zeros(2 * width, np.float32))
    return query + bias[:width], key + bias[width : 2 * width]


def _of_standard(given: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
    query, key, mask = given["query"], given["key"], given.get("attn_mask")
    if query.ndim == 3:
        query, key = _split(query, int(settings["q_num_heads"])), _split(key, int(settings["kv_num_heads"]))
    if query.shape[1] != key.shape[1]:
        key = np.repeat(key, query.shape[1] // key.shape[1], axis=1)
    hidden = None if mask is None or mask.dtype != bool else ~mask
    added = None if mask is None or mask.dtype == bool else mask
    cap = float(settings.get("softcap", 0.0))
    causal = bool(settings.get("is_causal", 0))
    return _weights(query, key, settings.get("scale"), added, hidden, causal=causal, cap=cap)


def _weights(
    query: np.ndarray,
    key: np.ndarray,
    scale: float | None,
    added: np.ndarray | None,
    hidden: np.ndarray | None,
    *,
    causal: bool = False,
    cap: float = 0.0,
) -> np.ndarray:
    scores = query.astype(np.float32) @ np.swapaxes(key.astype(np.float32), -1, -2)
    scores *= query.shape[-1] ** -0.5 if not scale else scale
    if added is not None:
        scores = scores + added.astype(np.float32)
    if hidden is not None:
        scores = np.where(hidden, -np.inf, scores)
    if causal:
        queries, keys = scores.shape[-2:]
        scores = np.where(np.tri(queries, keys, dtype=bool), scores, -np.inf)
    if cap:
        scores = cap * np.tanh(scores / cap)
    unseen = np.isneginf(scores).all(axis=-1, keepdims=True)
    scores = np.exp(np.where(unseen, 0, scores) - np.where(unseen, 0, scores).max(axis=-1, keepdims=True))
    weights: np.ndarray = np.where(unseen, 0, scores / scores.sum(axis=-1, keepdims=True))
    return weights


def _split(values: np.ndarray, heads: int) -> np.ndarray:
    batch, length, width = values.shape
    return values.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)


def _value(item: "onnx.AttributeProto") -> Any:
    import onnx

    return onnx.helper.get_attribute_value(item)


def _refused(layer: str, node: "onnx.NodeProto", reason: str) -> StepError:
    message = f"{layer} is a fused {node.op_type}, and it {reason}"
    advice = "capture them of the module, or of a file that is exported without onnxruntime's fusions"
    return StepError(Diagnostic("X685", message, help=advice))
