"""A Llama of 260 thousand parameters, whose output layer is its table of words (Karpathy, llama2.c)."""

import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253


class Norm(nn.Module):
    """Scale by the root mean square."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (…, width)."""
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Block(nn.Module):
    """Attention, in which several queries share a key and a value, and a gated feed-forward net."""

    def __init__(self, width: int, inner: int, heads: int, shared: int):
        super().__init__()
        self.heads, self.shared, self.each = heads, shared, width // heads
        self.q, self.o = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(width, self.each * shared, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)
        self.before, self.between = Norm(width), Norm(width)

    def forward(self, x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        """Return (batch, places, width)."""
        batch, places, width = x.shape
        y = self.before(x)
        q = self._turned(self.q(y).view(batch, places, self.heads, self.each), turn).transpose(1, 2)
        k = self._turned(self.k(y).view(batch, places, self.shared, self.each), turn).transpose(1, 2)
        v = self.v(y).view(batch, places, self.shared, self.each).transpose(1, 2)
        k, v = (part.repeat_interleave(self.heads // self.shared, 1) for part in (k, v))
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(seen.transpose(1, 2).reshape(batch, places, width))
        y = self.between(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))

    @staticmethod
    def _turned(x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
        """Turn pairs of numbers by their place (Su et al. 2021, RoFormer)."""
        sine, cosine = turn.sin()[:, None], turn.cos()[:, None]
        left, right = x[..., 0::2], x[..., 1::2]
        return torch.stack((left * cosine - right * sine, left * sine + right * cosine), -1).flatten(-2)


class Llama(nn.Module):
    """(batch, places) of words → logits (batch, places, words)."""

    def __init__(self, width: int = 64, inner: int = 172, blocks: int = 5, words: int = 512):
        super().__init__()
        heads, shared = width // 8, width // 16
        self.words = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(Block(width, inner, heads, shared) for _ in range(blocks))
        self.norm = Norm(width)
        self.out = nn.Linear(width, words, bias=False)
        self.out.weight = self.words.weight
        self.each = width // heads

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, places, words)."""
        rates = 10000.0 ** (-torch.arange(0, self.each, 2, dtype=torch.float32) / self.each)
        turn = torch.arange(tokens.shape[1], dtype=torch.float32)[:, None] * rates
        x = self.words(tokens)
        for block in self.blocks:
            x = block(x, turn)
        return self.out(self.norm(x))
