"""The journal of a run: one JSON object a line, appended and never changed."""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from titrant.schema.values.files import BINARY
from titrant.schema.values.text import printable

# What is shown while it happens, but not kept.
PASSING = ("progress", "printed")
# What of an event is told and not kept: it may hold rows.
_TOLD = "said"
_OURS = ("step", "key", "plan", "name", "unit", "candidate", "search", "record", "manifest", "folder")


class Journal:
    """Events of one run: kept in memory until the run has a folder, then written through, and told to a listener."""

    def __init__(self, listen: Callable[[Mapping[str, Any]], None]) -> None:
        self._listen = listen
        self._waiting: list[bytes] = []
        self._file: int | None = None

    def open(self, path: Path) -> None:
        """Write everything so far to a file, and from now on each event as it comes."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o644)
        for line in self._waiting:
            _write(self._file, line)
        self._waiting.clear()

    def add(self, event: str, **fields: Any) -> None:
        """Record an event with the time in UTC; "step" and "key" are the fields that most events have."""
        entry = {"event": event, **_redacted(fields), "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        if event not in PASSING:
            kept = {name: value for name, value in entry.items() if name != _TOLD}
            _log(event, kept)
            line = printable(json.dumps(kept, ensure_ascii=False, allow_nan=False)).encode() + b"\n"
            if self._file is None:
                self._waiting.append(line)
            else:
                _write(self._file, line)
        self._listen(entry)

    def close(self) -> None:
        """Flush to disk and close; a journal without a file forgets what it has."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None


def _log(event: str, entry: Mapping[str, Any]) -> None:
    """Say an event to titrant's logger; whoever only reads a journal loads no logging."""
    import logging

    levels = {"failed": logging.WARNING, "rejected": logging.INFO, "note": logging.INFO, "closed": logging.INFO}
    logger = logging.getLogger("titrant.run")
    logger.log(levels.get(event, logging.DEBUG), "%s", _line(entry), extra={"fields": {"event": entry}})


def _redacted(fields: dict[str, Any]) -> dict[str, Any]:
    """Take secrets out of what people and libraries said; what titrant itself writes has none."""
    if not any(isinstance(value, str) and value for name, value in fields.items() if name not in _OURS):
        return fields
    from titrant.schema.config.secrets import redact

    return {**fields, **redact({name: value for name, value in fields.items() if name not in _OURS})[0]}


def _line(entry: Mapping[str, Any]) -> str:
    """Say an event in a line of a log for people."""
    said = (entry.get("because"), entry.get("text"), entry.get("verdict"))
    return " ".join(str(part) for part in (entry["event"], entry.get("step"), *said) if part)


def _write(file: int, line: bytes) -> None:
    """Write a whole line, however often the system takes only a part."""
    while line:
        line = line[os.write(file, line) :]


def read(path: Path) -> list[dict[str, Any]]:
    """Return a journal's events; a line that a crash cut short is left out, wherever it stands."""
    events = []
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "event" in entry:
            events.append(entry)
    return events
