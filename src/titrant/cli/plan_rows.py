"""A plan as rows of short texts, which the console and Markdown lay out each in their way."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from titrant.schema.contract.waivers import expected_words, of_gates
from titrant.schema.facts import HardwareIdentity
from titrant.schema.gain_parts import fastest_words, predicted_parts, product_words
from titrant.schema.gate import AS_PLANNED, Gate, control_words, controls_of, threshold_words
from titrant.schema.min_cell import min_cell
from titrant.schema.open_looks import OPEN
from titrant.schema.plan import (
    ASKED,
    BASES,
    FIGURES,
    Candidate,
    Coverage,
    Decision,
    LayerGroup,
    Plan,
    Prediction,
    Step,
    StepPreview,
    basis_words,
    by_reason,
    candidate_cost,
    judged_batch,
)
from titrant.schema.power import power_words
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted, format_size, format_time, shown_count

# By step.
Previews = Mapping[str, StepPreview]

UNKNOWN = "?"
# Symbol → what it says of a step.
SYMBOLS: Mapping[str, str] = {
    "=": "reused",
    "+": "runs",
    "~": "runs again because something changed",
    "?": "runs only if the search asks",
    "!": "cannot run here",
    "-": "no longer planned",
}
# Layers of one group that are named; the others are counted.
NAMED_LAYERS = 4


@dataclass(frozen=True)
class PlanStepRow:
    """One step: `because` is why the plan has it, `symbol_because` and `follows` as its preview has them.

    `bases` are those of seconds, peak and output, "" for a figure that is unknown; `basis` says the same in words.
    """

    symbol: str
    id: str
    operator: str
    seconds: str
    peak: str
    output: str
    bases: tuple[str, str, str]
    basis: str
    because: str
    symbol_because: str = ""
    follows: bool = False


@dataclass(frozen=True)
class PlanGateRow:
    """One gate: what it asks, where it comes from, and the cases that it needs and has."""

    id: str
    asks: str
    origin: str
    needed: str
    available: str
    note: str
    too_few: bool
    waiver: str = ""


@dataclass(frozen=True)
class PlanCandidateRow:
    """One candidate and what its file is expected to be; `gain` tells its speed-up over the original apart."""

    id: str
    method: str
    engine: str
    format: str
    size: str
    latency: str
    memory: str
    gain: str


def step_rows(plan: Plan, previews: Previews, *, whole: bool = False) -> tuple[PlanStepRow, ...]:
    """List the steps in the order of the plan.

    Those of a candidate that waits for another stand in one row while none of them is asked for, unless `whole`.
    """
    candidates = {candidate.id: candidate for candidate in plan.candidates if candidate.waits_for}
    waiting: dict[str, list[Step]] = {name: [] for name in candidates}
    for step in plan.steps:
        if step.candidate in candidates:
            waiting[step.candidate].append(step)
    asked = {name for name, steps in waiting.items() if any(preview_of(step, previews).symbol != "?" for step in steps)}
    rows: list[PlanStepRow] = []
    for step in plan.steps:
        if whole or step.candidate not in candidates or step.candidate in asked:
            rows.append(_step(step, preview_of(step, previews)))
        elif step is waiting[step.candidate][0]:
            rows.append(_waiting(candidates[step.candidate], waiting[step.candidate]))
    return tuple(rows)


def _waiting(candidate: Candidate, steps: list[Step]) -> PlanStepRow:
    """Put the steps of a candidate that waits for another, which nobody asked for yet, into one row."""
    from titrant.compiler.predict.price import totals

    total = totals(steps)
    seconds = UNKNOWN if total.seconds is None else format_time(total.seconds - total.loading_seconds)
    basis = max((step.prediction.basis_of("seconds") for step in steps), key=BASES.index)
    seconds_basis, peak_basis, output_basis = (
        "" if value is None else basis for value in (total.seconds, total.peak_bytes, total.output_bytes)
    )
    return PlanStepRow(
        "?", candidate.id, counted(len(steps), "step"), seconds, _size(total.peak_bytes), _size(total.output_bytes),
        (seconds_basis, peak_basis, output_basis), basis, _condition(candidate),
    )  # fmt: skip


def _condition(candidate: Candidate) -> str:
    does = "loses too much" if candidate.mends else "keeps enough"
    return f"if {candidate.waits_for} {does} on tuning rows"


def preview_of(step: Step, previews: Previews) -> StepPreview:
    """Return a step's preview; without one everything would run, as far as the search asks."""
    return previews.get(step.id, StepPreview("?" if step.stage in ASKED else "+"))


def _step(step: Step, preview: StepPreview) -> PlanStepRow:
    made = step.prediction
    seconds = UNKNOWN if made.seconds is None else format_time(made.seconds)
    return PlanStepRow(
        preview.symbol, step.id, step.operator, seconds, _size(made.peak_bytes), _size(made.output_bytes),
        bases_of(made), basis_words(made), step.because, preview.because, preview.follows,
    )  # fmt: skip


