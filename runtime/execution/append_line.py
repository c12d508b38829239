"""Append a line to a file that several processes write to."""

import os
from pathlib import Path


def append_line(path: Path, line: bytes, *, durable: bool) -> None:
    """Write a line in one call, so that lines of two processes do not mix; a line cut short by a crash is ended first.

    `line` has no line end. A `durable` one is on the disk when this returns. Raises OSError.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        os.write(file, b"\n" * torn + line + b"\n")
        if durable:
            os.fsync(file)
    finally:
        os.close(file)
