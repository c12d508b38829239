"""A candidate's contract as a table: every gate as judged, what did not pass first, each pair of subgroups once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from titrant.runtime.contract.release.waivers import ended_waivers
from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.record_view import (
    Record,
    gate_slice,
    gate_title,
    interval_svg,
    metric_with_cases,
    place,
    quantity,
)
from titrant.schema.contract.waivers import GateWaiver, WaivedGate, ended_words, of_gates, waived_verdict, waiver_words
from titrant.schema.gate import (
    AS_PLANNED,
    NOT_SHOWN,
    SMALLER_IS_BETTER,
    Gate,
    GateResult,
    Judgement,
    control_words,
    reason_words,
    slice_of,
    threshold_words,
)
from titrant.schema.power import came_words
from titrant.schema.values.units import few


@dataclass(frozen=True)
class Margin:
    """One gate's bound against its threshold.

    `left` is the share of the allowance that the bound leaves over: with retention ≥ 0.97 the contract allows a loss of
    0.03, and a lower bound of 0.985 leaves 0.5 of it. Below zero the bound is beyond the threshold; None: not
    assessable.
    """

    gate: str
    left: float | None
    sentence: str


def margin(gate: Gate, result: GateResult) -> Margin:
    """Measure a gate's margin from the bound that decides it (the lower one, or the upper where small is good)."""
    small = gate.comparison in SMALLER_IS_BETTER
    bound = result.upper if small else result.lower
    name = f"{gate_title(gate)} on {gate_slice(gate)}" if gate.slice != "all" else gate_title(gate)
    if bound is None:
        because = f", {result.reason}" if result.reason else ""
        return Margin(
            gate.id, None, f"{name}: {NOT_SHOWN if result.method == NOT_SHOWN else 'not assessable'}{because}"
        )
    distance = (gate.threshold - bound) if small else (bound - gate.threshold)
    left = distance / _allowance(gate)
    side = "upper bound" if small else "lower bound"
    if result.lower == result.upper:
        side = "value"
    shown = quantity(bound, gate.unit, gate.threshold)
    if left >= 0:
        tail = f"{left:.2f} of the allowance is left"
    else:
        tail = f"beyond the threshold by {quantity(-distance, gate.unit)}"
    return Margin(gate.id, left, f"{name}: {side} {shown} against {threshold_words(gate)}; {tail}")


def _allowance(gate: Gate) -> float:
    """Return what a gate allows to be lost or used up, in its own unit; never zero."""
    if gate.comparison in SMALLER_IS_BETTER:
        return abs(gate.threshold) or 1.0
    if gate.unit == "" and 0 <= gate.threshold < 1:
        return 1 - gate.threshold
    return abs(gate.threshold) or 1.0


def weakest(margins: list[Margin]) -> Margin | None:
    """Return the gate nearest to breaking: one that could not be assessed comes before any that could."""
    return min(margins, key=lambda margin: (margin.left is not None, margin.left or 0.0), default=None)


# A verdict's symbol and tone; a word that is not here is shown as it is, and is never taken for a pass.
SYMBOLS = {"PASS": "✓", "FAIL": "✕", "INCONCLUSIVE": "?"}
TONES = {"PASS": "pass", "FAIL": "fail", "INCONCLUSIVE": "warn"}
OTHER_SYMBOL, OTHER_TONE = "!", "warn"
# What a reader has to see comes first; other words come before what passed.
_FIRST = ("FAIL", "INCONCLUSIVE")


def symbol_of(verdict: str) -> str:
    """Return a verdict's symbol, by which it is told without color."""
    return SYMBOLS.get(verdict, OTHER_SYMBOL)


def tone_of(verdict: str) -> str:
    """Return a verdict's tone: pass, fail or warn."""
    return TONES.get(verdict, OTHER_TONE)


