"""Where a candidate's gain comes from, a row for conversion, engine and precision, and which fp32 files are fastest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from titrant.runtime.report.record_view import NONE, ModelTimings, Record, fraction
from titrant.schema.gain import speed_words
from titrant.schema.gain_parts import (
    CONVERSION,
    ENGINE,
    ORIGINAL,
    PRECISION,
    GainPart,
    GainParts,
    fastest,
    fp32_files,
    timing_step,
)
from titrant.schema.plan import Candidate, CandidateSearch, Step

# What operators that reduce measure, each a share of all parameters.
REMOVED, MASKED = "parameters_removed", "weights_masked"
_TONES = {"better": "good", "worse": "bad"}


@dataclass(frozen=True)
class GainRow:
    """One part of a gain: from which file to which, what changed, and what that did to speed and size.

    `size` is the second file's share of the first.
    """

    name: str
    files: str
    what: str
    speed: str
    size: str
    tone: str


def gain_rows(parts: GainParts | None, method: str, reduced: str = "") -> tuple[GainRow, ...]:
    """Lay a gain's parts out: each part, then the whole, then the comparison with the fastest fp32 file of any engine.

    `method` is what made the candidate's precision, `reduced` says what is gone or zero. () where its parts cannot be
    told.
    """
    if parts is None:
        return ()
    rows = [_row(part.part, part, _what(part, method, reduced)) for part in parts.parts]
    rows.append(_row("all together", parts.whole, "about their product"))
    if parts.over_fastest is not None:
        rows.append(_row("over the fastest fp32 file", parts.over_fastest, "of any engine timed"))
    return tuple(rows)


def _what(part: GainPart, method: str, reduced: str) -> str:
    if part.part == CONVERSION:
        return f"another file, still in {part.engine}"
    if part.part == ENGINE:
        return f"another engine, {part.engine}, and a file for it"
    what = method if part.part == PRECISION else reduced or "fewer weights"
    return f"{what}, in the same engine"


def _row(name: str, part: GainPart, what: str) -> GainRow:
    speed = NONE if part.speed is None else speed_words(part.speed)
    size = NONE if part.size is None else f"{1 / part.size:.2f}"
    tone = "plain" if part.speed is None else _TONES.get(part.speed.verdict, "plain")
    return GainRow(name, f"{part.before} → {part.after}", what, speed, size, tone)


def fastest_marks(record: Record, search: CandidateSearch) -> dict[str, str]:
    """Name the fastest fp32 file of each engine, by its name in the timings, and say which is the fastest of all."""
    files = fp32_files(record.plan, search)

    def seconds(name: str) -> float | None:
        timing = record.values.timings.get(name, ModelTimings({})).batches.get(search.timing_batch)
        return None if timing is None else timing.p50

    marks = {
        name: f"fastest fp32 file of {engine}"
        for engine in dict.fromkeys(files.values())
        if (name := fastest(files, seconds, engine)) is not None
    }
    best = fastest(files, seconds)
    return {name: f"{mark}, and of all" if name == best and len(marks) > 1 else mark for name, mark in marks.items()}


def beside(record: Record, search: CandidateSearch) -> Iterator[tuple[str, str, int | None]]:
    """Yield the plain conversions that are timed and no candidates: name, engine, and bytes where they are known."""
    timing = timing_step(record.plan, search)
    models = timing.inputs.get("models", {}) if timing is not None else {}
    candidates = {item.id for item in record.plan.candidates}
    done = {step.step: step.result for step in record.run.steps}
    for name, engine in fp32_files(record.plan, search).items():
        source = models.get(name) if isinstance(models, Mapping) else None
        if name == ORIGINAL or name in candidates or source is None:
            continue
        step, _, port = source.rpartition(".")
        result = done.get(step)
        size = result.outputs[port].size if result is not None and port in result.outputs else None
        yield name, engine, size


def reduced_words(record: Record, candidate: Candidate) -> str:
    """Say of each reduction what share of the parameters that it was given is gone, or zero and still there.

    What is gone is also told as the ratio of before to after; "" where nothing is gone or zero.
    """
    results = {step.step: step.result for step in record.run.steps}
    parts = []
    for step in _made_by(record, candidate.model):
        result = results.get(step.id)
        measured = {item.name: item.value for item in result.measurements} if result is not None else {}
        gone, zero = measured.get(REMOVED, 0.0), measured.get(MASKED, 0.0)
        if gone:
            ratio = 1 / (1 - gone)
            parts.append(f"{step.operator}: {fraction(gone)} of the parameters are gone, compressed {ratio:.2f} times")
        if zero:
            parts.append(f"{step.operator}: {fraction(zero)} of the weights are 0 and still there")
    return "; ".join(parts)


def _made_by(record: Record, reference: str) -> Iterator[Step]:
    """Yield the steps from model to model that made one, the first of them first."""
    steps = {step.id: step for step in record.plan.steps}
    step = steps.get(reference.rpartition(".")[0])
    if step is not None:
        before = step.inputs.get("model")
        if isinstance(before, str):
            yield from _made_by(record, before)
        yield step
