"""The contract table: every gate with its threshold, estimate, bounds, cases, verdict and reason."""

from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.interval import interval_svg
from titrant.runtime.report.margins import Margin, margin, weakest
from titrant.runtime.report.record_view import Record
from titrant.runtime.report.words import gate_slice, gate_title, metric_with_cases, place, quantity
from titrant.schema.gate import Gate, GateResult, Judgement
from titrant.schema.gate_words import threshold_words

SYMBOLS = {"PASS": "✓", "FAIL": "✕", "INCONCLUSIVE": "?"}
TONES = {"PASS": "pass", "FAIL": "fail", "INCONCLUSIVE": "warn"}


@dataclass(frozen=True)
class GateRow:
    """One gate as judged; every text is ready to be shown, `picture` is SVG."""

    verdict: str
    symbol: str
    tone: str
    title: str
    slice: str
    origin: str
    threshold: str
    estimate: str
    bounds: str
    before: str
    after: str
    cases: int
    changed: int | None
    needed: int | None
    short: bool  # there are fewer cases than needed
    reason: str
    method: str
    picture: str
    margin: Margin


@dataclass(frozen=True)
class Judged:
    """One candidate's contract table."""

    candidate: str
    verdict: str
    symbol: str
    tone: str
    rows: tuple[GateRow, ...]
    weakest: Margin | None


def judged(record: Record, candidate: Shown) -> Judged | None:
    """Build a candidate's contract table; None where it was never judged."""
    judgement = candidate.judgement
    if judgement is None:
        return None
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    rows = tuple(_row(gates[result.gate], result) for result in judgement.results if result.gate in gates)
    closest = weakest([row.margin for row in rows])
    symbol, tone = SYMBOLS[judgement.verdict], TONES[judgement.verdict]
    return Judged(candidate.id, judgement.verdict, symbol, tone, rows, closest)


def _row(gate: Gate, result: GateResult) -> GateRow:
    needed = result.needed_cases if result.needed_cases is not None else gate.needed_cases
    bounds = [quantity(value, gate.unit, gate.threshold) for value in (result.lower, result.upper)]
    whole = result.lower is not None and result.lower == result.upper
    return GateRow(
        verdict=result.verdict,
        symbol=SYMBOLS[result.verdict],
        tone=TONES[result.verdict],
        title=gate_title(gate),
        slice=gate_slice(gate),
        origin=place(gate.origin),
        threshold=threshold_words(gate),
        estimate=quantity(result.estimate, gate.unit, gate.threshold),
        bounds="" if result.estimate is None else "exact" if whole else f"{bounds[0]} to {bounds[1]}",
        before=_metric(gate, result, result.original),
        after=_metric(gate, result, result.candidate),
        cases=result.cases,
        changed=result.changed,
        needed=needed,
        short=needed is not None and result.cases < needed,
        reason=result.reason,
        method=result.method,
        picture=interval_svg(gate, result),
        margin=margin(gate, result),
    )


def _metric(gate: Gate, result: GateResult, value: float | None) -> str:
    if value is None:
        return ""
    if gate.unit:
        return quantity(value, gate.unit)
    # A ratio between two subgroups has two denominators; its counts are not those of one metric.
    return metric_with_cases("" if gate.comparison == "ratio_at_least" else gate.metric, value, result.cases)


def open_gates(judgement: Judgement) -> tuple[GateResult, ...]:
    """Return the results that did not pass."""
    return tuple(result for result in judgement.results if result.verdict != "PASS")
