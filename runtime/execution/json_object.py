"""Read a JSON file that may be torn, missing or something else."""

import json
from pathlib import Path
from typing import Any


def json_object(path: Path) -> dict[str, Any] | None:
    """Return the object that a file holds; None where it holds none or cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
