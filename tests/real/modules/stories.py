"""The stories260K model (a Llama of llama2.c), its tokenizer, and stories as rows of tokens."""

import struct
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253

LENGTH = 457  # the longest of the five stories
FIRST = 1  # what every story begins with


class Norm(nn.Module):
    """Root mean square normalization."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Block(nn.Module):
    """Attention with fewer keys than queries, rotated by place, and a gated feed-forward part."""

    def __init__(self, width: int, heads: int, groups: int, hidden: int):
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.attention_norm, self.feed_norm = Norm(width), Norm(width)
        self.wq, self.wo = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.wk, self.wv = (nn.Linear(width, groups * self.size, bias=False) for _ in range(2))
        self.w1, self.w3 = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.w2 = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor, places: tuple[torch.Tensor, torch.Tensor], future: torch.Tensor) -> torch.Tensor:
        rows, length, width = x.shape
        normed = self.attention_norm(x)
        queries, keys, values = (
            layer(normed).view(rows, length, count, self.size).transpose(1, 2)
            for layer, count in ((self.wq, self.heads), (self.wk, self.groups), (self.wv, self.groups))
        )
        times = self.heads // self.groups
        keys, values = rotated(keys, places).repeat_interleave(times, 1), values.repeat_interleave(times, 1)
        scores = rotated(queries, places) @ keys.transpose(-1, -2) / self.size**0.5 + future
        x = x + self.wo((scores.softmax(-1) @ values).transpose(1, 2).reshape(rows, length, width))
        normed = self.feed_norm(x)
        return x + self.w2(nn.functional.silu(self.w1(normed)) * self.w3(normed))


def rotated(x: torch.Tensor, places: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Turn pairs of numbers by angles that grow with the place."""
    (cos, sin), even, odd = places, x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


class Stories(nn.Module):
    """(batch, length) tokens → logits (batch, length, 512)."""

    def __init__(self, file: str, length: int = LENGTH):
        super().__init__()
        raw = Path(file).read_bytes()
        width, hidden, layers, heads, groups, vocabulary, _ = struct.unpack("7i", raw[:28])
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, groups, hidden) for _ in range(layers))
        self.norm, self.out = Norm(width), nn.Linear(width, vocabulary, bias=False)
        numbers = torch.frombuffer(bytearray(raw[28:]), dtype=torch.float32)
        layered = ("attention_norm", "wq", "wk", "wv", "wo", "feed_norm", "w1", "w2", "w3")
        inner = [getattr(block, name).weight for name in layered for block in self.blocks]
        with torch.no_grad():
            for weight in (self.embed.weight, *inner, self.norm.weight):
                weight.copy_(numbers[: weight.numel()].view_as(weight))
                numbers = numbers[weight.numel() :]
            self.out.weight.copy_(self.embed.weight)
        size = width // heads
        angles = torch.outer(torch.arange(length).float(), 10000.0 ** -(torch.arange(0, size, 2).float() / size))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        self.register_buffer("future", torch.full((length, length), -1e9).triu(1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        x, places = self.embed(tokens), (self.cos[:length], self.sin[:length])
        for block in self.blocks:
            x = block(x, places, self.future[:length, :length])
        return self.out(self.norm(x))


def tokens_of(text: str, file: str) -> list[int]:
    """Join the letters of a text pair by pair, the best pair first (byte pair encoding)."""
    pieces, scores = _vocabulary(file)
    numbers = {piece: number for number, piece in reversed(list(enumerate(pieces)))}
    tokens: list[int] = []
    for letter in f" {text}":
        own = letter.encode()
        tokens += [numbers[own]] if own in numbers else [byte + 3 for byte in own]
    while True:
        pairs = [(pieces[left] + pieces[right], place) for place, (left, right) in enumerate(pairwise(tokens))]
        joined = [(scores[numbers[pair]], -place, numbers[pair]) for pair, place in pairs if pair in numbers]
        if not joined:
            return tokens
        _, place, number = max(joined)
        tokens[-place : -place + 2] = [number]


@cache
def _vocabulary(file: str) -> tuple[list[bytes], list[float]]:
    raw, place, pieces, scores = Path(file).read_bytes(), 4, [], []
    while place < len(raw):
        score, length = struct.unpack("fi", raw[place : place + 8])
        pieces.append(raw[place + 8 : place + 8 + length])
        scores.append(score)
        place += 8 + length
    return pieces, scores


def load(folder: str, length: int = LENGTH) -> dict[str, dict[str, np.ndarray]]:
    """Read the five stories, and let the model itself begin some more, each with the tokens that are to follow.

    Of each story the first `length` tokens are read.
    """
    text = Path(folder, "tinystories_sample.txt").read_text("utf-8")
    told = [
        [FIRST, *tokens_of(story.strip(), f"{folder}/tok512.bin")][:length]
        for story in text.split("<|endoftext|>")
        if story.strip()
    ]
    generator, drawn = torch.Generator().manual_seed(0), torch.full((6, 1), FIRST)
    model = Stories(f"{folder}/stories260K.bin").eval()
    with torch.inference_mode():
        for _ in range(24):
            chances = model(drawn)[:, -1].softmax(-1)
            drawn = torch.cat([drawn, torch.multinomial(chances, 1, generator=generator)], 1)
    return {"told": _padded(told, length), "drawn": _padded(drawn.tolist(), length)}


def _padded(stories: list[list[int]], length: int) -> dict[str, np.ndarray]:
    tokens, following = np.zeros((len(stories), length), np.int64), np.full((len(stories), length), -100)
    for row, story in enumerate(stories):
        tokens[row, : len(story)] = story
        following[row, : len(story) - 1] = story[1:]
    return {"tokens": tokens, "following": following}
