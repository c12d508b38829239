"""Rows of TITRANT_DATA as data factories of the benchmark's recipes, whose folder holds a copy of this file."""

import os
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np

PLACES = 64
Sources = dict[str, dict[str, np.ndarray]]


def _data() -> Path:
    return Path(os.environ["TITRANT_DATA"])


def fashion(train: int = 20_000) -> Sources:
    """Return `train` and `test`: image (rows, 1, 28, 28) float32 as the networks learned it, and label."""
    arrays = np.load(_data() / "fashion_mnist" / "fashion_mnist.npz")

    def part(name: str, rows: int) -> dict[str, np.ndarray]:
        image = (arrays[f"{name}_x"][:rows].astype(np.float32) / 255 - 0.286) / 0.353
        return {"image": image[:, None].astype(np.float32), "label": arrays[f"{name}_y"][:rows].astype(np.int64)}

    return {"train": part("train", train), "test": part("test", 10_000)}


def halves(train: int = 20_000) -> Sources:
    """Return the images of `fashion` cut in two: top and bottom (rows, 1, 14, 28)."""
    return {
        name: {"top": part["image"][:, :, :14], "bottom": part["image"][:, :, 14:], "label": part["label"]}
        for name, part in fashion(train).items()
    }


def adult(train: int = 20_000) -> Sources:
    """Return `train` and `test` of the census: row (rows, 108) float32 and label 0 or 1."""
    import nets  # type: ignore[import-not-found]  # small_nets' own encoding

    nets.DATA = _data()
    parts = nets.adult()
    return {name: {key: array[:train] for key, array in part.items()} for name, part in parts.items()}


def characters(train: int = 12_000, test: int = 4_000) -> Sources:
    """Return windows of Shakespeare: tokens (rows, 64) int64 and label, the character that follows.

    The last tenth of the text is `test`; which windows are taken is drawn with a fixed seed.
    """
    text = (_data() / "tinyshakespeare" / "tinyshakespeare.txt").read_text("utf-8")
    letters = sorted(set(text))
    numbers = np.array([letters.index(letter) for letter in text], np.int64)
    cut = len(numbers) * 9 // 10
    generator = np.random.default_rng(0)

    def part(some: np.ndarray, rows: int) -> dict[str, np.ndarray]:
        starts = generator.choice(len(some) - PLACES - 1, rows, replace=False)
        windows = some[starts[:, None] + np.arange(PLACES + 1)]
        return {"tokens": windows[:, :-1], "label": windows[:, -1]}

    return {"train": part(numbers[:cut], train), "test": part(numbers[cut:], test)}


def stories() -> dict[str, np.ndarray]:
    """Return every window of 64 words of the five sample stories: tokens (rows, 64) int64."""
    folder = _data() / "stories260K"
    words = _words((folder / "tok512.bin").read_bytes())
    text = (folder / "tinystories_sample.txt").read_text("utf-8")
    windows = []
    for story in text.split("<|endoftext|>"):
        numbers = np.array([1, *_encode(f" {story.strip()}", words)], np.int64)
        windows += [numbers[start : start + PLACES] for start in range(len(numbers) - PLACES + 1)]
    return {"tokens": np.stack(windows)}


def digits() -> dict[str, np.ndarray]:
    """Return the images of scikit-learn's digits as its recipe reads them: image (rows, 1, 8, 8), pixels 0 to 1."""
    from sklearn.datasets import load_digits

    return {"image": (load_digits().images / 16).astype(np.float32)[:, None]}


def _words(stored: bytes) -> dict[bytes, tuple[float, int]]:
    """Read a word list of llama2.c: the longest word's length, then score, length and bytes of every word."""
    words: dict[bytes, tuple[float, int]] = {}
    place = 4
    while place < len(stored):
        score, length = struct.unpack_from("fi", stored, place)
        words.setdefault(stored[place + 8 : place + 8 + length], (score, len(words)))
        place += 8 + length
    return words


def _encode(text: str, words: dict[bytes, tuple[float, int]]) -> list[int]:
    """Merge the neighbors that make the word of the highest score, until none do (byte-pair encoding of llama2.c)."""
    parts: list[bytes] = []
    for letter in text:
        whole = letter.encode()
        parts += [whole] if whole in words else [f"<0x{byte:02X}>".encode() for byte in whole]
    while True:
        scores = [words.get(left + right, (-np.inf, 0))[0] for left, right in pairwise(parts)]
        if not scores or max(scores) == -np.inf:
            return [words[part][1] for part in parts]
        best = int(np.argmax(scores))
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
