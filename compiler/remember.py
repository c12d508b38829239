"""Keep answers of child processes as JSON files."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from titrant.schema.atomic import write_bytes
from titrant.schema.canonical import canonical_json


def remember(place: Path, answer: Mapping[str, Any]) -> None:
    """Write an answer by rename; a disk that refuses costs only asking again next time."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place, canonical_json(answer).encode(), durable=False)


def remembered(place: Path) -> dict[str, Any]:
    """Read an answer back; empty where there is none, and where the file cannot be read or holds none."""
    try:
        answer = json.loads(place.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
