"""Number the looks at evaluation rows by what the rows hold: the more often, the less a pass on them proves.

A look is a recipe's models judged by its contract on some rows. Its number is one above the highest that a tenth of its
rows carry, whatever the seed, the split or the file they came from; what was looked at is kept by digests of rows in
the home, and for other homes in the lock beside the recipe. See docs/decisions/looks.md.
"""

import contextlib
import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from titrant.runtime.run.walk import Walk
from titrant.runtime.store.home import Home
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.gate import criteria
from titrant.schema.lock import lock_path, read_lock
from titrant.schema.plan import Plan
from titrant.schema.planned import Planned
from titrant.schema.record import EvaluationRows, Look, LookSubject, RowSample, StepResult
from titrant.schema.values.canonical import WrongValueError, plain, read_back, sha256
from titrant.schema.values.files import append_line
from titrant.schema.values.frozen import dataclass

# Rows that a look keeps of all: those with the smallest digests, the same ones of any rows that overlap.
SAMPLE = 256
# From this share of a look's rows on it is one at the same rows.
_SHARED = 0.1
_ROWS = ("data.load", "data.split", "data.unlabeled")
_ROWS_FILE, _IDS = "rows.safetensors", "ids"


@dataclass(frozen=True)
class LockedLooks:
    """What a lock knows of looks at some rows: the highest number, and that of this very recipe (0: none)."""

    highest: int = 0
    same: int = 0


NO_LOCK = LockedLooks()


def evaluation_digest(results: Iterable[StepResult]) -> str:
    """Digest the rows as loaded with how they were split: what one looks at when one judges, on any machine."""
    digests = {
        result.operator: {port: artifact.digest for port, artifact in result.outputs.items()}
        for result in results
        if result.operator in _ROWS
    }
    return sha256(digests)


def evaluation_rows(walk: Walk) -> EvaluationRows | None:
    """Tell which rows a plan judges on; None where no step made any."""
    references = _rows_read(walk.plan)
    if not references or any(reference not in walk.artifacts for reference in references):
        return None
    files = [walk.blob(reference, _ROWS_FILE) for reference in references]
    results = (record.result for record in walk.records.values() if record.result is not None)
    there = [file for file in files if file is not None]
    return EvaluationRows(sample_of(*there), evaluation_digest(results)) if len(there) == len(files) else None


def _rows_read(plan: Plan) -> list[str]:
    """Return "step.port" of the rows that candidates are judged on: with labels, and without where there are any."""
    judging = {candidate.judgement.rpartition(".")[0] for candidate in plan.candidates}
    sources = (step.inputs.get(port) for step in plan.steps if step.id in judging for port in ("rows", "unlabeled"))
    return list(dict.fromkeys(source for source in sources if isinstance(source, str)))


def sample_of(*files: Path) -> RowSample:
    """Read which rows some files of rows hold (safetensors: a length, a header of JSON, the numbers)."""
    numbers: set[int] = set()
    for file in files:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            start, end = json.loads(stream.read(size))[_IDS]["data_offsets"]
            stream.seek(8 + size + start)
            numbers.update(struct.unpack(f"<{(end - start) // 8}Q", stream.read(end - start)))
    return RowSample(len(numbers), tuple(f"{number:016x}" for number in sorted(numbers)[:SAMPLE]))


def number_look(
    sample: RowSample, judged: LookSubject, rate: float, noted: Sequence[Look], locked: LockedLooks = NO_LOCK
) -> Look:
    """Number a look at some rows, which may be wrong at some rate.

    What was judged on the same rows before is the same look as then. Of looks that only a lock knows, each is taken to
    have spent as much as this one.
    """
    again = next((look for look in noted if _is_same(look, sample, judged)), None)
    if again is not None:
        return Look(again.number, again.spent, judged, sample.rows, sample.ids, again.with_ledger)
    before = _carried(sample, noted)
    number, spent = (0, 0.0) if before is None else (before.number, before.spent)
    if locked.highest > number:
        number, spent = locked.highest, locked.highest * rate
    if locked.same:
        number, spent = locked.same - 1, (locked.same - 1) * rate
    with_ledger = bool(noted) or locked.highest > 0
    return Look(number + 1, spent + rate, judged, sample.rows, sample.ids, with_ledger)