def bases_of(prediction: Prediction) -> tuple[str, str, str]:
    """Return the basis of each figure; "" for one that is unknown."""
    seconds, peak, output = ("" if getattr(prediction, name) is None else prediction.basis_of(name) for name in FIGURES)
    return seconds, peak, output


def rejected_rows(decision: Decision, *, whole: bool = False) -> tuple[tuple[str, str], ...]:
    """Return what was not chosen, by reason, as names and that reason; what nobody asked for as one, unless `whole`."""
    shown = [item for item in decision.rejected if whole or not item.unasked]
    hidden = len(decision.rejected) - len(shown)
    rows = [(", ".join(names), reason) for reason, names in by_reason(shown).items()]
    if hidden:
        names = counted(hidden, "other")
        reason = "for another device, format, kind or width, or only by name"
        rows.append((names, f"{reason}; titrant explain RECIPE {decision.subject} lists them"))
    return tuple(rows)


def other_methods(coverage: tuple[Coverage, ...]) -> str:
    """Name the methods that make no candidate, and where their layers are listed; "" where each makes one."""
    names = ", ".join(method.method for method in coverage if not method.candidate)
    return f"no candidates (their layers: titrant plan --json): {names}" if names else ""


def _size(value: int | None) -> str:
    return UNKNOWN if value is None else format_size(value)


def gate_rows(plan: Plan) -> tuple[PlanGateRow, ...]:
    """List the gates of the contract."""
    least, waivers = min_cell(plan), of_gates(plan.contract.waivers)
    day = datetime.now(UTC).date().isoformat()
    return tuple(
        replace(row, waiver=expected_words(waivers[row.id], day)) if row.id in waivers else row
        for row in (_gate(gate, least) for gate in plan.contract.gates)
    )


def contract_words(plan: Plan) -> tuple[str, ...]:
    """Say how strictly the contract is read, and how many rows at once it is judged on."""
    batches = sorted({batch for item in plan.candidates if (batch := judged_batch(plan, item)) is not None})
    judged = (f"judged in batches of {' or '.join(map(str, batches))}",) if batches else ()
    planned = plan.contract.looks
    many = (
        "for the first model, less may go wrong for each further one"
        if planned == OPEN
        else f"in each of {planned} looks"
    )
    looks = () if planned == 1 else (many,)
    confidence = " ".join((f"confidence {plan.contract.confidence:g}", *looks))
    return (confidence, f"require: {plan.contract.require}", *judged)


def control_lines(plan: Plan) -> tuple[str, ...]:
    """Say which answers the gates are also put to when a candidate is judged, those that must refuse alike in one."""
    alike: dict[str, list[str]] = {}
    for gate in plan.contract.gates:
        if words := control_words(controls_of(gate)):
            alike.setdefault(words, []).append(gate.id)
    constant = ("together they must refuse every constant answer",) if alike else ()
    return (*(f"{', '.join(ids)} must refuse {words}" for words, ids in alike.items()), *constant)


def power_line(plan: Plan) -> str:
    """Say how likely all gates together pass a faithful candidate, and which costs most; "" where none can be said."""
    if plan.contract.looks == OPEN:
        return "all gates together: not simulated for looks: open; each gate's cases are those of its bets"
    return power_words(plan.power, plan.contract.gates, min_cell(plan))


def _gate(gate: Gate, least: int) -> PlanGateRow:
    where = "" if gate.slice == "all" else f" on {gate.slice}"
    needed = "" if gate.needed_cases is None else str(gate.needed_cases)
    available = shown_count(gate.available_cases, least)
    if gate.test == "not_assessable":
        note = f"not assessable: {gate.assumption}"
    elif gate.needed_cases is None:
        note = ""
    else:
        note = gate.assumption
    asks = f"{gate.metric}{where} {threshold_words(gate)}"
    asks = "every layer runs in the precision that was planned" if gate.metric == AS_PLANNED else asks
    return PlanGateRow(gate.id, asks, gate.origin, needed, available, note, _too_few(gate))


def _too_few(gate: Gate) -> bool:
    """Whether a gate has fewer cases than it needs."""
    needed, available = gate.needed_cases, gate.available_cases
    return needed is not None and available is not None and bool(needed and available < needed)


def candidate_rows(plan: Plan) -> tuple[PlanCandidateRow, ...]:
    """List the candidates from gentle to aggressive, with the file, latency and memory that are expected of each.

    Those that wait for others are named by `waiting_words`.
    """
    ranked = sorted(plan.candidates, key=lambda candidate: candidate.rank)
    return tuple(_candidate(candidate, plan) for candidate in ranked if not candidate.waits_for)


