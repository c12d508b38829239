"""What of a candidate's gain conversion, engine and precision gave, from file to file, and a reduction by itself."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from titrant.schema.gain import Gain, factor_words, gain_words, speed_words
from titrant.schema.plan import GIVEN, Candidate, CandidateSearch, Plan, Step
from titrant.schema.values.frozen import dataclass

ORIGINAL = "original"
CONVERSION, ENGINE, PRECISION, REDUCTION = "conversion", "engine", "precision", "reduction"
BOTH = f"{REDUCTION} and {PRECISION}"
LAYOUT = "layout"
# What a network is called that takes the original's place.
STUDENT = "student"
# Families of operators: those that reduce, and those that train what is left.
_REDUCING, _TRAINING = ("prune", "factorize"), ("train", "distill")
# name of a file in the timings → seconds of a batch, or bytes; None where it is not known
FigureOf = Callable[[str], float | None]


@dataclass(frozen=True)
class GainPart:
    """What going from one file to another gave; factors above 1 are better.

    `part` is conversion (another file in the original's own engine), engine (another one, with the conversion that it
    takes), precision, reduction, BOTH or layout (what was done to weights in one engine), "" for the whole. `before`
    and `after` are names in the timings, `engine` is what runs `after`. `speed` has its interval where runs were
    paired; of what is predicted it has none, and no verdict.
    """

    part: str
    before: str
    after: str
    engine: str
    speed: Gain | None = None
    size: float | None = None  # bytes before / bytes after


@dataclass(frozen=True)
class GainParts:
    """A candidate's gain over the original, and the parts that multiply to it, of the runs that chose.

    `over_fastest` compares with the fastest fp32 file of any engine that was timed; None where that is a part's own
    `before`, or the candidate itself. `basis` is measured, or how the plan knows: modelled, guess. Paired factors
    multiply to about the whole, since each is a median of its own; bytes multiply exactly.
    """

    parts: tuple[GainPart, ...]
    whole: GainPart
    over_fastest: GainPart | None = None
    basis: str = "measured"


def timing_step(plan: Plan, search: CandidateSearch) -> Step | None:
    """Return the step that times a search's candidates together."""
    name = search.timings.rpartition(".")[0]
    return next((step for step in plan.steps if step.id == name), None)


def fp32_files(plan: Plan, search: CandidateSearch) -> dict[str, str]:
    """Return every timed file that is the original as it is, by name, with its engine.

    These are the original itself, plain conversions, and those that are only timed beside the candidates.
    """
    timing = timing_step(plan, search)
    engines = dict(timing.params.get("engines", {})) if timing is not None else {}
    changed = {item.id for item in plan.candidates if item.method != "none" or item.plain}
    return {name: engine for name, engine in engines.items() if name not in changed}


def fastest(files: Mapping[str, str], seconds: FigureOf, engine: str | None = None) -> str | None:
    """Return the fastest file of an engine, or of any; None where none was timed."""
    timed = [
        (took, name)
        for name, runs_in in files.items()
        if engine in (None, runs_in) and (took := seconds(name)) is not None
    ]
    return min(timed)[1] if timed else None


@dataclass(frozen=True)
class Halfway:
    """A candidate that has one of two things that another has: it is reduced, or in fewer bits; which is `part`."""

    candidate: str
    part: str


def halfway(plan: Plan, candidate: Candidate) -> Halfway | None:
    """Return what tells apart what a reduction and what fewer bits gave a candidate; None where it has not both.

    One that goes on from others began with the network as it is, in the same precision. Where all are reduced, it is
    the reduced network in fp32, in the same engine and format.
    """
    by_id = {each.id: each for each in plan.candidates}
    if candidate.grows:
        before = candidate
        while before.grows:
            before = by_id[before.grows]
        return Halfway(before.id, PRECISION) if before.method != "none" else None
    reduction, joined, _ = candidate.id.rpartition("+")
    if not joined or candidate.method == "none":
        return None
    same = (candidate.engine, candidate.format)
    return next(
        (
            Halfway(each.id, REDUCTION)
            for each in plan.candidates
            if each.method == "none" and each.plain and (each.engine, each.format) == same
            if each.id == reduction or each.id.rpartition("+")[0] == reduction
        ),
        None,
    )


@dataclass(frozen=True)
class ReducedNetwork:
    """One reduction on the way to a candidate: its operator (STUDENT for a network in the original's place), its step.

    `model` is the "step.port" of what it left: after the training that follows it, where it is `trained`.
    """

    operator: str
    step: str
    model: str
    trained: bool = False


