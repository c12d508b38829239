"""Write torch's fused encoder layers in a script as what they compute, in plain operations.

Whoever traces `nn.TransformerEncoder` in eval mode has them in the file; the ONNX exporter knows none.
"""

import math
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch import Tensor  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.executed import nodes_of

ENCODER, _ARGUMENTS = "aten::_transformer_encoder_layer_fwd", 20


def written_out(script: Any) -> None:
    """Replace the fused calls in a loaded script, in place."""
    given = ", ".join(f"%{place}" for place in range(_ARGUMENTS))
    fused = f"graph({given}):\n  %answer = {ENCODER}({given})\n  return (%answer)"
    for part in script.modules():
        if part._c._has_method("forward") and any(node.kind() == ENCODER for node in nodes_of(part.graph)):
            plain = str(torch.jit.script(_encoder_layer).inlined_graph)
            torch._C._jit_pass_custom_pattern_based_rewrite_graph(fused, plain, part.graph)


def _encoder_layer(  # noqa: PLR0917 - those of the call that it stands for
    src: Tensor, width: int, heads: int, qkv_weight: Tensor, qkv_bias: Tensor, out_weight: Tensor, out_bias: Tensor,
    use_gelu: bool, norm_first: bool, eps: float, norm1_weight: Tensor, norm1_bias: Tensor, norm2_weight: Tensor,
    norm2_bias: Tensor, linear1_weight: Tensor, linear1_bias: Tensor, linear2_weight: Tensor, linear2_bias: Tensor,
    mask: Tensor | None, mask_type: int | None,
) -> Tensor:  # fmt: skip
    given = src
    if norm_first:
        given = torch.layer_norm(src, [width], norm1_weight, norm1_bias, eps)
    size = width // heads
    qkv = torch._C._nn.linear(given, qkv_weight, qkv_bias)
    query, key, value = qkv.chunk(3, dim=-1)
    query = query.reshape(src.size(0), src.size(1), heads, size).transpose(1, 2)
    key = key.reshape(src.size(0), src.size(1), heads, size).transpose(1, 2)
    value = value.reshape(src.size(0), src.size(1), heads, size).transpose(1, 2)
    scores = torch.matmul(query / math.sqrt(size), key.transpose(2, 3))
    if mask is not None:
        hidden = mask
        if mask_type is not None and mask_type == 1:
            hidden = mask[:, None, None, :]
        scores = scores.masked_fill(hidden, -3.0e38)  # minus infinity is nothing that a graph can be written with
    mixed = torch.matmul(torch.softmax(scores, -1), value).transpose(1, 2)
    mixed = mixed.reshape(src.size(0), src.size(1), width)
    stream = src + torch._C._nn.linear(mixed, out_weight, out_bias)
    if not norm_first:
        stream = torch.layer_norm(stream, [width], norm1_weight, norm1_bias, eps)
    inner = stream
    if norm_first:
        inner = torch.layer_norm(stream, [width], norm2_weight, norm2_bias, eps)
    inner = torch._C._nn.linear(inner, linear1_weight, linear1_bias)
    inner = torch._C._nn.gelu(inner) if use_gelu else torch.relu(inner)
    stream = stream + torch._C._nn.linear(inner, linear2_weight, linear2_bias)
    if not norm_first:
        stream = torch.layer_norm(stream, [width], norm2_weight, norm2_bias, eps)
    return stream
