"""Keep which looks at evaluation rows there were: a line a look in the home, and a number in the lock of a recipe."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from titrant.runtime.run.evaluation_looks import LockedLooks, number_look, number_open_look
from titrant.runtime.store.home import Home
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.lock import lock_path, read_lock
from titrant.schema.open_looks import OPEN, share_of
from titrant.schema.plan import Plan
from titrant.schema.planned import Planned
from titrant.schema.record import EvaluationRows, Look, LookSubject
from titrant.schema.values.canonical import plain, read_back
from titrant.schema.values.files import append_line

# A look is numbered and noted in some milliseconds.
_SECONDS = 60.0
_BEGIN = b'{"number":'


def look_at(home: Home, planned: Planned, rows: EvaluationRows, judged: LookSubject) -> Look:
    """Number the look at some rows that judging a plan's candidates is; raises as `noted_looks` and `locked_looks`."""
    locked = locked_looks(planned.plan, Path(planned.recipe_file), rows.evaluation)
    contract = planned.plan.contract
    rate, noted = 1 - contract.confidence, noted_looks(home)
    if contract.looks == OPEN:
        return number_open_look(rows.sample, judged, rate / share_of(1), noted, locked)
    return number_look(rows.sample, judged, rate, noted, locked)


def check_looks(home: Home, planned: Planned) -> None:
    """Read what earlier looks are told from, so that a run fails at its begin where it could not be numbered."""
    noted_looks(home)
    locked_looks(planned.plan, Path(planned.recipe_file), "")


def locked_looks(plan: Plan, recipe: Path, evaluation: str) -> LockedLooks:
    """Read what the lock beside a recipe knows of looks at just these rows.

    Raises RecipeError P091 for a lock that cannot be read: it may know of looks that nothing else knows of.
    """
    lock = read_lock(lock_path(recipe))
    entries = () if lock is None else lock.entries.values()
    at_these = [entry for entry in entries if entry.evaluation.digest == evaluation]
    same = (entry.evaluation.runs for entry in at_these if entry.recipe == plan.recipe_digest)
    return LockedLooks(max((entry.evaluation.runs for entry in at_these), default=0), next(same, 0))


@contextmanager
def writing(home: Home) -> Iterator[None]:
    """Hold the ledger's lock, so that no other run numbers a look meanwhile.

    Raises StepError X434 when another process holds it for a minute.
    """
    from filelock import FileLock, Timeout

    home.looks.mkdir(parents=True, exist_ok=True)
    place = home.looks / "ledger.lock"
    try:
        with FileLock(place, timeout=_SECONDS):
            yield
    except Timeout:
        message = f"another process has held {place} for {_SECONDS:g} s, and looks are numbered one after the other"
        advice = "end that process, or wait for it, and run again"
        raise StepError(Diagnostic("X434", message, help=advice)) from None


def note_look(home: Home, look: Look) -> None:
    """Note a look for good: removing a run does not undo that its rows were seen."""
    home.looks.mkdir(parents=True, exist_ok=True)
    append_line(_ledger(home), json.dumps(plain(look), separators=(",", ":")).encode(), durable=True)


def noted_looks(home: Home) -> list[Look]:
    """List the looks that a home knows of, in their order.

    A line that a crash cut short is left out: a look is judged only after its line is whole. So is one of a version
    that did not charge looks. Raises StepError X433 for any other line that is no look.
    """
    try:
        lines = _ledger(home).read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return []
    looks = []
    for number, line in enumerate(lines, 1):
        if not line.strip(b"\0 \r") or _is_cut_short(line):
            continue
        try:
            value = json.loads(line)
            # Before looks were charged a line held no rate.
            if not isinstance(value, dict) or "spent" in value:
                looks.append(read_back(Look, value))
        except (ValueError, RecursionError) as error:
            raise _damaged(home, number, str(error)) from None
    return looks


def _is_cut_short(line: bytes) -> bool:
    """Whether a line is the begin of one that was being written; the rest of it may be missing or zero."""
    written = line.rstrip(b"\0")
    if len(written) < len(_BEGIN):
        return _BEGIN.startswith(written)
    return written.startswith(_BEGIN) and written.count(b"{") > written.count(b"}")


def _damaged(home: Home, number: int, why: str) -> StepError:
    message = f"{_ledger(home)}:{number} is no look at evaluation rows: {why}"
    advice = (
        f"restore the file from a backup; or take line {number} out, and the look that it held is not charged any more"
    )
    return StepError(Diagnostic("X433", message, help=advice))


def _ledger(home: Home) -> Path:
    return home.looks / "ledger.jsonl"
