"""Number the looks at evaluation rows by what the rows hold: the more often, the less a pass on them proves.

A look is a recipe's models judged by its contract on some rows. Its number is one above the highest that a tenth of its
rows carry, whatever the seed, the split or the file they came from; what was looked at is kept by digests of rows in
the home, and for other homes in the lock beside the recipe. See docs/decisions/looks.md.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from titrant.runtime.run.walk import Walk
from titrant.schema.gate import criteria
from titrant.schema.open_looks import share_of, shares_up_to
from titrant.schema.plan import Plan
from titrant.schema.record import EvaluationRows, Look, LookSubject, RowSample, StepResult
from titrant.schema.values.canonical import sha256
from titrant.schema.values.frozen import dataclass

# Rows that a look keeps of all: those with the smallest digests, the same ones of any rows that overlap. With 256, as
# it was, fifty rows of fifty thousand that were looked at came out as fresh in three of four cases.
SAMPLE = 4096
# From this share of a look's rows on it is one at the same rows.
_SHARED = 0.1
# Fewer different rows, or many that stand there twice, as of some columns of 0 and 1, are found in tables that have
# nothing to do with each other.
_TELLING, _DIFFERENT = 64, 0.99
_ROWS = ("data.load", "data.split", "data.unlabeled")
_ROWS_FILE, _IDS, _UNITS, _NUMBERS = "rows.safetensors", "ids", "units", "numbers"


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
    parts = [_read_rows(file) for file in files]
    ids = {number for digests, _, _ in parts for number in digests}
    single = all(len(digests) == len(set(units)) for digests, units, _ in parts)
    each = single and len(ids) == sum(len(digests) for digests, _, _ in parts)
    numbers = {number for _, _, digests in parts for number in digests}
    told_apart = len(numbers) >= max(_TELLING, _DIFFERENT * sum(len(digests) for digests, _, _ in parts))
    return RowSample(len(ids), _smallest(ids), each, _smallest(numbers) if told_apart else ())


def _smallest(digests: set[int]) -> tuple[str, ...]:
    return tuple(f"{digest:016x}" for digest in sorted(digests)[:SAMPLE])


def _read_rows(file: Path) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Read the digests of rows, their units, and the digests of what stands in them, () where there are none."""
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(size))

        def read(name: str) -> tuple[int, ...]:
            start, end = header[name]["data_offsets"]
            stream.seek(8 + size + start)
            return struct.unpack(f"<{(end - start) // 8}Q", stream.read(end - start))

        return read(_IDS), read(_UNITS), read(_NUMBERS) if _NUMBERS in header else ()


def number_look(
    sample: RowSample, judged: LookSubject, rate: float, noted: Sequence[Look], locked: LockedLooks = NO_LOCK
) -> Look:
    """Number a look at some rows, which may be wrong at some rate.

    What was judged on the same rows before is the same look as then. Of looks that only a lock knows, each is taken to
    have spent as much as this one.
    """
    again = next((look for look in noted if _is_same(look, sample, judged)), None)
    if again is not None:
        return replace(again, judged=judged)
    before = _carried(sample, noted)
    number, spent = (0, 0.0) if before is None else (before.number, before.spent)
    if locked.highest > number:
        number, spent = locked.highest, locked.highest * rate
    # A number that was lowered by hand is not believed where the home knows of more looks.
    if locked.same > number or (before is None and locked.same):
        number, spent = locked.same - 1, (locked.same - 1) * rate
    with_ledger = bool(noted) or locked.highest > 0
    return Look(number + 1, spent + rate, judged, sample.rows, sample.ids, with_ledger, numbers=sample.numbers)


def number_open_look(
    sample: RowSample, judged: LookSubject, rate: float, noted: Sequence[Look], locked: LockedLooks = NO_LOCK
) -> Look:
    """Number a look of any number at some rows, where all of them together may be wrong at some rate.

    Each model that is judged on rows takes the next share of the rate. The same files judged again with rows added go
    on with the share that they had, since their bets are one martingale: where each row is a unit of its own.
    """
    again = next((look for look in noted if look.share and _is_same(look, sample, judged)), None)
    if again is not None:
        return replace(again, judged=judged)
    before = _carried(sample, noted)
    number, spent, models = (0, 0.0, 0) if before is None else (before.number, before.spent, before.models)
    # How many looks a lock counts is known, not what each of them was at.
    if (elsewhere := max(locked.highest, locked.same) - (locked.same > 0)) > number:
        number, models, spent = elsewhere, elsewhere, max(spent, rate * shares_up_to(elsewhere))
    with_ledger = bool(noted) or locked.highest > 0
    earlier = [look for look in noted if look.share and look.judged.files == judged.files and _grew(look, sample)]
    if before is not None and earlier:
        share, further = earlier[0].share, 0.0
    else:
        models += 1
        share = further = rate * share_of(models)
    at = sample.rows, sample.ids, with_ledger, share, models, sample.numbers
    return Look(number + 1, spent + further, judged, *at)


def _grew(look: Look, sample: RowSample) -> bool:
    """Whether rows were only added since a look, as far as what is kept of both tells, and each is a unit."""
    kept: list[Look | RowSample] = [look, sample]
    bound = min((part.ids[-1] for part in kept if part.ids and part.rows > len(part.ids)), default=None)
    old = {name for name in look.ids if bound is None or name <= bound}
    return sample.single and look.rows < sample.rows and old <= set(sample.ids)


def _is_same(look: Look, sample: RowSample, judged: LookSubject) -> bool:
    """Whether a look was at these very rows, and at what the same recipe makes, or at the same bytes."""
    count = min(len(look.ids), len(sample.ids))  # an older titrant kept fewer
    rows = (look.rows, look.ids[:count]) == (sample.rows, sample.ids[:count])
    return rows and (look.judged.recipe == judged.recipe or look.judged.files == judged.files)


def judged_by(walk: Walk, candidates: Iterable[str]) -> LookSubject:
    """Digest what is judged: what the recipe makes and asks, and the very files with the gates that judge them."""
    models = {candidate.id: candidate.model for candidate in walk.plan.candidates}
    files = sorted({walk.artifacts[models[name]].digest for name in candidates})
    original = walk.artifacts[walk.plan.original].digest
    gates = [criteria(gate) for gate in walk.plan.contract.gates]
    return LookSubject(walk.plan.judged, sha256({"files": files, "original": original, "gates": gates}))


def _carried(sample: RowSample, noted: Sequence[Look]) -> Look | None:
    """Return a look of the highest number that a tenth of the rows carry, a row the highest that was at it.

    A row is the same by what its columns hold, and by its numbers alone: other names, shorter floats and columns that
    were put into one array do not make it fresh.
    """
    named = [look for look in noted if look.numbers]
    by_numbers = _highest(_of_numbers(sample), [_of_numbers(look) for look in named]) if sample.numbers else None
    carried = [look for look in (_highest(sample, noted), by_numbers) if look is not None]
    return max(carried, key=lambda look: look.number, default=None)


_Kept = TypeVar("_Kept", Look, RowSample)


def _of_numbers(kept: _Kept) -> _Kept:
    """Take what stands in rows for what names them."""
    count = len(kept.numbers)
    whole = len(kept.ids) == kept.rows or count < len(kept.ids)
    return replace(kept, ids=kept.numbers, rows=count if whole else max(kept.rows, count + 1))


def _highest(sample: RowSample, noted: Sequence[Look]) -> Look | None:
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
