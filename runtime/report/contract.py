"""A candidate's contract in tables: every gate as judged with its margin, and the decisions that changed by class."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from titrant.runtime.contract.answers import CaseCount, Cells, DecisionCounts
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
from titrant.runtime.report.small_cells import ShownTables, number, without_small_cells
from titrant.schema.contract.waivers import WaivedGate, waived_verdict, waiver_words
from titrant.schema.gate import (
    NOT_SHOWN,
    SMALLER_IS_BETTER,
    Gate,
    GateResult,
    Judgement,
    control_words,
    reason_words,
    threshold_words,
)
from titrant.schema.power import came_words
from titrant.schema.values.units import few, is_small


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


@dataclass(frozen=True)
class Judged:
    """One candidate's contract table."""

    candidate: str
    verdict: str
    symbol: str
    tone: str
    rows: tuple[GateRow, ...]
    weakest: Margin | None


def judged(record: Record, candidate: Shown, least: int) -> Judged | None:
    """Build a candidate's contract table; None where it was never judged."""
    judgement = candidate.judgement
    if judgement is None:
        return None
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    rows = tuple(_gate_row(gates[result.gate], result, least) for result in judgement.results if result.gate in gates)
    waived = {gate.gate: gate for gate in candidate.record.waived}
    rows = tuple(_waived(row, waived[row.margin.gate]) if row.margin.gate in waived else row for row in rows)
    # A gate that passed on a group too small to show is no weak one: how near it was is not told. One that has all of
    # what it asks for, such as every layer as planned, has no margin to be near to.
    far = {row.margin.gate for row in rows if row.verdict == "PASS" and (row.hidden or _all_or_nothing(gates, row))}
    closest = weakest([row.margin for row in rows if row.margin.gate not in far])
    if waived:
        return Judged(candidate.id, waived_verdict(judgement.verdict), "!", "warn", rows, closest)
    symbol, tone = SYMBOLS[judgement.verdict], TONES[judgement.verdict]
    return Judged(candidate.id, judgement.verdict, symbol, tone, rows, closest)


def _waived(row: GateRow, gate: WaivedGate) -> GateRow:
    """Return the row of a gate that a waiver let through: its verdict says so, its reason by whom and until when."""
    return replace(
        row, verdict=waived_verdict(gate.verdict), symbol="!", tone="warn", reason=f"{waiver_words(gate)}; {row.reason}"
    )


def _all_or_nothing(gates: Mapping[str, Gate], row: GateRow) -> bool:
    """Whether a gate asks for the whole of a share."""
    return gates[row.margin.gate].test == "read_back"


def predicted_sentence(record: Record, contract: Judged | None) -> str:
    """Say how likely the plan took it that a faithful candidate passes, and what came; "" where it said nothing."""
    rows = contract.rows if contract else ()
    return came_words(record.plan.power, {row.margin.gate: row.verdict == "PASS" for row in rows})


def _count(result: GateResult, least: int) -> str:
    if result.cases is not None:
        return f"{result.cases:,}" if result.cases else ""
    return few(least) if result.method == NOT_SHOWN else "not shown"


def _gate_row(gate: Gate, result: GateResult, least: int) -> GateRow:
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
        count=_count(result, least),
        changed=result.changed,
        needed=needed,
        hidden=result.method == NOT_SHOWN,
        short=needed is not None and result.cases is not None and result.cases < needed,
        reason=reason_words(result),
        method=result.method,
        controls=f"it refused {control_words(result.refused)}" if result.refused else "",
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


# Past this a table of every class by every class says nothing to a reader; the changes by class still do.
MOST_CLASSES = 12
MOST_ROWS = 24


@dataclass(frozen=True)
class ClassRow:
    """One actual class: its cases, how many each model decided rightly, and what changed hands.

    Every number is written out; `changed` says whether any case changed hands, as far as that may be shown.
    """

    name: str
    cases: str
    before: str
    after: str
    gained: str
    lost: str
    changed: int