def reduced_networks(steps: Iterable[Step], original: str, candidate: Candidate) -> tuple[ReducedNetwork, ...]:
    """Return every reduction between the original, by its "step.port", and a candidate, the first one first."""
    by_id, way, reference = {step.id: step for step in steps}, list[Step](), candidate.model
    while reference != original and (step := by_id.get(reference.rpartition(".")[0])) is not None:
        way.insert(0, step)
        reference = str(step.inputs.get("model", ""))
    networks: list[ReducedNetwork] = []
    for step in way:
        family, model = step.operator.partition(".")[0], f"{step.id}.model"
        if "model" not in step.inputs and candidate.method != GIVEN:
            networks.append(ReducedNetwork(STUDENT, step.id, model))
        elif family in _REDUCING:
            networks.append(ReducedNetwork(step.operator, step.id, model))
        elif family in _TRAINING and networks:
            networks[-1] = ReducedNetwork(networks[-1].operator, networks[-1].step, model, trained=True)
    return tuple(networks)


def is_reduced(plan: Plan, candidate: Candidate) -> bool:
    """Whether a candidate is of another network than the original: a part of it, or a student."""
    return bool(reduced_networks(plan.steps, plan.original, candidate))


def links(
    candidate: Candidate,
    files: Mapping[str, str],
    seconds: FigureOf,
    between: Halfway | None = None,
    *,
    reduced: bool = False,
) -> tuple[GainPart, ...]:
    """Return the way from the original to a candidate, without factors; () where its steps cannot be told apart.

    It goes over the fastest fp32 file of the original's engine, and then of the candidate's, and over what is `between`
    where that was timed. Where nothing was, a `reduced` candidate has its reduction and its precision in one part.
    One that only lies otherwise in memory is compared with its own format.
    """
    own = files.get(ORIGINAL)
    start = None if own is None else fastest(files, seconds, own)
    if own is None or start is None or seconds(candidate.id) is None:
        return ()
    if candidate.method == "none" and candidate.layout and not reduced and candidate.plain in files:
        laid_out = GainPart(LAYOUT, candidate.plain, candidate.id, own)
        converted = GainPart(CONVERSION, ORIGINAL, candidate.plain, own)
        return (laid_out,) if candidate.plain == ORIGINAL else (converted, laid_out)
    if candidate.id in files and candidate.engine == own:
        return () if candidate.id == ORIGINAL else (GainPart(CONVERSION, ORIGINAL, candidate.id, own),)
    base = candidate.id if candidate.id in files else fastest(files, seconds, candidate.engine)
    if base is None:
        return ()
    way = [GainPart(CONVERSION, ORIGINAL, start, own)] if start != ORIGINAL else []
    way += [GainPart(ENGINE, start, base, candidate.engine)] if candidate.engine != own else []
    kind = REDUCTION if candidate.method == "none" else BOTH if reduced else PRECISION
    if between is not None and seconds(between.candidate) is not None and between.candidate != base:
        way.append(GainPart(between.part, base, between.candidate, candidate.engine))
        base, kind = between.candidate, PRECISION if between.part == REDUCTION else REDUCTION
    kind = f"{kind} and {LAYOUT}" if candidate.layout else kind
    way += [GainPart(kind, base, candidate.id, candidate.engine)] if candidate.id != base else []
    return tuple(way)


def gain_parts(
    candidate: Candidate,
    files: Mapping[str, str],
    seconds: FigureOf,
    size: FigureOf,
    *,
    speed: Callable[[str, str], Gain | None],
    between: Halfway | None = None,
    reduced: bool = False,
    basis: str = "measured",
) -> GainParts | None:
    """Tell a candidate's gain apart; None where its steps cannot be. `speed` compares two files by name."""
    way = links(candidate, files, seconds, between, reduced=reduced)
    if not way:
        return None

    def filled(part: GainPart) -> GainPart:
        before, after = size(part.before), size(part.after)
        ratio = before / after if before and after else None
        return replace(part, speed=speed(part.before, part.after), size=ratio)

    best = fastest(files, seconds)
    over = None
    if best is not None and best not in (candidate.id, way[-1].before, ORIGINAL):
        over = filled(GainPart("", best, candidate.id, candidate.engine))
    whole = filled(GainPart("", ORIGINAL, candidate.id, candidate.engine))
    return GainParts(tuple(map(filled, way)), whole, over, basis)


