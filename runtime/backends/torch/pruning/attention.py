"""Attention with fewer heads than its width has room for, in place of `torch.nn.MultiheadAttention`."""

import math
from collections.abc import Sequence

import torch  # noqa: TID253 - its very subject
from torch.nn import functional  # noqa: TID253 - its very subject

from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Heads:
    """The projections of an attention layer: weights (heads x width, inputs), biases or None, and the output's."""

    numbers: tuple[int, ...]  # of the heads, as the layer was first built
    width: int  # of one head
    weights: tuple[torch.Tensor, ...]  # three
    biases: tuple[torch.Tensor, ...]  # three, or none
    output: torch.nn.Linear
    batch_first: bool
    dropout: float

    @classmethod
    def of(cls, attention: torch.nn.Module) -> "Heads":
        """Return those of a `torch.nn.MultiheadAttention` without rows of its own, or of one that was cut before."""
        biases: tuple[torch.Tensor, ...]
        if isinstance(attention, NarrowAttention):
            inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
            biases = tuple(part.bias for part in inputs if part.bias is not None)
            numbers = attention.heads
        else:
            assert isinstance(attention, torch.nn.MultiheadAttention)
            biases = () if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
            numbers = tuple(range(attention.num_heads))
        parts = stacked(attention)
        query, key, value = parts[0].chunk(3) if len(parts) == 1 else parts
        output, first, dropout = attention.out_proj, bool(attention.batch_first), float(attention.dropout)
        return cls(numbers, attention.head_dim, (query, key, value), biases, output, first, dropout)

    @property
    def parameters(self) -> int:
        """The parameters of one head: its rows of the three inputs, and its columns of the output."""
        rows = sum(weight.shape[1] for weight in self.weights) + len(self.biases)
        return self.width * (rows + self.output.out_features)


def stacked(attention: torch.nn.Module) -> tuple[torch.nn.Parameter, ...]:
    """Return the parameters that hold the projections to heads: one of all three, or three."""
    if isinstance(attention, NarrowAttention):
        return tuple(getattr(attention, f"{part}_proj").weight for part in "qkv")
    assert isinstance(attention, torch.nn.MultiheadAttention)
    if attention.in_proj_weight is not None:
        return (attention.in_proj_weight,)
    return tuple(getattr(attention, f"{part}_proj_weight") for part in "qkv")


class NarrowAttention(torch.nn.Module):
    """Scaled dot-product attention of the kept heads; called and answering as `torch.nn.MultiheadAttention`.

    Torch's own layer is tied to heads that fill its width. The encoder layer's fused kernel, which reads the weights of
    that layer, is switched off by what `in_proj_bias` and `_qkv_same_embed_dim` say.
    """

    in_proj_bias = None
    in_proj_weight = None
    _qkv_same_embed_dim = False

    def __init__(self, heads: Heads, kept: Sequence[int]) -> None:
        super().__init__()
        self.num_heads, self.head_dim = len(kept), heads.width
        self.heads = tuple(heads.numbers[head] for head in kept)
        self.batch_first, self.dropout = heads.batch_first, heads.dropout
        self.embed_dim = heads.output.out_features
        places = [head * heads.width + offset for head in kept for offset in range(heads.width)]
        rows = torch.tensor(places, device=heads.output.weight.device)
        self.q_proj, self.k_proj, self.v_proj = (
            _linear(weight.detach()[rows], heads.biases[part].detach()[rows] if heads.biases else None)
            for part, weight in enumerate(heads.weights)
        )
        output = heads.output
        self.out_proj = _linear(output.weight.detach()[:, rows], None if output.bias is None else output.bias.detach())
        for weight in self.parameters():
            weight.requires_grad_(output.weight.requires_grad)

    def forward(  # noqa: PLR0917 - torch's own
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,  # noqa: ARG002 - torch's own
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the output, shaped as the query, and the weights over (batch, queries, keys) where they are needed.

        Masks are as torch's: True, or minus infinity, where a place is not looked at; `is_causal` is a hint about
        `attn_mask` and changes nothing.
        """
        batched = query.dim() == 3
        if not batched:
            query, key, value = (part.unsqueeze(0) for part in (query, key, value))
        elif not self.batch_first:
            query, key, value = (part.transpose(0, 1) for part in (query, key, value))
        queries, keys, values = (
            projection(part).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for projection, part in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        mask = self._mask(attn_mask, key_padding_mask, queries)
        weights: torch.Tensor | None = None
        if need_weights:
            scores = queries @ keys.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            answer = functional.dropout(weights, self.dropout, self.training) @ values
        else:
            dropout = self.dropout if self.training else 0.0
            answer = functional.scaled_dot_product_attention(queries, keys, values, mask, dropout)
        output = self.out_proj(answer.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1), weights

    def _mask(
        self, over: torch.Tensor | None, padding: torch.Tensor | None, queries: torch.Tensor
    ) -> torch.Tensor | None:
        """Return both masks as numbers to add to (batch, heads, queries, keys); None for neither."""
        mask: torch.Tensor | None = None
        if over is not None:
            mask = _added(over, queries)
            if mask.dim() == 3:  # one for each case and head, of the heads that were there at first
                mask = mask.unflatten(0, (len(queries), -1))
                mask = mask if mask.shape[1] == self.num_heads else mask[:, list(self.heads)]
        if padding is not None:
            hidden = _added(padding.reshape(len(queries), 1, 1, -1), queries)
            mask = hidden if mask is None else mask + hidden
        return mask


def _added(mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if mask.dtype is not torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = torch.nn.Parameter(weight.contiguous())
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias.contiguous())
    return layer
