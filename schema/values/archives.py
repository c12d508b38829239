"""Measure what a packed file unpacks to, before anything of it is unpacked.

Real data shrink by single figures, or by some tens where they are sparse. Packing shrinks a run of one byte a
thousandfold, so a file of a few megabytes can fill the memory of any machine.
"""

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, cast

from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import format_size

# What reading a damaged archive raises: a name in it that is no text, a place before its beginning, a method, a version
# or a password that it never had, and what says of itself that it is damaged.
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)

# A file that unpacks to more than so many times its size, and to so many bytes, is refused.
MOST_TIMES = 100
HARMLESS_BYTES = 256 << 20
_BLOCK = 1 << 20
_STREAMS: Mapping[str, Callable[[Path], IO[bytes]]] = {
    ".gz": lambda file: cast("IO[bytes]", gzip.open(file)),  # noqa: SIM115 - whoever measures closes it
    ".bz2": lambda file: cast("IO[bytes]", bz2.open(file)),  # noqa: SIM115 - whoever measures closes it
    ".xz": lambda file: cast("IO[bytes]", lzma.open(file)),  # noqa: SIM115 - whoever measures closes it
}


@dataclass(frozen=True)
class Unpacked:
    """What a file takes as it lies there and what it unpacks to, in bytes; `at_least` where nobody counted further.

    `swollen` is what those of its members take that grow too much each, beside others that hide them.
    """

    packed: int
    unpacked: int
    at_least: bool = False
    swollen: int = 0

    @property
    def too_large(self) -> bool:
        """Whether it grows beyond what data do."""
        grown = self.unpacked if self.unpacked > MOST_TIMES * self.packed else self.swollen
        return grown > HARMLESS_BYTES

    def __str__(self) -> str:
        more = "more than " if self.at_least else ""
        times = self.unpacked // max(self.packed, 1)
        grown = f"{more}{format_size(self.unpacked)}, {more}{times:,} times as much"
        return f"{format_size(self.packed)} would unpack to {grown}"


def measure_zip(file: Path, names: Collection[str] | None = None) -> Unpacked:
    """Measure a zip file, or some of its members, by its directory; one of DAMAGED where it has none.

    Members that lie over each other count each: each is unpacked.
    """
    with zipfile.ZipFile(file) as archive:
        members = [member for member in archive.infolist() if names is None or member.filename in names]
    swollen = sum(member.file_size for member in members if member.file_size > MOST_TIMES * member.compress_size)
    return Unpacked(file.stat().st_size, sum(member.file_size for member in members), swollen=swollen)


def is_packed_stream(file: Path) -> bool:
    """Tell by its name whether a file is one packed stream, which has no directory."""
    return file.suffix.lower() in _STREAMS


def measure_stream(file: Path) -> Unpacked:
    """Measure a packed stream by unpacking it into nothing, as far as it is harmless.

    OSError, EOFError, zlib.error or LZMAError where it is broken.
    """
    packed = file.stat().st_size
    limit = max(HARMLESS_BYTES, MOST_TIMES * packed)
    count = 0
    with _STREAMS[file.suffix.lower()](file) as stream:
        while block := stream.read(_BLOCK):
            count += len(block)
            if count > limit:
                return Unpacked(packed, count, at_least=True)
    return Unpacked(packed, count)
