"""A plan as rows of short texts, which the console and Markdown lay out each in their way."""

from collections.abc import Iterator, Mapping

from titrant.compiler.totals import totals
from titrant.schema.frozen import dataclass
from titrant.schema.gate import Gate
from titrant.schema.gate_words import COMPARISONS
from titrant.schema.plan import FIGURES, Candidate, Plan, Prediction, Step
from titrant.schema.units import format_size, format_time

# Step → its symbol (= + ~ ? !) and the reason for it.
Forecast = Mapping[str, tuple[str, str]]
UNKNOWN = "?"


@dataclass(frozen=True)
class StepRow:
    """One step: `because` is why the plan has it, `symbol_because` why its symbol is what it is.

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


@dataclass(frozen=True)
class GateRow:
    """One gate: what it asks, where it comes from, and the cases that it needs and has."""

    id: str
    asks: str
    origin: str
    needed: str
    available: str
    note: str


@dataclass(frozen=True)
class CandidateRow:
    """One candidate and what its file is expected to be."""

    id: str
    method: str
    engine: str
    format: str
    size: str
    latency: str
    memory: str


def step_rows(plan: Plan, forecast: Forecast) -> tuple[StepRow, ...]:
    """List the steps in the order of the plan."""
    return tuple(_step(step, *symbol_of(step, forecast)) for step in plan.steps)


def symbol_of(step: Step, forecast: Forecast) -> tuple[str, str]:
    """Return a step's symbol and its reason; without a forecast everything would run, as far as the search asks."""
    return forecast.get(step.id, ("?" if step.stage == "judge" else "+", ""))


def _step(step: Step, symbol: str, because: str) -> StepRow:
    made = step.prediction
    seconds = UNKNOWN if made.seconds is None else format_time(made.seconds)
    return StepRow(
        symbol, step.id, step.operator, seconds, _size(made.peak_bytes), _size(made.output_bytes), bases_of(made),
        basis_text(made), step.because, because,
    )  # fmt: skip


def bases_of(prediction: Prediction) -> tuple[str, str, str]:
    """Return the basis of each figure; "" for one that is unknown."""
    seconds, peak, output = ("" if getattr(prediction, name) is None else prediction.basis_of(name) for name in FIGURES)
    return seconds, peak, output


def basis_text(prediction: Prediction) -> str:
    """Say how sure the figures are: one word, and those that are surer or less sure by name; "" for none."""
    known = zip(("time", "peak", "output"), bases_of(prediction), strict=True)
    bases = {word: basis for word, basis in known if basis}
    if not bases:
        return ""
    main = next(iter(bases.values()))
    others: dict[str, list[str]] = {}
    for word, basis in bases.items():
        if basis != main:
            others.setdefault(basis, []).append(word)
    return ", ".join([main, *(f"{' and '.join(words)} {basis}" for basis, words in others.items())])


def _size(value: int | None) -> str:
    return UNKNOWN if value is None else format_size(value)


def gate_rows(plan: Plan) -> tuple[GateRow, ...]:
    """List the gates of the contract."""
    return tuple(_gate(gate) for gate in plan.contract.gates)


def _gate(gate: Gate) -> GateRow:
    where = "" if gate.slice == "all" else f" on {gate.slice}"
    needed = "" if gate.needed_cases is None else str(gate.needed_cases)
    available = "" if gate.available_cases is None else str(gate.available_cases)
    if gate.test == "not_assessable":
        note = f"not assessable: {gate.assumption}"
    elif gate.needed_cases is None:
        note = ""
    else:
        note = gate.assumption
    return GateRow(gate.id, f"{gate.metric}{where} {threshold_text(gate)}", gate.origin, needed, available, note)


def too_few(row: GateRow) -> bool:
    """Whether a gate has fewer cases than it needs."""
    return bool(row.needed and row.available) and int(row.available) < int(row.needed)


def threshold_text(gate: Gate) -> str:
    """Write a gate's threshold with its unit and comparison."""
    if gate.unit == "s":
        value = format_time(gate.threshold)
    elif gate.unit == "B":
        value = format_size(int(gate.threshold))
    else:
        value = f"{gate.threshold:g}" + (f" {gate.unit}" if gate.unit else "")
    return COMPARISONS[gate.comparison].format(value)


def candidate_rows(plan: Plan) -> tuple[CandidateRow, ...]:
    """List the candidates from gentle to aggressive, with the file, latency and memory that are expected of each."""
    return tuple(_candidate(one, plan) for one in sorted(plan.candidates, key=lambda one: one.rank))


def _candidate(candidate: Candidate, plan: Plan) -> CandidateRow:
    seconds, peak = expected_figures(candidate, plan)
    return CandidateRow(
        candidate.id, candidate.method, candidate.engine, candidate.format, _size(candidate.predicted_bytes),
        UNKNOWN if seconds is None else format_time(seconds), _size(peak),
    )  # fmt: skip


def expected_figures(candidate: Candidate, plan: Plan) -> tuple[float | None, int | None]:
    """Return the seconds of one batch at the batch size that is judged, and the peak memory, that are predicted."""
    search = next((one for one in plan.searches if candidate.id in one.candidates), None)
    timer = search.timings.rpartition(".")[0] if search is not None else ""
    made = next((step.prediction for step in plan.steps if step.id == timer), Prediction())
    cost = made.models.get(candidate.id)
    if search is None or cost is None:
        return None, None
    return cost.seconds.get(str(search.timing_batch)), cost.peak_bytes


def totals_parts(plan: Plan, forecast: Forecast) -> Iterator[str]:
    """Yield what the line of totals says: how many steps run, and what all that runs is expected to take."""
    symbols = {step.id: symbol_of(step, forecast)[0] for step in plan.steps}
    counts = list(symbols.values())
    yield f"{len(counts)} steps: {sum(symbol in '+~' for symbol in counts)} to run"
    for symbol, words in (("=", "reused"), ("?", "only if the search asks"), ("!", "cannot run here")):
        if counts.count(symbol):
            yield f"{counts.count(symbol)} {words}"
    running = [step for step in plan.steps if symbols[step.id] in "+~?"]
    yield from _cost(running)


def _cost(steps: list[Step]) -> Iterator[str]:
    found = totals(steps)
    if found.seconds is not None:
        yield f"predicted {format_time(found.seconds)}" + (f" and {found.unknown} unknown" if found.unknown else "")
    if found.peak_bytes is not None:
        yield f"peak {format_size(found.peak_bytes)}"
    if found.output_bytes is not None:
        yield f"disk {format_size(found.output_bytes)}"


def released_text(plan: Plan) -> str:
    """Say what the released model is expected to be; a range where a search chooses among several."""
    sizes = [one.predicted_bytes for one in plan.candidates if one.predicted_bytes is not None]
    figures = [expected_figures(one, plan) for one in plan.candidates]
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