def predicted_parts(plan: Plan, candidate: Candidate) -> GainParts | None:
    """Tell apart what a plan predicts of a candidate at the batch size that is judged; None where it predicts none."""
    search = next((search for search in plan.searches if candidate.id in search.candidates), None)
    timing = None if search is None else timing_step(plan, search)
    if search is None or timing is None:
        return None
    costs, batch = timing.prediction.models, str(search.timing_batch)
    made = {step.id: step.prediction.output_bytes for step in plan.steps}
    models = timing.inputs.get("models", {})

    def seconds(name: str) -> float | None:
        return costs[name].seconds.get(batch) if name in costs else None

    def size(name: str) -> float | None:
        source = models.get(name) if isinstance(models, Mapping) else None
        return None if source is None else made.get(source.rpartition(".")[0])

    def speed(before: str, after: str) -> Gain | None:
        slow, fast = seconds(before), seconds(after)
        factor = slow / fast if slow and fast else None
        return None if factor is None else Gain("latency", True, before, before, before in files, factor, "")

    files = fp32_files(plan, search)
    return gain_parts(
        candidate, files, seconds, size, speed=speed, between=halfway(plan, candidate),
        reduced=is_reduced(plan, candidate), basis=costs[candidate.id].basis if candidate.id in costs else "",
    )  # fmt: skip


def product_words(parts: GainParts) -> str:
    """Say what multiplies to a speed-up: "4.1× = 1.20× conversion × 1.60× engine × 2.1× precision"; "" without one."""
    if parts.whole.speed is None or any(part.speed is None for part in parts.parts):
        return ""
    whole = factor_words(parts.whole.speed.factor)
    if len(parts.parts) == 1:
        return f"{whole}, all by {parts.parts[0].part}"
    factors = [f"{factor_words(part.speed.factor)} {part.part}" for part in parts.parts if part.speed is not None]
    return f"{whole} = {' × '.join(factors)}"


def whole_words(parts: GainParts) -> str:
    """Say what was measured over the original: "faster than the original 4.1× = …" where it is; "" without a speed."""
    words, speed = product_words(parts), parts.whole.speed
    if not words or speed is None or speed.verdict == "better":
        return words and f"faster than the original {words}"
    said = gain_words(replace(speed, title="the original"))
    return f"{said}: {words}" if len(parts.parts) > 1 else said


def fastest_words(parts: GainParts) -> str:
    """Compare with the fastest fp32 file of any engine, "" where a part does already."""
    over = parts.over_fastest
    if over is None or over.speed is None:
        return ""
    said = speed_words(over.speed) if over.speed.verdict else f"{factor_words(over.speed.factor)} the speed"
    return f"against {over.before}, the fastest fp32 file: {said}"


@dataclass(frozen=True)
class ReductionGain:
    """What one reduction gave: how many times less there is of what `of` names (parameters, bytes), and what it keeps.

    `masked` is the share of the weights, 0..1, that are 0 and still there. `kept` is the share of the original's
    `metric` that the network has before it is quantized, or, `beside` the original, that metric itself; `lower` is its
    one-sided bound at `confidence`, on so many evaluation `rows`. None where that was not measured, `because` of what.
    """

    operator: str
    ratio: float
    of: str
    masked: float = 0.0
    trained: bool = False
    metric: str = ""
    beside: bool = False
    kept: float | None = None
    lower: float | None = None
    confidence: float = 0.0
    rows: int | None = None
    because: str = ""

    @property
    def size_words(self) -> str:
        """Say how much smaller: "prune.structured: compressed 1.42 times, 0.2940 of the parameters are gone"."""
        parts = [f"compressed {self.ratio:.2f} times"]
        parts += [f"{1 - 1 / self.ratio:.4f} of the {self.of} are gone"] * (self.ratio > 1)
        parts += [f"{self.masked:.4f} of the weights are 0 and still there"] * bool(self.masked)
        return f"{self.operator}: {', '.join(parts)}"

    @property
    def words(self) -> str:
        """Say how much smaller, and what it keeps by itself."""
        if self.kept is None:
            return f"{self.size_words}; what that keeps was not measured: {self.because}"
        metric = self.metric.replace("_", " ")
        kept = f"has {metric} {self.kept:.4f}" if self.beside else f"keeps {self.kept:.4f} of the original's {metric}"
        bound = "" if self.lower is None else f", at least {self.lower:.4f} at {self.confidence:g} confidence"
        left = "what is left, trained again," if self.trained else "what is left"
        on = f"on {self.rows:,} evaluation rows, before any quantization"
        return f"{self.size_words}; {left} {kept}{bound}, {on}; no gate asks it"
