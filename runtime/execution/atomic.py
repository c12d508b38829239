"""Write JSON so that it is there whole or not at all."""

import json
from pathlib import Path
from typing import Any

from titrant.schema.atomic import write_bytes
from titrant.schema.canonical import plain

__all__ = ["write_bytes", "write_json"]


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys."""
    text = json.dumps(plain(value), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())
