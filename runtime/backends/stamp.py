"""What a released file says of its release: facts written beside the judged bytes, which stay as they are.

A stamp is new bytes between spans of the file as it was judged, so that nothing that it answers with can change, and
the same file with the same facts gives the same bytes.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.frozen import dataclass

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
