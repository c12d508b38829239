"""Runs side by side: what each ended with, how each gate was judged, what was decided otherwise, and a chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from titrant.runtime.charts.scatter import REFERENCE, Mark, Scatter
from titrant.runtime.report.candidates import Shown, leading, outcome, shown_candidates
from titrant.runtime.report.contract import symbol_of, tone_of
from titrant.runtime.report.headline import headline
from titrant.runtime.report.main_metric import MainMetric, main_metric
from titrant.runtime.report.record_view import NONE, Record, fraction, gate_slice, gate_title, quantity
from titrant.runtime.report.savings import Saving, savings
from titrant.schema.contract.waivers import waived_verdict
from titrant.schema.gain import factor_words
from titrant.schema.gate import Gate, GateResult, threshold_words
from titrant.schema.plan import CandidateSearch
from titrant.schema.values.units import format_time


@dataclass(frozen=True)
class ComparedRun:
    """One run in words: what it ended with; `tone` is pass, warn or fail, `symbol` tells the same without color."""

    run: str
    recipe: str
    verdict: str
    symbol: str
    tone: str
    sentence: str
    candidate: str
    became: str
    size: str
    latency: str
    speed: str
    metric: str
    processor: str


@dataclass(frozen=True)
class ComparedCell:
    """How one run judged a gate; "–" where it has none like it."""

    verdict: str = NONE
    symbol: str = ""
    tone: str = "plain"
    words: str = ""


@dataclass(frozen=True)
class ComparedGate:
    """One gate, alike in metric, slice and threshold, in every run."""

    title: str
    slice: str
    threshold: str
    cells: tuple[ComparedCell, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs answer it otherwise."""
        return len({cell.verdict for cell in self.cells}) > 1


@dataclass(frozen=True)
class ComparedDecision:
    """A decision that the runs took otherwise: what each chose."""

    subject: str
    chosen: tuple[str, ...]


@dataclass(frozen=True)
class RunComparison:
    """Everything that a comparison says; `notes` are what keeps its figures apart, `chart` None without two points."""

    runs: tuple[ComparedRun, ...]
    gates: tuple[ComparedGate, ...]
    decisions: tuple[ComparedDecision, ...]
    notes: tuple[str, ...]
    chart: Scatter | None


@dataclass(frozen=True)
class _Ended:
    """A run and the candidate that its first search ended with."""

    name: str
    record: Record
    search: CandidateSearch | None
    lead: Shown | None
    metric: MainMetric


def compare_runs(records: Mapping[str, Record]) -> RunComparison:
    """Put runs side by side, by their names in the order given; the first search of each is told of."""
    ended = tuple(_ended(name, record) for name, record in records.items())
    return RunComparison(
        runs=tuple(_run(each) for each in ended),
        gates=_gates(ended),
        decisions=_decisions([each.record for each in ended]),
        notes=tuple(_notes(ended)),
        chart=_chart(ended),
    )


def _ended(name: str, record: Record) -> _Ended:
    search = next(iter(record.plan.searches), None)
    lead = leading(record, search, shown_candidates(record).values()) if search else None
    return _Ended(name, record, search, lead, main_metric(record))


def _run(each: _Ended) -> ComparedRun:
    lead, record = each.lead, each.record
    leads = (lead,) if lead else ()
    said = headline(record, leads)
    timing = lead.timing(each.search.timing_batch) if lead and each.search else None
    rows = savings(record, each.search, lead) if lead and each.search else ()
    speed = next((row.words for row in rows if row.pace), NONE)
    return ComparedRun(
        run=each.name,
        recipe=record.plan.name,
        verdict=said.word,
        symbol=said.symbol,
        tone=said.tone,
        sentence=said.sentence,
        candidate=lead.id if lead else NONE,
        became=outcome(lead)[1] if lead else NONE,
        size=quantity(lead.record.size if lead else None, "B"),
        latency=NONE if timing is None else format_time(timing.p50),
        speed=speed,
        metric=_metric_words(rows[-1]) if rows and rows[-1].judged else NONE,
        processor=record.hardware.cpu or record.hardware.machine,
    )


def _metric_words(saving: Saving) -> str:
    return f"{saving.name} {saving.before} → {saving.after}"


