"""JSON values: measurements, operating points, judgements."""

import json
from pathlib import Path
from typing import Any

from titrant.schema.canonical import canonical_json

FILE = "value.json"


def save(value: Any, folder: Path) -> None:
    """Write canonical JSON; TypeError or ValueError for what JSON cannot hold."""
    (folder / FILE).write_bytes(encode(value))


def encode(value: Any) -> bytes:
    """Return the bytes that `save` writes."""
    return canonical_json(value).encode()


def load(folder: Path) -> Any:
    """Read the JSON."""
    return json.loads((folder / FILE).read_bytes())