def _is_same(look: Look, sample: RowSample, judged: LookSubject) -> bool:
    """Whether a look was at these very rows, and at what the same recipe makes, or at the same bytes."""
    rows = (look.rows, look.ids) == (sample.rows, sample.ids)
    return rows and (look.judged.recipe == judged.recipe or look.judged.files == judged.files)


def judged_by(walk: Walk, candidates: Iterable[str]) -> LookSubject:
    """Digest what is judged: what the recipe makes and asks, and the very files with the gates that judge them."""
    models = {candidate.id: candidate.model for candidate in walk.plan.candidates}
    files = sorted({walk.artifacts[models[name]].digest for name in candidates})
    original = walk.artifacts[walk.plan.original].digest
    gates = [criteria(gate) for gate in walk.plan.contract.gates]
    return LookSubject(walk.plan.judged, sha256({"files": files, "original": original, "gates": gates}))


def _carried(sample: RowSample, noted: Sequence[Look]) -> Look | None:
    """Return a look of the highest number that a tenth of the rows carry, a row the highest that was at it."""
    for number in sorted({look.number for look in noted}, reverse=True):
        at_least = [look for look in noted if look.number >= number]
        whole = [look for look in at_least if look.rows == len(look.ids)]
        parts = [[look] for look in at_least if look.rows > len(look.ids)]
        if any(_share(sample, looks) >= _SHARED for looks in (whole, *parts)):
            return next(look for look in at_least if look.number == number)
    return None


def _share(sample: RowSample, looks: Sequence[Look]) -> float:
    """Return which share of the rows some looks were at, as far as what is kept of them tells."""
    kept: list[Look | RowSample] = [*looks, sample]
    # Beyond the largest digest that is kept of more rows nobody knows whether a row was among them.
    bound = min((part.ids[-1] for part in kept if part.ids and part.rows > len(part.ids)), default=None)
    mine = {name for name in sample.ids if bound is None or name <= bound}
    seen = mine.intersection(name for look in looks for name in look.ids)
    return len(seen) / len(mine) if mine else 0.0


def locked_looks(plan: Plan, recipe: Path, evaluation: str) -> LockedLooks:
    """Read what the lock beside a recipe knows of looks at just these rows; nothing of one that cannot be read."""
    try:
        lock = read_lock(lock_path(recipe))
    except RecipeError:
        return NO_LOCK
    entries = () if lock is None else lock.entries.values()
    at_these = [entry for entry in entries if entry.evaluation.digest == evaluation]
    same = (entry.evaluation.runs for entry in at_these if entry.recipe == plan.recipe_digest)
    return LockedLooks(max((entry.evaluation.runs for entry in at_these), default=0), next(same, 0))


def look_at(home: Home, planned: Planned, rows: EvaluationRows, judged: LookSubject) -> Look:
    """Number the look at some rows that judging a plan's candidates is."""
    locked = locked_looks(planned.plan, Path(planned.recipe_file), rows.evaluation)
    rate = 1 - planned.plan.contract.confidence
    return number_look(rows.sample, judged, rate, noted_looks(home), locked)


def note_look(home: Home, look: Look) -> None:
    """Note a look for good: removing a run does not undo that its rows were seen."""
    home.looks.mkdir(parents=True, exist_ok=True)
    append_line(_ledger(home), json.dumps(plain(look), separators=(",", ":")).encode(), durable=True)


def noted_looks(home: Home) -> list[Look]:
    """List the looks that a home knows of, in their order; a line that a crash cut short is left out."""
    try:
        lines = _ledger(home).read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return []
    looks = []
    for line in lines:
        with contextlib.suppress(ValueError, WrongValueError):
            looks.append(read_back(Look, json.loads(line)))
    return looks


def _ledger(home: Home) -> Path:
    return home.looks / "ledger.jsonl"
