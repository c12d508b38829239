"""Take secrets out of what a step printed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from titrant.schema.config.secret_lines import without_secret_lines

_BLOCK = 4 << 20


def clean_log(log: Path) -> None:
    """Rewrite a log that holds what looks like a secret; one that is not there, or holds none, stays as it is.

    It is written over in place: the worker goes on writing into the file that it has open.
    """
    if not log.is_file() or not any(block != _cleaned(block) for block in _blocks(log)):
        return
    beside = log.with_name(f".{log.name}")
    try:
        with beside.open("wb") as clean:
            for block in _blocks(log):
                clean.write(_cleaned(block))
        with beside.open("rb") as clean, log.open("r+b") as file:
            shutil.copyfileobj(clean, file)
            file.truncate()
    finally:
        beside.unlink(missing_ok=True)


def _cleaned(block: bytes) -> bytes:
    text = block.decode("utf-8", "surrogateescape")
    return without_secret_lines(text).encode("utf-8", "surrogateescape")


def _blocks(log: Path) -> Iterator[bytes]:
    """Yield whole lines, some megabytes at a time."""
    with log.open("rb") as file:
        while lines := file.readlines(_BLOCK):
            yield b"".join(lines)
