"""What a released file says of its release: facts written beside the judged bytes, which stay as they are.

A stamp is new bytes between spans of the file as it was judged, so that nothing that it answers with can change, and
the same file with the same facts gives the same bytes.
"""

import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.frozen import dataclass

_METADATA = "__metadata__"
_MOST_HEADER_BYTES = 100_000_000  # the safetensors format's own limit
# Under which name the facts stand in every format.
KEY = "titrant.release"
# New bytes, or the places of bytes that are taken from the file as it was.
Piece = bytes | range
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True)
class Stamp:
    """How a kind of model carries facts about its release.

    `file` is which of the artifact's files has them. `pieces(path, text)` says what the file is made of once `text`,
    canonical JSON, is in it. `read(path)` returns that text, "" where there is none; OSError or ValueError for a file
    that is not of the kind.
    """

    file: str
    pieces: Callable[[Path, str], Sequence[Piece]]
    read: Callable[[Path], str]


def write(stamp: Stamp, file: Path, facts: Mapping[str, Any]) -> None:
    """Write facts into a file, which is replaced whole."""
    unfinished = file.with_name(f".{file.name[:100]}.stamped")
    with unfinished.open("wb") as target:
        for chunk in _chunks(file, stamp.pieces(file, canonical_json(facts))):
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    unfinished.replace(file)


def size(stamp: Stamp, file: Path, facts: Mapping[str, Any]) -> int:
    """Return how many bytes a file would have with these facts in it; nothing is written."""
    return sum(map(len, stamp.pieces(file, canonical_json(facts))))


def digest(stamp: Stamp, file: Path, facts: Mapping[str, Any]) -> str:
    """Return the digest that a file would have with these facts in it; nothing is written."""
    from blake3 import blake3

    hasher = blake3()
    for chunk in _chunks(file, stamp.pieces(file, canonical_json(facts))):
        hasher.update(chunk)
    return hasher.hexdigest()


def _chunks(file: Path, pieces: Sequence[Piece]) -> Iterator[bytes]:
    with file.open("rb") as source:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            source.seek(piece.start)
            for start in range(piece.start, piece.stop, _CHUNK_BYTES):
                yield source.read(min(_CHUNK_BYTES, piece.stop - start))


def _header_pieces(file: Path, text: str) -> Sequence[Piece]:
    """Return a new header, filled up to whole words with spaces, and the tensors as they lie."""
    header, end = _header(file)
    metadata = {**header.get(_METADATA, {}), KEY: text}
    written = json.dumps({**header, _METADATA: metadata}, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % 8)
    return struct.pack("<Q", len(written)) + written, range(end, file.stat().st_size)


def _header_text(file: Path) -> str:
    """Return the text; "" where there is none."""
    return str(header_metadata(file).get(KEY, ""))


def header_metadata(file: Path) -> Mapping[str, Any]:
    """Return the metadata of a safetensors file, without its tensors; OSError or ValueError for another file."""
    metadata = _header(file)[0].get(_METADATA, {})
    if not isinstance(metadata, dict):
        raise ValueError(f"{file.name} has metadata that are none")
    return metadata


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Return the header and where it ends; ValueError where a file has none."""
    with file.open("rb") as source:
        start = source.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MOST_HEADER_BYTES + 1
        header = json.loads(source.read(length)) if length <= _MOST_HEADER_BYTES else None
    if not isinstance(header, dict):
        raise ValueError(f"{file.name} has no header")
    return header, 8 + length


# As one JSON-valued key of the header's metadata: several would come in an order of their own in every process.
SAFETENSORS = Stamp("model.safetensors", _header_pieces, _header_text)
