"""The execution plan: decisions, steps and their predictions, candidates, searches, contract and the plan's digest.

A file in a step's parameters is a mapping of a path and the digest that the file had when it was planned.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from functools import cached_property
from typing import Any

from titrant.schema.facts import HardwareIdentity
from titrant.schema.gate import Contract
from titrant.schema.language.spans import dotted
from titrant.schema.power import JointPower
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Rejected:
    """An alternative that was not chosen, why, and what would make it possible: "" where nothing would.

    `unasked` ones are of no interest to a recipe that does not ask for them: another device, format, kind or width.
    """

    value: str
    because: str
    remedy: str = ""
    unasked: bool = False

    @property
    def reason(self) -> str:
        """What speaks against it, with what would help."""
        return f"{self.because}: {self.remedy}" if self.remedy else self.because


def by_reason(rejected: Iterable[Rejected]) -> dict[str, list[str]]:
    """Return what each reason speaks against: those with a remedy first, and the short before the long."""
    grouped: dict[str, list[str]] = {}
    for alternative in sorted(rejected, key=lambda item: (not item.remedy, len(item.reason))):
        grouped.setdefault(alternative.reason, []).append(alternative.value)
    return grouped


@dataclass(frozen=True)
class Decision:
    """One choice: what was asked, what was chosen, why, by which rule, and from where (`file:line:col`, or "")."""

    subject: str
    asked: str
    chosen: str
    because: str
    rule: str
    rejected: tuple[Rejected, ...] = ()
    where: str = ""


# What a step is for, in the order in which steps run.
STAGES = ("prepare", "make", "search", "measure", "judge", "observe", "report")
# The stage that looks inside the original and what is released: nothing is chosen or judged by it.
OBSERVING_STAGE = "observe"
FIGURES = ("seconds", "peak_bytes", "output_bytes")
# What of a run itself a recipe may ask for: memory after each step, hardware while steps run.
MEMORY, UTILIZATION = "memory", "utilization"
PROFILED = (MEMORY, UTILIZATION)
# From the surest to the least sure.
BASES = ("counted", "measured", "modelled", "guess")


@dataclass(frozen=True)
class ModelCost:
    """What one model is expected to take: seconds of a batch by the batch's size, memory at the largest of them."""

    seconds: Mapping[str, float]
    peak_bytes: int | None = None
    basis: str = "guess"


@dataclass(frozen=True)
class Prediction:
    """What a step is expected to cost, and how sure that is: counted, measured, modelled or guess.

    `basis` holds for every figure that has none of its own in `bases`, by the figure's name. Neither `seconds` nor
    `peak_bytes` holds what loading libraries costs: `loads` are those that the step needs, with the seconds that each
    takes the first step of a worker that needs it. `models` are what a step that times models
    is expected to find. `shape` digests everything that the cost depends on: what another step of the same shape took
    here is measured. `device` is where it computes (cpu, cuda, mps). `learned_from` digests the measurements that went
    in, "" without any.
    """

    seconds: float | None = None
    peak_bytes: int | None = None
    output_bytes: int | None = None
    basis: str = "guess"
    bases: Mapping[str, str] = field(default_factory=dict)
    loads: Mapping[str, float] = field(default_factory=dict)
    models: Mapping[str, ModelCost] = field(default_factory=dict)
    shape: str = ""
    device: str = "cpu"
    learned_from: str = ""
    # What the operator's own formula gave, before anything was learned: measurements are held against it.
    formula_seconds: float | None = None
    formula_peak_bytes: int | None = None
    formula_models: Mapping[str, float] = field(default_factory=dict)  # seconds of the smallest batch

    def basis_of(self, figure: str) -> str:
        """Return the basis of one figure: seconds, peak_bytes or output_bytes."""
        return self.bases.get(figure, self.basis)


@dataclass(frozen=True)
class Step:
    """One operator call.

    `inputs` maps a port to "step.port", or, for a port that takes many, to a mapping of name to "step.port" (names
    whose producer was rejected are left out when it runs). `params` is JSON; a file is {"path", "digest"}, of which
    only the digest counts. `candidate` names the chain that it belongs to ("" for shared steps); `stage` is one of
    prepare (shared work), make (a candidate's chain, through its answers on tuning rows), search (the same of one that
    waits for another; run only when the search asks), measure (joint timing), judge (evaluation rows; run only when the
    search asks) and report. `frees` names the values ("step.port") that no
    step after it reads: a hint, which changes nothing but memory.
    """

    id: str
    operator: str
    version: int
    params: Mapping[str, Any]
    inputs: Mapping[str, str | Mapping[str, str]]
    seed: int
    stage: str
    candidate: str = ""
    because: str = ""
    prediction: Prediction = Prediction()
    frees: tuple[str, ...] = ()


# The method of a file that was optimized elsewhere and is judged as it is.
GIVEN = "given"