def waiting_words(plan: Plan) -> tuple[str, ...]:
    """Name, a line for each condition, the candidates that are made only where tuning rows ask for them."""
    waiting: dict[str, list[str]] = {}
    for candidate in plan.candidates:
        if candidate.waits_for:
            waiting.setdefault(_condition(candidate), []).append(candidate.id)
    return tuple(f"{condition}: {', '.join(names)}" for condition, names in waiting.items())


def _candidate(candidate: Candidate, plan: Plan) -> PlanCandidateRow:
    seconds, peak = expected_figures(candidate, plan)
    return PlanCandidateRow(
        candidate.id, candidate.method, candidate.engine, candidate.format, _size(candidate.predicted_bytes),
        UNKNOWN if seconds is None else format_time(seconds), _size(peak), _gain(candidate, plan),
    )  # fmt: skip


def _gain(candidate: Candidate, plan: Plan) -> str:
    parts = predicted_parts(plan, candidate)
    if parts is None or not (words := product_words(parts)):
        return ""
    return "; ".join(filter(None, (f"{words} ({parts.basis})", fastest_words(parts))))


def expected_figures(candidate: Candidate, plan: Plan) -> tuple[float | None, int | None]:
    """Return the seconds of one batch at the batch size that is judged, and the peak memory, that are predicted."""
    predicted = {step.id: step.prediction for step in plan.steps}
    cost_and_batch = candidate_cost(candidate.id, plan.searches, predicted.get)
    if cost_and_batch is None:
        return None, None
    cost, batch = cost_and_batch
    return cost.seconds.get(batch), cost.peak_bytes


def totals_parts(plan: Plan, previews: Previews) -> Iterator[str]:
    """Yield what the line of totals says: how many steps run, and what all that runs is expected to take."""
    symbols = {step.id: preview_of(step, previews).symbol for step in plan.steps}
    counts = list(symbols.values())
    yield f"{counted(len(counts), 'step')}: {sum(symbol in '+~' for symbol in counts)} to run"
    for symbol, words in (("=", "reused"), ("?", "only if the search asks"), ("!", "cannot run here")):
        if counts.count(symbol):
            yield f"{counts.count(symbol)} {words}"
    running = [step for step in plan.steps if symbols[step.id] in "+~?"]
    yield from _cost(running, all_asked="?" in counts)


def _cost(steps: list[Step], *, all_asked: bool) -> Iterator[str]:
    from titrant.compiler.predict.price import totals

    total = totals(steps)
    if total.seconds is not None:
        parts = ["if all run"] * all_asked
        if total.loading_seconds:
            parts.append(f"{format_time(total.loading_seconds)} of it to load libraries")
        parts += [f"{counted(total.unknown, 'step')} unknown"] * bool(total.unknown)
        said = f" ({', '.join(parts)})" if parts else ""
        yield f"predicted {format_time(total.seconds)}{said}"
    if total.peak_bytes is not None:
        yield f"peak {format_size(total.peak_bytes)} beside libraries"
    if total.output_bytes is not None:
        yield f"disk {format_size(total.output_bytes)}"


def released_text(plan: Plan) -> str:
    """Say what the released model is expected to be; a range where a search chooses among several."""
    sizes = [candidate.predicted_bytes for candidate in plan.candidates if candidate.predicted_bytes is not None]
    figures = [expected_figures(candidate, plan) for candidate in plan.candidates]
    latencies = [seconds for seconds, _ in figures if seconds is not None]
    peaks = [peak for _, peak in figures if peak is not None]
    return (
        f"released model: size {_range([format_size(size) for size in sorted(sizes)])}, "
        f"latency {_range([format_time(seconds) for seconds in sorted(latencies)])}, "
        f"memory {_range([format_size(peak) for peak in sorted(peaks)])}"
    )


def _range(ordered: list[str]) -> str:
    if not ordered:
        return "unknown"
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"


def machine_words(machine: HardwareIdentity) -> str:
    """Name what decisions and predictions are made for: processor, cores, memory, accelerators, instruction sets."""
    names = [gpu.name for gpu in machine.gpus]
    gpus = [f"{names.count(name)} × {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)]
    memory = [] if machine.memory_bytes is None else [format_size(machine.memory_bytes)]
    instructions = ", ".join(machine.instructions) or "instruction sets unknown"
    return " · ".join([machine.cpu or machine.machine, counted(machine.cores, "core"), *memory, *gpus, instructions])


def group_text(group: LayerGroup) -> str:
    """Write what becomes of some layers of one type."""
    return f"not {layers_text(group)}" if group.because else layers_text(group)


def layers_text(group: LayerGroup) -> str:
    """Name some layers of one type, and why they are left out if they are; of many only the first are named."""
    names = ", ".join(group.layers[:NAMED_LAYERS])
    more = len(group.layers) - NAMED_LAYERS
    named = f"{group.type} ({names}{f' and {more} more' if more > 0 else ''})"
    return f"{named}: {group.because}" if group.because else named
