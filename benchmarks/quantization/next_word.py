"""The 260 K Llama as a classifier of the next word, and its published weights as this module's state."""

import struct
from pathlib import Path

import torch  # noqa: TID253 - the file defines torch modules
from llama import Llama


class NextWord(Llama):
    """(batch, places) of words → logits of the word that follows the last place (batch, words)."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits behind the last place."""
        return super().forward(tokens)[:, -1]


def convert(stored: Path, file: Path) -> None:
    """Write the weights of a llama2.c file as a state dict: all blocks' matrices of one kind lie behind each other."""
    data = stored.read_bytes()
    width, inner, blocks, heads, shared, words, _ = struct.unpack("7i", data[:28])
    numbers, place = torch.frombuffer(bytearray(data[28:]), dtype=torch.float32), 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal place
        count = torch.Size(shape).numel()
        place += count
        return numbers[place - count : place].reshape(shape).clone()

    keys = width // heads * shared
    state = {"words.weight": take(words, width)}
    parts = (
        ("before", (width,)), ("q", (width, width)), ("k", (keys, width)), ("v", (keys, width)), ("o", (width, width)),
        ("between", (width,)), ("gate", (inner, width)), ("down", (width, inner)), ("up", (inner, width)),
    )  # fmt: skip
    for name, shape in parts:
        every = take(blocks, *shape)
        state |= {f"blocks.{block}.{name}.weight": every[block].clone() for block in range(blocks)}
    state["norm.weight"] = take(width)
    state["out.weight"] = state["words.weight"]
    torch.save(state, file)
