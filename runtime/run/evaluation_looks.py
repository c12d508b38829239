"""Count how often a home's evaluation rows were judged on: the more often, the less a pass on them proves."""

import re
from collections.abc import Iterable
from pathlib import Path

from titrant.runtime.store.home import Home
from titrant.schema.plan import Plan
from titrant.schema.record import StepRecord, StepResult
from titrant.schema.values.canonical import sha256
from titrant.schema.values.files import append_line

_ROWS = ("data.load", "data.split")
_ANSWER = "validate.predict"
_LINE = re.compile(rb"[0-9a-f]{64}")


def evaluation_digest(results: Iterable[StepResult]) -> str:
    """Digest the rows as loaded with how they were split: what one looks at when one judges, on any machine."""
    digests = {
        result.operator: {port: artifact.digest for port, artifact in result.outputs.items()}
        for result in results
        if result.operator in _ROWS
    }
    return sha256(digests)


def looked(plan: Plan, records: Iterable[StepRecord]) -> str:
    """Digest what answered evaluation rows; "" where nothing did. The same models again learn nothing new."""
    judging = {step.id for step in plan.steps if step.stage == "judge" and step.operator == _ANSWER}
    keys = sorted({record.key for record in records if record.result is not None and record.step in judging})
    return sha256(keys) if keys else ""


def looks_at(home: Home, evaluation: str) -> int:
    """Return how many different sets of models were judged on these rows in this home."""
    return len(_noted(home, evaluation))


def place_of(home: Home, evaluation: str, look: str) -> int:
    """Return which look at these rows one is, the first being 1: its own place where it was noted, else the next."""
    noted = _noted(home, evaluation)
    return noted.index(look) + 1 if look in noted else len(noted) + 1


def note_look(home: Home, evaluation: str, look: str) -> None:
    """Note a look at these rows for good: removing a run does not undo that its rows were seen."""
    if look in _noted(home, evaluation):
        return
    place = _place(home, evaluation)
    place.parent.mkdir(exist_ok=True)
    append_line(place, look.encode(), durable=True)


def _noted(home: Home, evaluation: str) -> list[str]:
    """List the looks in the order in which they were noted; a line that a crash cut short is left out."""
    try:
        lines = _place(home, evaluation).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return list(dict.fromkeys(line.decode() for line in lines if _LINE.fullmatch(line)))


def _place(home: Home, evaluation: str) -> Path:
    return home.looks / evaluation
