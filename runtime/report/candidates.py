"""Candidates as the report shows them: figures, outcomes, which one leads a search, and the candidates table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from titrant.runtime.contract.company import Invariance, seen_words
from titrant.runtime.report.gain_rows import beside, fastest_marks
from titrant.runtime.report.main_metric import MainMetric, main_metric
from titrant.runtime.report.record_view import NONE, ModelTimings, Quality, Record, Timing, fraction, quantity
from titrant.schema.contract.waivers import WAIVED
from titrant.schema.gate import Judgement
from titrant.schema.plan import Candidate, CandidateSearch
from titrant.schema.recipe.own_metric import is_own
from titrant.schema.record import NOT_TRIED, UNKNOWN, CandidateRecord, LadderRung, is_unlike

NOTHING = ModelTimings({})
# status → symbol and word: the order is that of the table
OUTCOMES = {
    "released": ("✓", "released", "pass"),
    "judged": ("✕", "judged, not released", "fail"),
    "shortlisted": ("○", "shortlisted, not judged", "plain"),
    "measured": ("○", "measured, not shortlisted", "plain"),
    "rejected": ("✕", "rejected", "fail"),
    NOT_TRIED: ("–", "not tried", "plain"),
}


@dataclass(frozen=True)
class Shown:
    """One candidate with all that is known of it; `timings` and `quality` are empty where it was not measured.

    `timings` are the runs that chose.
    """

    id: str
    planned: Candidate
    record: CandidateRecord
    timings: ModelTimings
    quality: Quality | None

    @property
    def judgement(self) -> Judgement | None:
        """Return how it was judged on evaluation rows."""
        return self.record.judgement

    @property
    def released(self) -> bool:
        """Say whether it was released."""
        return self.record.status == "released"

    def timing(self, batch: int) -> Timing | None:
        """Return its timing at one batch size."""
        return self.timings.batches.get(batch)


def outcome(candidate: Shown) -> tuple[str, str, str]:
    """Return a symbol, words and a tone (pass, warn, fail, plain) for what became of a candidate."""
    symbol, words, tone = OUTCOMES.get(candidate.record.status, ("○", candidate.record.status, "plain"))
    judgement = candidate.judgement
    if candidate.record.waived:
        return "!", "released with waivers", "warn"
    if candidate.released and judgement and not judgement.proven:
        return "≈", "released, not proven", "warn"
    if judgement and not candidate.released and judgement.released:
        return "○", "kept the contract, not chosen", "plain"
    if judgement and judgement.verdict == "INCONCLUSIVE" and not candidate.released:
        return "?", words, "warn"
    return symbol, words, tone


def shown_candidates(record: Record) -> dict[str, Shown]:
    """Pair every planned candidate with what became of it, by id, in the plan's order from gentle to aggressive."""
    records = {candidate.candidate: candidate for candidate in record.run.candidates}
    shown = {}
    for planned in sorted(record.plan.candidates, key=lambda candidate: candidate.rank):
        became = records.get(planned.id, CandidateRecord(planned.id, "rejected", "it was not made"))
        timings = record.values.timings.get(planned.id, NOTHING)
        shown[planned.id] = Shown(planned.id, planned, became, timings, record.values.quality.get(planned.id))
    return shown


def leading(record: Record, search: CandidateSearch, candidates: Iterable[Shown]) -> Shown | None:
    """Choose the candidate that a search's story is about.

    The released one; else the one that lies in quarantine; else the last that was judged; else none.
    """
    of_search = [candidate for candidate in candidates if candidate.id in search.candidates]
    released = [candidate for candidate in of_search if candidate.released]
    kept_aside = [candidate for candidate in of_search if candidate.id in record.values.files]
    judged = [candidate for candidate in of_search if candidate.judgement is not None]
    return next(iter(released or kept_aside or judged[-1:]), None)


def original_bytes(record: Record) -> int | None:
    """Return the size of the original model's artifact, from the step that gave it."""
    step, _, port = record.plan.original.rpartition(".")
    for done in record.run.steps:
        if done.step == step and done.result and port in done.result.outputs:
            return done.result.outputs[port].size
    return None


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
    company: str  # rows that are answered otherwise: alone, in other company, beside an outlier
    mark: str = ""  # of which engine it is the fastest fp32 file
    own: tuple[str, ...] = ()  # metrics of the user's own that the search is after, each with its number


@dataclass(frozen=True)
class _Raw:
    size: float | None
    p50: float | None
    p95: float | None
    throughput: float | None
    memory: float | None


UNITS = {"size": "B", "p50": "s", "p95": "s", "throughput": "cases/s", "memory": "B"}


def candidate_rows(record: Record, candidates: Mapping[str, Shown]) -> tuple[CandidateRow, ...]:
    """List the original first, then the candidates from gentle to aggressive, and what was only timed beside them.

    The fastest fp32 file of each engine is marked.
    """
    batch = table_batch(record)
    original = record.values.timings.get("original", ModelTimings({}))
    raws = {"": _raw(original_bytes(record), original, batch)}
    raws |= {candidate.id: _raw(candidate.record.size, candidate.timings, batch) for candidate in candidates.values()}
    search = next(iter(record.plan.searches), None)
    plain = {} if search is None else {name: (engine, size) for name, engine, size in beside(record, search)}
    raws |= {name: _raw(size, record.values.timings.get(name, NOTHING), batch) for name, (_, size) in plain.items()}
    marks = {} if search is None else fastest_marks(record, search)
    largest = {name: max((getattr(raw, name) or 0 for raw in raws.values()), default=0) for name in UNITS}
    first = next((candidate.quality for candidate in candidates.values() if candidate.quality), None)
    metric = main_metric(record)
    kept = not record.run.released
    row = CandidateRow(
        "original", f"as given, in {record.plan.original_engine}", "✓" if kept else "○",
        "keep this one" if kept else "the reference", "pass" if kept else "plain", "", **_figures(raws[""], largest),
        metric=metric.words(metric.of_original(first)), agreement=NONE, company=NONE, mark=marks.get("original", ""),
        own=_own({} if first is None else first.original),
    )  # fmt: skip
    seen = record.values.invariance
    return (
        row,
        *(
            _row(item, raws[item.id], largest, seen.get(item.id), marks.get(item.id, ""), metric=metric)
            for item in candidates.values()
        ),
        *(_beside(name, engine, raws[name], largest, marks.get(name, "")) for name, (engine, _) in plain.items()),
    )


