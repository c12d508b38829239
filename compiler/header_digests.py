"""Digests of what large weights files say of themselves: names, dtypes and shapes, without their values."""

import zipfile
from pathlib import Path

from blake3 import blake3

# A smaller file is digested whole in less time than a header takes to be read with care.
LARGE_BYTES = 256 << 20
PREFIX = "header-"
_MOST_HEADER_BYTES = 100_000_000


def header_digest(path: Path) -> str | None:
    """Digest the header of a large weights file as "header-…"; None for a file that is small or has none.

    A safetensors file has its header in front; a .pt file is a zip archive, whose directory, with the check sums of all
    values, and pickle stand for it. None also for a file that cannot be read: whoever digests it whole says so.
    """
    try:
        size = path.stat().st_size
        if size < LARGE_BYTES:
            return None
        header = _safetensors(path) if path.suffix == ".safetensors" else _archive(path)
    except OSError:
        return None
    if header is None:
        return None
    return PREFIX + blake3(header + str(size).encode()).hexdigest()


def _safetensors(path: Path) -> bytes | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return file.read(length) if length <= _MOST_HEADER_BYTES else None


def _archive(path: Path) -> bytes | None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [(one.filename, one.file_size, one.CRC) for one in archive.infolist()]
            pickles = [archive.read(name) for name, *_ in entries if name.endswith("data.pkl")]
    except (zipfile.BadZipFile, NotImplementedError):
        return None
    return repr(entries).encode() + b"".join(pickles)