@dataclass(frozen=True)
class Candidate:
    """One (method, engine, format, file); `rank` orders candidates from gentle to aggressive."""

    id: str
    method: str
    engine: str
    format: str
    rank: int
    model: str  # "step.port" of the file that is judged and released
    answers: str  # "step.port" of its outputs on tuning rows
    quality: str  # "step.port" of its figures on tuning rows
    judgement: str  # "step.port" of its judgement on evaluation rows
    predicted_bytes: int | None = None
    repeats: str = ""  # "step.port" of what says that it answers the same twice; "" where nobody asks
    invariance: str = ""  # "step.port" of whether its answers depend on who shares the batch; "" where nobody asks
    plain: str = ""  # the name in the timings of the model as it is, in its engine and format; "" where it is that
    executed: str = ""  # "step.port" of what its engine really runs; "" where nobody asks
    mends: str = ""  # the candidate that must lose too much on tuning rows before this one is made; "" for any other
    allocation: str = ""  # "step.port" of the layers that a mixture leaves in higher precision; "" for any other
    grows: str = ""  # the candidate that must keep enough on tuning rows before this smaller network is made; "": other
    reduced: tuple[str, ...] = ()  # "step.port" of what each reduction keeps by itself, the first one first
    layout: str = ""  # how its convolutions lie in memory; "" as they do by themselves

    @property
    def waits_for(self) -> str:
        """The candidate whose quality on tuning rows decides whether this one is made; "" where it is made anyhow."""
        return self.mends or self.grows


@dataclass(frozen=True)
class CandidateSearch:
    """Choose one candidate for one requested format ("auto": any).

    Every candidate is made and measured on tuning rows; a shortlist of at most `shortlist`, fixed before evaluation
    rows are read, is judged from gentle to aggressive and stops at the first that does not keep the contract.
    """

    format: str
    name: str  # stem of the released file
    candidates: tuple[str, ...]
    objective: tuple[str, ...]
    shortlist: int
    timings: str  # "step.port" of the joint timing
    timing_batch: int = 1
    rung: str = ""  # of a ladder of files that are released together, as the recipe names it; "" without one


@dataclass(frozen=True)
class Plan:
    """What will be done, why, and what it must keep."""

    name: str
    recipe_digest: str
    language: int
    task: str
    hardware: HardwareIdentity
    model_digest: str
    data_digest: str
    threads: int  # for work that makes bytes
    timing_threads: int
    deterministic: bool
    original: str  # "step.port" of the original model
    original_engine: str
    decisions: tuple[Decision, ...]
    steps: tuple[Step, ...]
    candidates: tuple[Candidate, ...]
    searches: tuple[CandidateSearch, ...]
    contract: Contract
    # Ports that are shipped beside the model: transforms, operating point. name → "step.port".
    shipped: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    fitness: tuple[str, ...] = ()  # "step.port" of what says that the original is fit to be compared with
    original_judgement: str = ""  # "step.port" of how the original itself is judged; "" where nothing is asked of it
    original_limits: str = ""  # "step.port" of how it fares on tuning rows by gates that it can miss as well; "": none
    power: JointPower | None = None  # what the contract makes of a faithful candidate; None: not known yet
    search_minutes: float | None = None  # after which no further candidate is begun; None: no such end
    mended_at_most: int = 0  # evaluations that may be made to mend one candidate
    judged: str = ""  # digest of the models that it makes and the gates that judge them: what a look is about
    tracking: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # tracker → its options; changes no result
    # What was asked to be looked at, and cannot be: operator → "original" or a candidate → why.
    unobserved: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    profiled: tuple[str, ...] = ()  # what of the run itself is measured beside its steps, of PROFILED

    @cached_property
    def _digest(self) -> str:
        from titrant.schema.values.canonical import sha256

        return sha256(identity(self))


def plan_digest(plan: Plan) -> str:
    """Digest a plan's identity with SHA-256 (hexadecimal)."""
    return plan._digest


def identity(plan: Plan) -> dict[str, Any]:
    """Return the part of a plan that its digest covers: no reasons, predictions, paths, places or warnings."""
    from titrant.schema.values.canonical import plain

    value: dict[str, Any] = plain(plan)
    for decision in value["decisions"]:
        for key in ("because", "where", "rejected"):
            del decision[key]
    for step in value["steps"]:
        del step["because"], step["prediction"], step["frees"]
        step["params"] = without_paths(step["params"])
    for candidate in value["candidates"]:
        del candidate["predicted_bytes"]
        for key in ["repeats", "invariance", "plain", "executed", "mends", "allocation", "grows", "reduced", "layout"]:
            if not candidate[key]:
                del candidate[key]
    for search in value["searches"]:
        if not search["rung"]:
            del search["rung"]
    for gate in value["contract"]["gates"]:
        del gate["origin"], gate["assumption"], gate["needed_cases"], gate["available_cases"]
        if gate["own"] is None:
            del gate["own"]
    if not value["contract"]["waivers"]:
        del value["contract"]["waivers"]
    del value["warnings"], value["judged"], value["power"], value["tracking"], value["unobserved"]
    if value["search_minutes"] is None:
        del value["search_minutes"]
    if not value["mended_at_most"]:
        del value["mended_at_most"]
    # Nothing is asked of most originals: their plans keep the digest that they had before that could be said.
    for key in ("original_judgement", "original_limits", "fitness", "profiled"):
        if not value[key]:
            del value[key]
    return value