@dataclass(frozen=True)
class Matrix:
    """Cases by row class and column class, written out; `weights` are the cells' share of their row, for the tint."""

    title: str
    rows: str
    columns: str
    cells: tuple[tuple[str, ...], ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ClassChanges:
    """What a page shows of one candidate's changed decisions; `hidden` counts classes without a row of their own."""

    candidate: str
    classes: tuple[str, ...]
    labelled: bool
    rows: tuple[ClassRow, ...]
    hidden: int
    matrices: tuple[Matrix, ...]
    sentence: str


def class_changes(candidate: str, answers: DecisionCounts, least: int) -> ClassChanges:
    """Turn counted decisions into tables; with many classes only those that changed most have a row.

    No table shows a cell of fewer than `least` cases, nor does the sentence.
    """
    labelled = bool(answers.original)
    shown = without_small_cells(answers, least)
    rows = _class_rows(shown) if labelled else ()
    most = sorted(rows, key=lambda row: -row.changed)[:MOST_ROWS] if len(rows) > MOST_ROWS else list(rows)
    return ClassChanges(
        candidate, answers.classes, labelled, tuple(most), len(rows) - len(most), _matrices(shown.answers),
        _changes_sentence(answers, least),
    )  # fmt: skip


def _class_rows(shown: ShownTables) -> tuple[ClassRow, ...]:
    answers = shown.answers
    before, after = _diagonal(answers.original), _diagonal(answers.candidate)
    return tuple(
        ClassRow(
            name,
            number(shown.totals[index]),
            number(before.get(index, 0)),
            number(after.get(index, 0)),
            number(answers.gained[index]),
            number(answers.lost[index]),
            sum(count if isinstance(count, int) else 1 for count in (answers.gained[index], answers.lost[index])),
        )
        for index, name in enumerate(answers.classes)
    )


def _diagonal(cells: Cells) -> dict[int, CaseCount]:
    return {row: count for row, column, count in cells if row == column}


def _matrices(answers: DecisionCounts) -> tuple[Matrix, ...]:
    if len(answers.classes) > MOST_CLASSES:
        return ()
    tables = (
        ("before: the original", "actual", "decided", answers.original),
        ("after: the candidate", "actual", "decided", answers.candidate),
        ("what moved", "original decided", "candidate decided", () if answers.original else answers.moved),
    )
    size = len(answers.classes)
    return tuple(_matrix(title, rows, columns, cells, size) for title, rows, columns, cells in tables if cells)


def _matrix(title: str, rows: str, columns: str, cells: Cells, size: int) -> Matrix:
    counts = {(row, column): count for row, column, count in cells}
    table = [[counts.get((row, column), 0) for column in range(size)] for row in range(size)]
    written = tuple(tuple(number(count) for count in line) for line in table)
    return Matrix(title, rows, columns, written, tuple(_weights(line) for line in table))


def _weights(line: list[CaseCount]) -> tuple[float, ...]:
    """Return each cell's share of its row; none where a cell is not shown, which the others' shares would give away."""
    whole = [count for count in line if isinstance(count, int)]
    if len(whole) < len(line):
        return (0.0,) * len(line)
    return tuple(round(count / (sum(whole) or 1), 3) for count in whole)


def _changes_sentence(answers: DecisionCounts, least: int) -> str:
    changed = sum(count for before, after, count in answers.moved if before != after and isinstance(count, int))
    if not changed:
        return f"Both models decide every one of {answers.cases:,} evaluation cases alike."
    if is_small(changed, least):
        return f"The models decide fewer than {least} of {answers.cases:,} evaluation cases differently."
    text = f"The models decide {changed:,} of {answers.cases:,} evaluation cases differently"
    if not answers.original:
        return text + "; without labels nobody can say which of the two is right."
    gained, lost = (sum(count for count in side if isinstance(count, int)) for side in (answers.gained, answers.lost))
    neither = changed - gained - lost
    if any(is_small(count, least) for count in (gained, lost, neither)):
        return f"{text}; how many became right or wrong is not shown, as one of these is fewer than {least}."
    tail = f", {neither:,} changed from one wrong decision to another" if neither else ""
    return f"{text}: {gained:,} became right, {lost:,} became wrong{tail}."
