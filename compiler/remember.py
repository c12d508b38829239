"""Keep answers of child processes as JSON files."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.schema.canonical import canonical_json


def remember(place: Path, answer: Mapping[str, Any]) -> None:
    """Write an answer by rename; a disk that refuses costs only asking again next time."""
    unfinished = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(canonical_json(answer), encoding="utf-8")
        unfinished.replace(place)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
