"""The runs of a home in the order in which they began."""

import json
import os
import re
from collections import Counter
from pathlib import Path

# How a run's folder begins: the second, in UTC, in which the run began.
BEGAN = re.compile(r"\d{8}T\d{6}Z-")
_SECOND = 16


def newest_first(runs: Path, part: str = "") -> list[Path]:
    """List the folders below `runs` whose names hold `part`, the newest run first.

    The name says in which second a run began; for runs that share one, the journal says which was first. Folders that
    are not named as runs are come last.
    """
    try:
        names = [name for name in os.listdir(runs) if part in name]  # noqa: PTH208 - no Path each
    except (FileNotFoundError, NotADirectoryError):
        return []
    shared = Counter(name[:_SECOND] for name in names)

    def place(name: str) -> tuple[bool, str, str, str]:
        second = name[:_SECOND]
        return bool(BEGAN.match(name)), second, _began(runs / name) if shared[second] > 1 else "", name

    return [runs / name for name in sorted(names, key=place, reverse=True)]


def _began(folder: Path) -> str:
    """Return the time of a run's first event, to the millisecond; "" where its journal cannot be read."""
    try:
        with (folder / "journal.jsonl").open("rb") as journal:
            return str(json.loads(journal.readline())["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