def _beside(name: str, engine: str, raw: _Raw, largest: Mapping[str, float], mark: str) -> CandidateRow:
    """Show a plain conversion that is timed and no candidate."""
    return CandidateRow(
        name, f"plain conversion, in {engine}", "○", "timed beside", "plain",
        "what the others are compared with; never released", **_figures(raw, largest), metric=NONE, agreement=NONE,
        company=NONE, mark=mark, own=(),
    )  # fmt: skip


def table_batch(record: Record) -> int:
    """Return the batch size whose timings the table shows."""
    return record.plan.searches[0].timing_batch if record.plan.searches else 1


def _row(
    candidate: Shown, raw: _Raw, largest: Mapping[str, float], seen: Invariance | None, mark: str, *, metric: MainMetric
) -> CandidateRow:
    symbol, words, tone = outcome(candidate)
    planned = candidate.planned
    method = "plain conversion" if planned.method == "none" else planned.method
    agreement = fraction(candidate.quality.agreement) if candidate.quality else NONE
    return CandidateRow(
        candidate.id, f"{method}, {planned.format} in {planned.engine}", symbol, words, tone,
        candidate.record.because, **_figures(raw, largest), metric=metric.words(metric.of(candidate.quality)),
        agreement=agreement, company=_company(candidate, seen), mark=mark,
        own=_own({} if candidate.quality is None else candidate.quality.candidate),
    )  # fmt: skip


def _company(candidate: Shown, seen: Invariance | None) -> str:
    """Say whose answers other company changes; of a candidate that is not worth judging that was not tried."""
    if seen is not None:
        return seen_words(seen)
    asked = candidate.planned.invariance and candidate.record.status == "measured"
    return "not tried: not shortlisted" if asked else NONE


def _own(figures: Mapping[str, float | None]) -> tuple[str, ...]:
    return tuple(f"{name} {value:.4f}" for name, value in figures.items() if is_own(name) and value is not None)


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


_LISTED = 4


@dataclass(frozen=True)
class PrecisionRow:
    """Layers of a candidate that were planned alike and run alike; `tone` is fail where that is not the same."""

    candidate: str
    planned: str
    executed: str
    engine_op: str
    layers: int
    names: str
    tone: str


def precision_rows(candidates: Iterable[Shown]) -> tuple[PrecisionRow, ...]:
    """Set what each candidate's engine runs beside what was planned, what is unlike the plan first."""
    rows = []
    for candidate in candidates:
        alike: dict[tuple[str, str, str, str], list[str]] = {}
        for layer in candidate.record.layers:
            tone = "fail" if is_unlike(layer) else "warn" if layer.executed == UNKNOWN else "plain"
            way = (layer.planned, layer.executed, layer.engine_op or NONE, tone)
            alike.setdefault(way, []).append(layer.name or "what is no layer of the original")
        for (planned, executed, engine_op, tone), names in sorted(alike.items(), key=lambda item: item[0][3]):
            more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
            text = ", ".join(names[:_LISTED]) + more
            rows.append(PrecisionRow(candidate.id, planned, executed, engine_op, len(names), text, tone))
    return tuple(rows)


def precisions_together(rows: Sequence[PrecisionRow]) -> tuple[PrecisionRow, ...]:
    """Count layers that were planned and run in the same precisions together, whatever operator runs them."""
    together: dict[tuple[str, str, str], PrecisionRow] = {}
    for row in rows:
        way = (row.planned, row.executed, row.tone)
        layers, names = row.layers, row.names
        if (first := together.get(way)) is not None:
            layers, names = first.layers + layers, f"{first.names}, {names}"
        together[way] = replace(row, layers=layers, names=names, engine_op="")
    return tuple(together.values())


_RUNG_TONES = {"PASS": "pass", "NOT PROVEN": "warn", WAIVED: "warn"}


@dataclass(frozen=True)
class LadderRow:
    """One rung in words; `tone` is pass, warn, or fail for one that is not released."""

    rung: str
    candidate: str
    verdict: str
    file: str
    size: str
    p50: str
    speed: str
    memory: str
    executed: str
    tone: str


def ladder_rows(ladder: Sequence[LadderRung]) -> tuple[LadderRow, ...]:
    """Lay out a ladder; () where none was asked for."""
    return tuple(_rung_row(rung) for rung in ladder)


def _rung_row(rung: LadderRung) -> LadderRow:
    because = f": {rung.because}" if rung.because else ""
    return LadderRow(
        rung=rung.rung,
        candidate=rung.candidate or NONE,
        verdict=f"{rung.word}{because}",
        file=f"outputs/{rung.file}" if rung.file else NONE,
        size=quantity(rung.size, "B"),
        p50=quantity(rung.seconds, "s"),
        speed=rung.speed or NONE,
        memory=quantity(rung.peak_bytes, "B"),
        executed=rung.precisions or NONE,
        tone=_RUNG_TONES.get(rung.verdict, "plain") if rung.released else "fail",
    )
