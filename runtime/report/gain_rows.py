"""Where a candidate's gain comes from, a row for conversion, engine and precision, and which fp32 files are fastest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from titrant.runtime.report.record_view import NONE, ModelTimings, Record
from titrant.schema.gain import speed_words
from titrant.schema.gain_parts import (
    BOTH,
    CONVERSION,
    ENGINE,
    LAYOUT,
    ORIGINAL,
    PRECISION,
    REDUCTION,
    GainPart,
    GainParts,
    ReductionGain,
    fastest,
    fp32_files,
    timing_step,
)
from titrant.schema.plan import CandidateSearch

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


def gain_rows(parts: GainParts | None, method: str, reductions: Sequence[ReductionGain] = ()) -> tuple[GainRow, ...]:
    """Lay a gain's parts out: each part, then the whole, then the comparison with the fastest fp32 file of any engine.

    `method` is what made the candidate's precision. () where its parts cannot be told.
    """
    if parts is None:
        return ()
    reduced = "; ".join(each.size_words for each in reductions)
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
    reduction, layout = reduced or "fewer weights", "another layout of the weights"
    done = {PRECISION: method, REDUCTION: reduction, BOTH: f"{reduction}; then {method}"}
    laid_out = {f"{kind} and {LAYOUT}": f"{what}; {layout}" for kind, what in done.items()}
    return f"{({**done, **laid_out, LAYOUT: layout})[part.part]}, in the same engine"


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
