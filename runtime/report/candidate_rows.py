"""The candidates table: the original and every candidate with its figures, what became of it and why."""

from collections.abc import Mapping
from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown, original_bytes, outcome
from titrant.runtime.report.record_view import ModelTimings, Quality, Record
from titrant.runtime.report.words import NONE, fraction, quantity


@dataclass(frozen=True)
class Figure:
    """One number in words, and its bar: a share 0..1 of the largest in its column, None without a number."""

    text: str
    share: float | None = None


@dataclass(frozen=True)
class CandidateRow:
    """One line; quality is on tuning rows, which choose and do not judge."""

    id: str
    what: str
    symbol: str
    outcome: str
    tone: str
    because: str
    size: Figure
    p50: Figure
    p95: Figure
    throughput: Figure
    memory: Figure
    metric: str
    agreement: str


@dataclass(frozen=True)
class _Raw:
    size: float | None
    p50: float | None
    p95: float | None
    throughput: float | None
    memory: float | None


UNITS = {"size": "B", "p50": "s", "p95": "s", "throughput": "cases/s", "memory": "B"}


def candidate_rows(
    record: Record, candidates: Mapping[str, Shown], leads: tuple[Shown, ...]
) -> tuple[CandidateRow, ...]:
    """List the original first, then the candidates from gentle to aggressive."""
    batch = table_batch(record)
    original = record.values.timings.get("original", ModelTimings({}))
    raws = {"": _raw(original_bytes(record), original, batch)}
    raws |= {one.id: _raw(one.record.size, one.timings, batch) for one in candidates.values()}
    largest = {name: max((getattr(raw, name) or 0 for raw in raws.values()), default=0) for name in UNITS}
    first = next((one.quality for one in candidates.values() if one.quality), None)
    kept = not record.run.released
    row = CandidateRow(
        "original", f"as given, in {record.plan.original_engine}", "✓" if kept else "○",
        "keep this one" if kept else "the reference", "pass" if kept else "plain", "", **_figures(raws[""], largest),
        metric=_accuracy(first, "original"), agreement=NONE,
    )  # fmt: skip
    return (row, *(_row(one, raws[one.id], largest) for one in candidates.values()))


def table_batch(record: Record) -> int:
    """Return the batch size whose timings the table shows."""
    return record.plan.searches[0].timing_batch if record.plan.searches else 1


def _row(candidate: Shown, raw: _Raw, largest: Mapping[str, float]) -> CandidateRow:
    symbol, words, tone = outcome(candidate)
    planned = candidate.planned
    method = "plain conversion" if planned.method == "none" else planned.method
    agreement = fraction(candidate.quality.agreement) if candidate.quality else NONE
    return CandidateRow(
        candidate.id, f"{method}, {planned.format} in {planned.engine}", symbol, words, tone,
        candidate.record.because, **_figures(raw, largest), metric=_accuracy(candidate.quality, "candidate"),
        agreement=agreement,
    )  # fmt: skip


def _raw(size: int | None, timings: ModelTimings, batch: int) -> _Raw:
    timing = timings.batches.get(batch)
    return _Raw(
        size,
        timing.p50 if timing else None,
        timing.p95 if timing else None,
        timing.throughput if timing else None,
        timings.peak_bytes,
    )


def _figures(raw: _Raw, largest: Mapping[str, float]) -> dict[str, Figure]:
    figures = {}
    for name, unit in UNITS.items():
        value = getattr(raw, name)
        share = value / largest[name] if value is not None and largest[name] else None
        figures[name] = Figure(quantity(value, unit), share)
    return figures


def _accuracy(quality: Quality | None, which: str) -> str:
    return fraction(getattr(quality, which).get("accuracy")) if quality else NONE