@dataclass(frozen=True)
class GateRow:
    """One gate as judged; every text is ready to be shown, `picture` is SVG.

    A pair of subgroups is one row: `turned` is the same pair the other way round, which is no worse than this one.
    """

    verdict: str
    symbol: str
    tone: str
    title: str
    slice: str
    whole: bool  # it is about every case
    origin: str
    threshold: str
    estimate: str
    bounds: str
    before: str
    after: str
    cases: int | None
    count: str  # the cases, or that there are too few to be shown
    changed: int | None
    needed: int | None
    hidden: bool  # there are too few cases for its figures to be shown
    short: bool  # there are fewer cases than needed
    reason: str
    method: str
    controls: str  # the answers that the gate was also put to and refused
    picture: str
    margin: Margin
    counted: str = ""  # the same with what is counted: "171 cases"
    pair: frozenset[str] | None = None  # the gates' ids of both ways round; None where it is about no pair
    turned: "GateRow | None" = None

    @property
    def gates(self) -> int:
        """How many gates the row stands for."""
        return 1 if self.turned is None else 2


@dataclass(frozen=True)
class Judged:
    """One candidate's contract table."""

    candidate: str
    verdict: str
    symbol: str
    tone: str
    rows: tuple[GateRow, ...]  # what did not pass first, each pair of subgroups once
    weakest: Margin | None
    every: tuple[GateRow, ...] = ()  # one a gate, in the contract's order

    @property
    def open(self) -> tuple[GateRow, ...]:
        """The rows that did not pass."""
        return tuple(row for row in self.rows if row.verdict != "PASS")

    @property
    def passed(self) -> tuple[GateRow, ...]:
        """The rows that passed."""
        return tuple(row for row in self.rows if row.verdict == "PASS")

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many gates there are of each verdict, in the order of the rows: (("FAIL", 2), ("PASS", 45))."""
        words = [row.verdict for row in sorted(self.every, key=_rank)]
        return tuple((word, words.count(word)) for word in dict.fromkeys(words))

    @property
    def counted(self) -> str:
        """The same in words: "2 FAIL, 45 PASS"."""
        return ", ".join(f"{count} {word}" for word, count in self.counts)


def _rank(row: GateRow) -> tuple[int, bool, float]:
    """Order rows: by verdict, then what could not be assessed, then what is nearest to its threshold."""
    place = _FIRST.index(row.verdict) if row.verdict in _FIRST else len(_FIRST) + (row.verdict == "PASS")
    left = row.margin.left
    return place, left is not None, left or 0.0


def _paired(rows: Sequence[GateRow]) -> tuple[GateRow, ...]:
    """Join the two ways round of each pair of subgroups, the worse one first; order what is left by how bad it is."""
    ordered = sorted(rows, key=_rank)
    by_pair: dict[frozenset[str], GateRow] = {}
    joined: list[GateRow] = []
    for row in ordered:
        if row.pair is None:
            joined.append(row)
        elif row.pair in by_pair:
            first = by_pair[row.pair]
            joined[joined.index(first)] = by_pair[row.pair] = replace(first, turned=row)
        else:
            by_pair[row.pair] = row
            joined.append(row)
    return tuple(joined)


def _pair_of(gate: Gate) -> frozenset[str] | None:
    """Name what a gate compares, whichever way round: the same for both gates of a pair of subgroups."""
    cases = slice_of(gate)
    if cases.other is None:
        return None
    return frozenset(
        (f"{gate.preset} {gate.metric} {gate.threshold} {cases.group}", f"value {cases.value}", f"value {cases.other}")
    )


def judged(record: Record, candidate: Shown, least: int) -> Judged | None:
    """Build a candidate's contract table; None where it was never judged."""
    judgement = candidate.judgement
    if judgement is None:
        return None
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    every = tuple(_gate_row(gates[result.gate], result, least) for result in judgement.results if result.gate in gates)
    waived = {gate.gate: gate for gate in candidate.record.waived}
    every = tuple(_waived(row, waived[row.margin.gate]) if row.margin.gate in waived else row for row in every)
    ended = of_gates(ended_waivers(record.plan.contract, judgement, record.run.judged_on))
    every = tuple(_ended(row, ended[row.margin.gate]) if row.margin.gate in ended else row for row in every)
    # A gate that passed on a group too small to show is no weak one: how near it was is not told. One that has all of
    # what it asks for, such as every layer as planned, has no margin to be near to.
    far = {row.margin.gate for row in every if row.verdict == "PASS" and (row.hidden or _all_or_nothing(gates, row))}
    closest = weakest([row.margin for row in every if row.margin.gate not in far])
    symbol, tone, word = symbol_of(judgement.verdict), tone_of(judgement.verdict), str(judgement.verdict)
    if waived:
        symbol, tone, word = "!", "warn", waived_verdict(judgement.verdict)
    rows = _paired(every)
    # What passed and has no margin comes last.
    rows = tuple(sorted(rows, key=lambda row: row.margin.gate in far))
    return Judged(candidate.id, word, symbol, tone, rows, closest, every)


