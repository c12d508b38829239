"""Read what a safetensors file holds from its header, without reading a value.

The format: eight bytes, little endian, that give the header's length; the header, JSON, with names, dtypes and shapes;
then the values. Source: https://huggingface.co/docs/safetensors (the format's description).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# The format's own limit.
_MOST_HEADER_BYTES = 100_000_000
_METADATA = "__metadata__"
# The file's name of a dtype → torch's.
DTYPES: Mapping[str, str] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
_BITS = re.compile(r"\d+")


@dataclass(frozen=True)
class HeldTensor:
    """A tensor of a weights file: torch's name of its dtype, its shape and its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(file: Path) -> tuple[HeldTensor, ...]:
    """List the tensors in the order in which their values stand in the file, without reading a value.

    Raises ValueError for a header that is damaged, or that the file's size or its own figures contradict, OSError for a
    file that cannot be read.
    """
    entries, length = _entries(file)
    placed = sorted(_placed(name, entry) for name, entry in entries.items() if name != _METADATA)
    end = 0
    for begin, after, name, tensor in placed:
        due = tensor.elements * _item_bytes(entries[name]["dtype"])
        if begin != end or tensor.size_bytes != due:
            raise ValueError(f"its header gives {name} {tensor.size_bytes} bytes from {begin}, not {due} from {end}")
        end = after
    if file.stat().st_size != 8 + length + end:
        raise ValueError(f"it has {file.stat().st_size} bytes, and its header describes {8 + length + end}")
    return tuple(tensor for *_, tensor in placed)


def read_metadata(file: Path) -> Mapping[str, str]:
    """Return what whoever wrote a file said of it; raises as `read_header`."""
    metadata = _entries(file)[0].get(_METADATA, {})
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is not a mapping")
    return metadata


def _entries(file: Path) -> tuple[dict[str, Any], int]:
    """Return the header, and how many bytes it has."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= _MOST_HEADER_BYTES:
            raise ValueError("it has no safetensors header")
        text = opened.read(length)
    if len(text) < length:
        raise ValueError("its header is cut short")
    entries = json.loads(text)
    if not isinstance(entries, dict):
        raise ValueError("its header is not a mapping")
    return entries, length


def meta_state(file: Path) -> "dict[str, torch.Tensor]":
    """Return name → tensor on the meta device, of the file's shapes and dtypes; ValueError as `read_header`."""
    import torch

    return {
        held.name: torch.empty(held.shape, dtype=getattr(torch, held.dtype), device="meta")
        for held in read_header(file)
    }


def _item_bytes(code: str) -> int:
    """Return the bytes of one number of a dtype, as the file calls it."""
    bits = _BITS.search(code)
    return 1 if bits is None else int(bits[0]) // 8  # of a bool the name tells none


def _placed(name: str, entry: Any) -> tuple[int, int, str, HeldTensor]:
    try:
        begin, end = entry["data_offsets"]
        tensor = HeldTensor(name, DTYPES[entry["dtype"]], tuple(map(int, entry["shape"])), end - begin)
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"its header describes {name} in a way that is not known") from None
    return begin, end, name, tensor
