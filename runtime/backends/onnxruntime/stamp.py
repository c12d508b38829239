"""Carry facts about a release in an ONNX file's `metadata_props`, without reading its graph.

A protobuf message may be followed by more of its fields: an entry of a list that comes last is one entry more.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from titrant.runtime.backends.stamp import KEY, Piece

# Field numbers of ModelProto and of StringStringEntryProto.
_METADATA, _ENTRY_KEY, _ENTRY_VALUE = 14, 1, 2
# Wire types: a number, eight bytes, bytes of a stated length, four bytes.
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def pieces(file: Path, text: str) -> Sequence[Piece]:
    """Return the file without what it says of an earlier release, and behind it one more entry of its metadata.

    A file that is released again as it was has such an entry, and onnx refuses one with two of the same key.
    """
    entry = _field(_ENTRY_KEY, KEY.encode()) + _field(_ENTRY_VALUE, text.encode())
    spans, start = [], 0
    for begin, end in _entries(file):
        spans.append(range(start, begin))
        start = end
    return *spans, range(start, file.stat().st_size), _field(_METADATA, entry)


def _entries(file: Path) -> Iterator[tuple[int, int]]:
    """Yield where each entry about a release begins and ends."""
    with file.open("rb") as source:
        for number, length in _fields(source, file.stat().st_size):
            head = len(_varint(number << 3 | _LENGTH)) + len(_varint(length))
            begin = source.tell() - head
            if number == _METADATA and dict(_texts(source, length)).get(_ENTRY_KEY) == KEY:
                yield begin, begin + head + length


def read(file: Path) -> str:
    """Return the text of the entry, the last where there are several; "" where there is none."""
    text = ""
    with file.open("rb") as source:
        for number, length in _fields(source, file.stat().st_size):
            if number == _METADATA:
                entry = dict(_texts(source, length))
                text = entry.get(_ENTRY_VALUE, "") if entry.get(_ENTRY_KEY) == KEY else text
    return text


def _texts(source: BinaryIO, length: int) -> Iterator[tuple[int, str]]:
    for number, size in _fields(source, source.tell() + length):
        yield number, source.read(size).decode()


def _fields(source: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yield each field with bytes: its number and length, the file standing at its first byte; ValueError else."""
    while source.tell() < end:
        number, wire = divmod(_number(source), 8)
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)
        if wire == _VARINT:
            _number(source)
        elif wire == _LENGTH:
            length = _number(source)
        elif not length:
            raise ValueError(f"wire type {wire}")
        after = source.tell() + length
        if after > end:
            raise ValueError("a field that is longer than the file")
        if wire == _LENGTH:
            yield number, length
        source.seek(after)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def _number(source: BinaryIO) -> int:
    value, shift = 0, 0
    while shift < 64:
        (byte,) = source.read(1) or (None,)
        if byte is None:
            raise ValueError("the file ends within a number")
        value |= (byte & 127) << shift
        if byte < 128:
            return value
        shift += 7
    raise ValueError("a number of more than 64 bits")