def _waived(row: GateRow, gate: WaivedGate) -> GateRow:
    """Return the row of a gate that a waiver let through: its verdict says so, its reason by whom and until when."""
    return replace(
        row, verdict=waived_verdict(gate.verdict), symbol="!", tone="warn", reason=f"{waiver_words(gate)}; {row.reason}"
    )


def _ended(row: GateRow, waiver: GateWaiver) -> GateRow:
    """Return the row of a gate that blocks since its waiver holds no more: its reason says whose that was."""
    return replace(row, reason=f"{ended_words(waiver)} ({waiver.reason}), and the gate blocks again; {row.reason}")


def _all_or_nothing(gates: Mapping[str, Gate], row: GateRow) -> bool:
    """Whether a gate asks for the whole of a share."""
    return gates[row.margin.gate].test == "read_back"


def predicted_sentence(record: Record, contract: Judged | None) -> str:
    """Say how likely the plan took it that a faithful candidate passes, and what came; "" where it said nothing."""
    rows = contract.every if contract else ()
    return came_words(record.plan.power, {row.margin.gate: row.verdict == "PASS" for row in rows})


def _noun(gate: Gate, count: int | None) -> str:
    """Name what a gate counts: timed runs, processes, layers or cases."""
    noun = "case"
    if gate.unit in ("s", "cases/s"):
        noun = "timed run"
    elif gate.metric == AS_PLANNED or gate.test == "read_back":
        noun = "layer"
    elif gate.metric == "peak_memory":
        noun = "process"
    return noun if count == 1 else "processes" if noun == "process" else f"{noun}s"


def _counted(result: GateResult, count: str, noun: str) -> str:
    if not count:
        return ""
    return f"{noun} {count}" if result.cases is None and result.method != NOT_SHOWN else f"{count} {noun}"


def _count(gate: Gate, result: GateResult, least: int) -> str:
    if gate.metric == "size":
        return ""
    if result.cases is not None:
        return f"{result.cases:,}" if result.cases else ""
    return few(least) if result.method == NOT_SHOWN else "not shown"


def _gate_row(gate: Gate, result: GateResult, least: int) -> GateRow:
    needed = result.needed_cases if result.needed_cases is not None else gate.needed_cases
    bounds = [quantity(value, gate.unit, gate.threshold) for value in (result.lower, result.upper)]
    whole = result.lower is not None and result.lower == result.upper
    noun = _noun(gate, result.cases)
    return GateRow(
        verdict=result.verdict,
        symbol=symbol_of(result.verdict),
        tone=tone_of(result.verdict),
        title=gate_title(gate),
        slice=gate_slice(gate),
        whole=gate.slice == "all" and gate.test != "read_back",
        origin=place(gate.origin),
        threshold=threshold_words(gate),
        estimate=quantity(result.estimate, gate.unit, gate.threshold),
        bounds="" if result.estimate is None else "exact" if whole else f"{bounds[0]} to {bounds[1]}",
        before=_metric(gate, result, result.original),
        after=_metric(gate, result, result.candidate),
        cases=result.cases,
        count=_count(gate, result, least),
        changed=None if noun.startswith("layer") else result.changed,
        needed=needed,
        hidden=result.method == NOT_SHOWN,
        short=needed is not None and result.cases is not None and result.cases < needed,
        reason=reason_words(result),
        method=result.method,
        controls=f"it refused {control_words(result.refused)}" if result.refused else "",
        picture=interval_svg(gate, result),
        margin=margin(gate, result),
        counted=_counted(result, _count(gate, result, least), noun),
        pair=_pair_of(gate),
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
