"""Carry facts about a release in the header of a safetensors file, as one JSON-valued key of its metadata.

More keys than one would come in an order of their own in every process that writes them.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from titrant.runtime.backends.stamp import KEY, Piece

_METADATA = "__metadata__"
_MOST_BYTES = 100_000_000  # of a header, as the format's own reader has it


def pieces(file: Path, text: str) -> Sequence[Piece]:
    """Return a new header, filled up to whole words with spaces, and the tensors as they lie."""
    header, end = _header(file)
    metadata = {**header.get(_METADATA, {}), KEY: text}
    written = json.dumps({**header, _METADATA: metadata}, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % 8)
    return struct.pack("<Q", len(written)) + written, range(end, file.stat().st_size)


def read(file: Path) -> str:
    """Return the text; "" where there is none."""
    text = _header(file)[0].get(_METADATA, {}).get(KEY, "")
    return str(text)


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Return the header and where it ends; ValueError where a file has none."""
    with file.open("rb") as source:
        start = source.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MOST_BYTES + 1
        header = json.loads(source.read(length)) if length <= _MOST_BYTES else None
    if not isinstance(header, dict):
        raise ValueError(f"{file.name} has no header")
    return header, 8 + length
