"""The BLAKE3 digest of a file."""

import mmap
import os
from pathlib import Path

from blake3 import blake3

_MAP_BYTES = 1 << 20
_WINDOW_BYTES = 128 << 20


def digest_bytes(data: bytes) -> str:
    """Digest bytes, as 64 hexadecimal digits."""
    return blake3(data).hexdigest()


def digest_file(path: Path) -> str:
    """Digest one file's content, using every core for large files; OSError when it cannot be read."""
    if path.stat().st_size < _MAP_BYTES:
        return digest_bytes(path.read_bytes())
    hasher = blake3(max_threads=blake3.AUTO)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for offset in range(0, size, _WINDOW_BYTES):
            length = min(_WINDOW_BYTES, size - offset)
            # A window at a time: a map of the whole file would count as this process's memory, however large it is.
            with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=offset) as window:
                hasher.update(window)
    return hasher.hexdigest()
