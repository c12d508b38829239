"""Write a file so that it is there whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

from titrant.schema.canonical import plain


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside the target, flush to disk, rename."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys."""
    text = json.dumps(plain(value), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())
