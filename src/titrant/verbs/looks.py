"""Count how often the rows that judge have been looked at: the more often, the less a pass on them proves."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from titrant.schema.canonical import sha256

_ROWS = ("data.load", "data.split")
_ANSWER = "validate.predict"


def answers(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the results of a run's record, as JSON."""
    return [step["result"] for step in record["steps"] if step.get("result")]


def evaluation_digest(results: list[Mapping[str, Any]]) -> str:
    """Digest the rows as loaded with how they were split: what one looks at when one judges, on any machine."""
    found = {
        result["operator"]: {port: artifact["digest"] for port, artifact in result["outputs"].items()}
        for result in results
        if result["operator"] in _ROWS
    }
    return sha256(found)


def looked(results: list[Mapping[str, Any]]) -> frozenset[str]:
    """Tell runs apart by what they judged: the keys of everything that answered. A repetition learns nothing new."""
    return frozenset(result["key"] for result in results if result["operator"] == _ANSWER)


def looks(runs: Path, digest: str) -> int:
    """Count the runs of a home that judged different models on these rows; a rerun chooses nothing and is left out."""
    return len({looked(results) for results in _recorded(runs) if evaluation_digest(results) == digest})


def _recorded(runs: Path) -> Iterator[list[Mapping[str, Any]]]:
    for file in runs.glob("*/record.json"):
        if (file.parent / "rerun.json").exists():
            continue
        try:
            yield answers(json.loads(file.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            continue