def _gates(ended: Sequence[_Ended]) -> tuple[ComparedGate, ...]:
    """List every gate of any run once, those that the runs answer otherwise first."""
    alike: dict[tuple[str, ...], tuple[Gate, dict[int, GateResult]]] = {}
    for place, each in enumerate(ended):
        gates = {gate.id: gate for gate in each.record.plan.contract.gates}
        for result in each.lead.judgement.results if each.lead and each.lead.judgement else ():
            gate = gates.get(result.gate)
            if gate is not None:
                key = (gate.preset, gate.metric, gate.slice, gate.comparison, f"{gate.threshold!r} {gate.unit}")
                alike.setdefault(key, (gate, {}))[1][place] = result
    rows = [
        ComparedGate(
            gate_title(gate),
            gate_slice(gate),
            threshold_words(gate),
            tuple(_cell(gate, results.get(place), each) for place, each in enumerate(ended)),
        )
        for gate, results in alike.values()
    ]
    return tuple(sorted(rows, key=lambda row: not row.differs))


def _cell(gate: Gate, result: GateResult | None, each: _Ended) -> ComparedCell:
    if result is None:
        return ComparedCell()
    words = "" if result.estimate is None else quantity(result.estimate, gate.unit, gate.threshold)
    if each.lead is not None and result.gate in {waived.gate for waived in each.lead.record.waived}:
        return ComparedCell(waived_verdict(result.verdict), "!", "warn", words)
    return ComparedCell(result.verdict, symbol_of(result.verdict), tone_of(result.verdict), words)


def _decisions(records: Sequence[Record]) -> tuple[ComparedDecision, ...]:
    chosen = [{decision.subject: decision.chosen for decision in record.plan.decisions} for record in records]
    subjects = dict.fromkeys(subject for of_run in chosen for subject in of_run)
    rows = [ComparedDecision(subject, tuple(of_run.get(subject, NONE) for of_run in chosen)) for subject in subjects]
    return tuple(row for row in rows if len(set(row.chosen)) > 1)


def _one_machine(ended: Sequence[_Ended]) -> bool:
    return len({(each.record.hardware.cpu, each.record.hardware.instructions) for each in ended}) == 1


def _notes(ended: Sequence[_Ended]) -> list[str]:
    """Say which figures of these runs are of different things."""
    notes = []
    if not _one_machine(ended):
        notes.append("They ran on different processors: speeds are told against each run's own original only.")
    if len({each.record.plan.data_digest for each in ended}) > 1:
        notes.append("Their data differ: figures of quality are of different rows.")
    if len({each.record.plan.model_digest for each in ended}) > 1:
        notes.append("Their originals differ: what is kept is kept of different models.")
    if len({(each.record.plan.contract.confidence, each.record.plan.contract.require) for each in ended}) > 1:
        notes.append("Their contracts ask for different confidence or proof.")
    return notes


def _chart(ended: Sequence[_Ended]) -> Scatter | None:
    """Draw each run's file, and the first run's original where all run on one processor."""
    metric, together = ended[0].metric, _one_machine(ended)
    marks = []
    for each in ended:
        value = each.metric.of(each.lead.quality) if each.lead else None
        place = _place(each, together=together)
        if value is None or place is None or each.metric.name != metric.name or each.lead is None:
            continue
        words = f"{each.lead.id}, {fraction(value) if not metric.unit else quantity(value, metric.unit)}"
        marks.append(Mark(each.name, place, value, chosen=each.lead.released, words=words))
    if len(marks) < 2:
        return None
    original = _original(ended[0]) if together else None
    if original is not None:
        marks.append(original)
    return Scatter(
        title=f"{metric.name} against latency, run by run",
        marks=tuple(marks),
        across="median latency" if together else "time of a batch, as a share of the original's on the same processor",
        up=f"{metric.name[:1].upper()}{metric.name[1:]}, on tuning rows",
        write_x=None if together else factor_words,
        write_y=lambda value: quantity(value, metric.unit) if metric.unit else f"{value:.4g}",
        asked=metric.asked,
        less=metric.less,
    )


def _place(each: _Ended, *, together: bool) -> float | None:
    """Return seconds of a batch, or their share of the original's where the runs were on different processors."""
    if each.lead is None or each.search is None:
        return None
    timing = each.lead.timing(each.search.timing_batch)
    timings = each.record.values.timings.get("original")
    before = None if timings is None else timings.batches.get(each.search.timing_batch)
    if together:
        return None if timing is None else timing.p50
    return timing.p50 / before.p50 if timing and before and before.p50 else None


def _original(each: _Ended) -> Mark | None:
    timings = each.record.values.timings.get("original")
    timing = None if timings is None or each.search is None else timings.batches.get(each.search.timing_batch)
    qualities = each.record.values.quality.values()
    value = next((quality.original.get(each.metric.key) for quality in qualities), None)
    if each.metric.key in ("retention", "agreement"):
        value = 1.0
    return None if timing is None or value is None else Mark("original", timing.p50, value, REFERENCE)