_FILE_KEYS = {"path", "digest"}


def without_paths(value: Any) -> Any:
    """Replace every {"path", "digest"} by its digest, so that moving or renaming a file changes nothing."""
    if value is None or isinstance(value, str | int | float):  # most are: a plan is gone through several times
        return value
    if is_file(value):
        return {"digest": value["digest"]}
    if isinstance(value, Mapping):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(item) for item in value]
    return value


def is_file(value: Any) -> bool:
    """Tell whether a parameter is a file."""
    return isinstance(value, Mapping) and set(value) == _FILE_KEYS


def files_in(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield every file inside a value of JSON types, with its place, as `sources.a.csv`."""
    if is_file(value):
        yield dotted(place), value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from files_in(inner, (*place, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from files_in(inner, (*place, index))


@dataclass(frozen=True)
class LayerGroup:
    """Layers of one type that are treated alike: `because` says why they stay as they are, "" for quantized ones."""

    type: str
    layers: tuple[str, ...]
    weight_bytes: int
    because: str = ""


@dataclass(frozen=True)
class Coverage:
    """What one method would do to every layer with weights; `candidate` says whether the plan makes it."""

    method: str
    candidate: bool
    groups: tuple[LayerGroup, ...]

    @property
    def share(self) -> float:
        """The fraction of the weights' bytes, 0..1, in the layers that it touches."""
        whole = sum(group.weight_bytes for group in self.groups)
        return sum(group.weight_bytes for group in self.groups if not group.because) / whole if whole else 0.0


# figure → its name in a sentence
_CALLED: Mapping[str, str] = {"seconds": "time", "peak_bytes": "memory", "output_bytes": "output"}


def basis_words(prediction: Prediction) -> str:
    """Name the basis of the time, and which figures have another ("modelled, output counted"); "" for no figure."""
    bases = {name: prediction.basis_of(name) for name in FIGURES if getattr(prediction, name) is not None}
    if not bases:
        return ""
    main = next(iter(bases.values()))
    others: dict[str, list[str]] = {}
    for name, basis in bases.items():
        if basis != main:
            others.setdefault(basis, []).append(_CALLED[name])
    return ", ".join([main, *(f"{' and '.join(names)} {basis}" for basis, names in others.items())])


def candidate_cost(
    candidate: str, searches: Iterable[CandidateSearch], predicted: Callable[[str], Prediction | None]
) -> tuple[ModelCost, str] | None:
    """Return a candidate's cost and the batch size that is judged, as text; None where nothing was predicted.

    `predicted` gives the prediction of a step by its id, None where there is none.
    """
    for search in searches:
        made = predicted(search.timings.rpartition(".")[0]) if candidate in search.candidates else None
        if made is not None and (cost := made.models.get(candidate)) is not None:
            return cost, str(search.timing_batch)
    return None


def judged_batch(plan: Plan, candidate: Candidate) -> int | None:
    """Return how many evaluation rows a candidate answers at once when it is judged; None where no step says."""
    steps = {step.id: step for step in plan.steps}
    judging = steps.get(candidate.judgement.rpartition(".")[0])
    source = judging.inputs.get("candidate") if judging is not None else None
    answering = steps.get(source.rpartition(".")[0]) if isinstance(source, str) else None
    return None if answering is None else answering.params.get("batch")


# The stage of candidates that mend others, and those of which no step runs before the search asks for it.
MENDING_STAGE = "search"
ASKED = (MENDING_STAGE, "judge", OBSERVING_STAGE)
ONLY_TRAINED, ROUNDED = ".fine_tuned", ".qat"  # how the names of candidates end that were trained first
# The operator that puts transforms into a file, which then takes raw columns.
INSIDE = "export.inside"
# The operator that puts a file's weights beside it.
OUTSIDE = "export.external_data"


def takes_columns(plan: Plan, candidate: Candidate) -> bool:
    """Whether a candidate's file holds its transforms, so that raw columns go in."""
    steps = {step.id: step for step in plan.steps}
    step = steps.get(candidate.model.rpartition(".")[0])
    while step is not None and step.operator == OUTSIDE:
        step = steps.get(str(step.inputs["model"]).rpartition(".")[0])
    return step is not None and step.operator == INSIDE


@dataclass(frozen=True)
class StepPreview:
    """What executing a plan would do with a step, and why: = reuse, + run, ~ run because something changed.

    ? runs only if the search asks, ! cannot run on this machine. `follows` says that it runs only because a step that
    it reads does, whose own preview gives the reason.
    """

    symbol: str
    because: str = ""
    follows: bool = False
