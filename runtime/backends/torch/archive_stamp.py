"""Carry facts about a release in an extra file of torch's archives: TorchScript (.pt) and torch.export (.pt2).

Both are ZIP files of entries that are stored as they are; one entry more changes none of the others. The facts come
back as `torch.jit.load(path, _extra_files={"titrant.release": ""})`, for .pt2 as `torch.export.load(path,
extra_files={"titrant.release": ""})`.
"""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from titrant.runtime.backends.stamp import KEY, Piece

# The entry's name below the archive's own folder.
_PLACE = f"extra/{KEY}"
_VERSION, _DOS_DATE = 45, 0x21  # 1 January 1980, as torch's own entries have it
_WIDE = 0xFFFF_FFFF
_ENTRY = 0x02014B50
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_WIDE_END = struct.Struct("<IQHHIIQQQQ")
_LOCATOR = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")


def pieces(file: Path, text: str) -> Sequence[Piece]:
    """Return the archive's entries, one more, the list of entries with that one, and the end of the archive.

    The list and its end are written with 64-bit places, as torch writes them. Facts that are there already are left out
    of the list. ValueError for what is no such archive.
    """
    start, listed = _listed(file)
    if not listed:
        raise ValueError(f"{file.name} holds nothing")
    kept = [entry for name, entry in listed if name.partition("/")[2] != _PLACE]
    name = f"{listed[0][0].partition('/')[0]}/{_PLACE}".encode()
    data = text.encode()
    sums = (zlib.crc32(data), len(data), len(data))
    local = _LOCAL.pack(0x04034B50, _VERSION, 0, 0, 0, _DOS_DATE, *sums, len(name), 0) + name + data
    wide_place = struct.pack("<HHQ", 1, 8, start)
    fields = (_VERSION, _VERSION, 0, 0, 0, _DOS_DATE, *sums, len(name), len(wide_place), 0, 0, 0, 0, _WIDE)
    entries = b"".join([*kept, _CENTRAL.pack(_ENTRY, *fields), name, wide_place])
    at, count = start + len(local), len(kept) + 1
    wide = _WIDE_END.pack(0x06064B50, _WIDE_END.size - 12, _VERSION, _VERSION, 0, 0, count, count, len(entries), at)
    locator = _LOCATOR.pack(0x07064B50, 0, at + len(entries), 1)
    end = _END.pack(0x06054B50, 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), min(len(entries), _WIDE), _WIDE, 0)
    return range(start), local + entries + wide + locator + end


def _listed(file: Path) -> tuple[int, list[tuple[str, bytes]]]:
    """Return where the list of entries begins, and each entry's name and bytes in the list."""
    try:
        with zipfile.ZipFile(file) as archive:
            names, start = archive.namelist(), archive.start_dir
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from None
    with file.open("rb") as source:
        source.seek(start)
        tail = source.read()
    entries: list[tuple[str, bytes]] = []
    at = 0
    for name in names:
        lengths = struct.unpack_from("<HHH", tail, at + 28)
        after = at + _CENTRAL.size + sum(lengths)
        entries.append((name, tail[at:after]))
        at = after
    return start, entries


def read(file: Path) -> str:
    """Return the text of the entry; "" where there is none."""
    try:
        with zipfile.ZipFile(file) as archive:
            name = next((name for name in archive.namelist() if name.partition("/")[2] == _PLACE), None)
            return "" if name is None else archive.read(name).decode()
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from None
