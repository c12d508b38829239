"""Lower a bound recipe and its decisions to a plan's steps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.bind.check_files import own_paths
from titrant.compiler.bind.check_reduction import GRADUAL
from titrant.compiler.decide.number_format import planned_layers
from titrant.compiler.decide.recovery import learns_from_fine_tuned
from titrant.compiler.decide.reductions import RECOVERY
from titrant.compiler.decide.repairs import room
from titrant.compiler.decide.rule import Decisions, ExportRequest
from titrant.compiler.facts import load_steps
from titrant.compiler.facts.cache import DigestedFile
from titrant.compiler.facts.load_steps import assumes_order
from titrant.compiler.facts.transform_steps import data_transform
from titrant.compiler.lower.answering import TimedModel, timing_batch
from titrant.compiler.lower.chains import (
    RAW,
    READING,
    REMOVED,
    TRANSFORMS,
    Link,
    Original,
    RequestedCandidate,
    begun,
    entries,
    file_steps,
    links,
    possible_facts,
)
from titrant.compiler.lower.earlier import earlier_loads
from titrant.compiler.lower.judge import CONTROL, REFERENCE, REPEATS, TIMINGS, Answering
from titrant.compiler.lower.mixtures import allocation_step, mixed_steps
from titrant.compiler.lower.observe import kept_alone, kept_of, observations, unobserved
from titrant.compiler.lower.plan_graph import Declare, StepMaker
from titrant.runtime import catalog
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.gain_parts import reduced_networks
from titrant.schema.gate import criteria
from titrant.schema.min_cell import REPORT
from titrant.schema.open_looks import OPEN
from titrant.schema.plan import PROFILED, Candidate, CandidateSearch, Plan, Step, without_paths
from titrant.schema.recipe.observe import REPORT_FORMATS
from titrant.schema.recipe.recipe import recipe_value
from titrant.schema.values.canonical import sha256
from titrant.schema.values.layout import CHANNELS_LAST


def lower(
    bound: BoundRecipe,
    decisions: Decisions,
    hardware: Hardware,
    model_facts: ModelFacts,
    data_facts: DataFacts,
    *,
    files: Mapping[str, DigestedFile] | None = None,
    declare: Declare = catalog.get,
) -> Plan:
    """Make every step that the decisions call for, in an order in which they can run.

    `files` are the digests of `bound.files`; without them the files are read here. Each candidate's chain is written
    out whole: what candidates share, the passes find.
    """
    from titrant.compiler.facts.inspect import digest_files

    files = digest_files(bound) if files is None else files
    maker = StepMaker(declare, hardware, model_facts, bound.recipe.seed)
    requested = [(asked, (*asked.competing, *asked.beside)) for asked in entries(decisions)]
    columned = frozenset(entry.id for _, made in requested for entry in made if entry.request.transforms == "inside")
    trained = frozenset(entry.id for _, made in requested for entry in made if _is_trained(entry))
    prepared, original = _prepare(bound, decisions, (model_facts, data_facts), files, maker)
    answering = Answering(bound, decisions, maker, assumes_order(bound.recipe, data_facts), columned, trained)
    made: dict[str, tuple[Candidate, tuple[Step, ...]]] = {}
    beside: dict[str, tuple[TimedModel, tuple[Step, ...]]] = {}
    searches = []
    for asked, _ in requested:
        beside |= {entry.id: _beside(entry, original, maker) for entry in asked.beside if entry.id not in beside}
        for entry in asked.competing:
            if entry.id not in made:
                plain = asked.plain_of(entry, decisions.settled.original_engine, original.kind)
                made[entry.id] = _candidate(entry, plain, original, answering)
        names = tuple(entry.id for entry in asked.competing)
        searches.append(_search(asked.request, names, bound, decisions))
    candidates = tuple(candidate for candidate, _ in made.values())
    timed = [*(model for model, _ in beside.values()), *map(TimedModel.of, candidates)]
    judged = answering.judge_original(original)
    limited = answering.limits_of_original(original)
    recipe = bound.recipe
    files_made = [step for _, steps in (*beside.values(), *made.values()) for step in steps]
    made_before = [*prepared, *files_made]
    return Plan(
        name=recipe.name,
        recipe_digest=sha256(own_paths(recipe_value(recipe), bound.parsed)),
        language=recipe.titrant,
        task=recipe.task,
        hardware=hardware.identity,
        model_digest=model_facts.digest,
        data_digest=data_facts.digest,
        threads=decisions.settled.threads.making,
        timing_threads=decisions.settled.threads.timing,
        deterministic=recipe.reproducibility.deterministic,
        original=original.reference,
        original_engine=decisions.settled.original_engine,
        decisions=decisions.decisions,
        steps=(
            *prepared,
            *_raw(maker, columned),
            *answering.fitness(original),
            *answering.baseline(original),
            *limited,
            *answering.fine_tuned(original, candidates),
            *files_made,
            answering.timing(original, timed, tuple(beside)),
            *judged,
            *earlier_loads(maker, decisions),
            *answering.earlier(),
            *(step for candidate in candidates for step in answering.judge(candidate, original, timed)),
            *observations(answering, original, candidates, made_before),
            _report(maker, bound, decisions.settled.evidence),
        ),
        candidates=candidates,
        searches=tuple(searches),
        contract=decisions.settled.contract,
        shipped={"transforms": "transform.transforms", "operating_point": "point.point"},
        warnings=decisions.warnings,
        fitness=(f"{REPEATS}.repeats", f"{REFERENCE}.reference"),
        original_judgement=f"{judged[0].id}.judgement" if judged else "",
        original_limits=f"{limited[0].id}.judgement" if limited else "",
        search_minutes=decisions.settled.budget.minutes,
        mended_at_most=_mended_at_most(bound, decisions) if any(candidate.mends for candidate in candidates) else 0,
        judged=_judged(bound, decisions, model_facts, files),
        tracking=decisions.settled.tracking,
        unobserved=unobserved(answering, original, candidates, made_before),
        profiled=tuple(name for name in PROFILED if getattr(bound.recipe.profile, name)),
    )


# Sections that neither make a model nor judge it; what `validation` asks is in the gates.
_NOT_JUDGED = (
    "titrant",
    "name",
    "data",
    "validation",
    "profile",
    "inspect",
    "report",
    "tracking",
    "memory",
    "batching",
)


def _judged(bound: BoundRecipe, decisions: Decisions, model: ModelFacts, files: Mapping[str, DigestedFile]) -> str:
    """Digest which models are made and what they must keep, so that a later look can be told from the same one.

    Neither versions nor the machine are in it: what differs only by them was not made because of what was seen. The
    rows are not in it either: they are compared themselves.
    """
    recipe = bound.recipe
    value = own_paths(recipe_value(recipe), bound.parsed)
    data = recipe_value(recipe)["data"] or {}
    prepared = {name: data.get(name) for name in ("inputs", "label", "classes", "positive", "transform")}
    if load_steps.TRANSFORM_FROM in files:
        prepared["transform_from"] = files[load_steps.TRANSFORM_FROM].digest
    made = {name: part for name, part in value.items() if name not in _NOT_JUDGED}
    # All else of `memory` leaves numbers as they are.
    made |= {"layout": recipe.memory.layout} if recipe.memory.layout == CHANNELS_LAST else {}
    gates = [criteria(gate) for gate in decisions.settled.contract.gates]
    point = dict(decisions.settled.operating_point)
    # The same gates are judged by other bounds in open looks.
    looks = {"looks": OPEN} if decisions.settled.contract.looks == OPEN else {}
    loads = [without_paths(chain.load.params) for chain in decisions.settled.chains if chain.load is not None]
    if loads:  # nothing of what the recipe would make is
        made = {name: part for name, part in made.items() if name in {"model", "train", "seed"}} | {"given": loads}
    judged = {"made": made, "data": prepared, "model": model.digest, "gates": gates, "point": point}
    others = [load.model.digest for load in (decisions.settled.student, decisions.settled.teacher) if load is not None]
    if others:
        judged["others"] = others
    return sha256({**judged, **looks})


def _prepare(
    bound: BoundRecipe,
    decisions: Decisions,
    facts: tuple[ModelFacts, DataFacts],
    files: Mapping[str, DigestedFile],
    maker: StepMaker,
) -> tuple[tuple[Step, ...], Original]:
    """Make the rows and the original: loaded, and fitted where its weights are not given."""
    model_facts, data_facts = facts
    tables = {"tables": "load.tables"}
    steps = [
        maker.make("load", "data.load", load_steps.data_load(bound, files), {}, stage="prepare", because="data.source"),
        maker.make("split", "data.split", load_steps.data_split(bound), tables, stage="prepare", because="data.split"),
        maker.make(
            "transform",
            "data.transform",
            data_transform(bound, files, data_facts),
            {**tables, "split": "split.split"},
            stage="prepare",
            because="data.transform",
        ),
    ]
    steps += _unlabeled(bound, decisions, files, maker)
    operator, params = load_steps.model_load(bound, files, decisions.settled.model_args, model_facts)
    steps.append(maker.make("model", operator, params, {}, stage="prepare", because="the original"))
    kind = maker.declare(operator).outputs["model"]
    teacher = f"{CONTROL}.model" if learns_from_fine_tuned(bound.recipe) else ""
    if (load := decisions.settled.teacher) is not None:
        because, teacher = "reduction.distillation.teacher", "teacher.model"
        steps.append(maker.make("teacher", load.operator, load.params, {}, stage="prepare", because=because))
    if decisions.settled.training is None:
        return tuple(steps), Original("model.model", kind, teacher)
    rows = {"train": "transform.train", "tuning": "transform.tuning"}
    inputs = {"model": "model.model", **rows}
    steps.append(maker.make("fit", "train.fit", decisions.settled.training, inputs, stage="prepare", because="train"))
    return tuple(steps), Original("fit.model", kind, teacher)


def _unlabeled(
    bound: BoundRecipe, decisions: Decisions, files: Mapping[str, DigestedFile], maker: StepMaker
) -> Iterator[Step]:
    """Read rows without labels, and the labels that some of them got."""
    if reading := load_steps.data_unlabeled(bound, files):
        inputs = {"tables": "load.tables", "split": "split.split", "transforms": "transform.transforms"}
        inputs["rows"] = "transform.tuning"
        reading["raw"] = any(export.transforms == "inside" for export in decisions.settled.exports)
        yield maker.make("unlabeled", "data.unlabeled", reading, inputs, stage="prepare", because="data.unlabeled")
    if labels := load_steps.data_labels(bound, files):
        inputs = {"tables": "unlabeled.tables", "rows": "transform.tuning"}
        yield maker.make("labels", "data.labels", labels, inputs, stage="prepare", because="data.labels")


def _raw(maker: StepMaker, columned: frozenset[str]) -> tuple[Step, ...]:
    """Give rows as raw columns where a file takes them."""
    if not columned:
        return ()
    inputs = {"tables": "load.tables", "split": "split.split", "transforms": TRANSFORMS}
    return (maker.make(RAW, "data.raw", {}, inputs, stage="prepare", because="files with their transforms inside"),)


def _beside(entry: RequestedCandidate, original: Original, maker: StepMaker) -> tuple[TimedModel, tuple[Step, ...]]:
    """Make a file that is timed and nothing else."""
    loaded, start = begun(entry, original, maker, {"stage": "make"})
    steps = (*loaded, *file_steps(entry.id, links(entry, start, maker), start, maker))
    return TimedModel(entry.id, entry.chain.engine, f"{steps[-1].id}.model" if steps else original.reference), steps


def _candidate(
    entry: RequestedCandidate, plain: str, original: Original, answering: Answering
) -> tuple[Candidate, tuple[Step, ...]]:
    chain = entry.chain
    allocation = allocation_step(entry) if chain.mix else ""
    steps = _file_steps(entry, original, answering, allocation)
    if chain.mix:
        steps = tuple(mixed_steps(entry, steps, answering))
    candidate = Candidate(
        id=entry.id,
        method=chain.method,
        engine=chain.engine,
        format=chain.format,
        rank=chain.rank,
        model=f"{steps[-1].id}.model" if steps else original.reference,
        answers=f"{entry.id}.tuning.outputs",
        quality=f"{entry.id}.quality.quality",
        judgement=f"{entry.id}.contract.judgement",
        repeats=f"{entry.id}.repeats.repeats",
        invariance=f"{entry.id}.invariance.invariance",
        executed=f"{entry.id}.executed.executed",
        predicted_bytes=steps[-1].prediction.output_bytes if steps else answering.maker.model.weight_bytes,
        plain=plain,
        layout=chain.layout,
        mends=entry.mends,
        allocation=allocation,
        grows=entry.grows,
    )
    networks = reduced_networks(steps, original.reference, candidate)
    asked = _executed(entry, candidate, steps, answering)
    compared = (*answering.compare(candidate, entry.stage), *kept_alone(answering, entry.id, networks))
    return replace(candidate, reduced=tuple(map(kept_of, networks))), (*steps, asked, *compared)


def _file_steps(
    entry: RequestedCandidate, original: Original, answering: Answering, allocation: str
) -> tuple[Step, ...]:
    """Make a candidate's file of the original, or load it where it was optimized elsewhere."""
    maker = answering.maker
    if (load := entry.chain.load) is not None:
        because = "optimized elsewhere, and judged as it is"
        about = {"stage": entry.stage, "because": because, "candidate": entry.id}
        return (maker.make(entry.id, load.operator, load.params, {}, **about),)
    about = {"candidate": entry.id, "stage": entry.stage}
    loaded, start = begun(entry, original, maker, about)
    chained = tuple(_with_reading(link, answering) for link in links(entry, start, maker))
    return (*loaded, *file_steps(entry.id, chained, start, maker, **about, allocation=allocation))


def _with_reading(link: Link, answering: Answering) -> Link:
    """Say how outputs are read to an operator that asks what a change does to the answers."""
    if READING not in answering.maker.declare(link.operator).params.model_fields:
        return link
    return replace(link, params={**link.params, READING: answering.raw_reading})


def _executed(entry: RequestedCandidate, candidate: Candidate, steps: Sequence[Step], answering: Answering) -> Step:
    """Ask a candidate's engine about its file as soon as it is made."""
    chain, maker = entry.chain, answering.maker
    planned = planned_layers(chain, maker.hardware, possible_facts(chain, maker), answering.bound.recipe.quantization)
    params = {
        "engine": chain.engine,
        "threads": answering.decisions.settled.threads.timing,
        "layers": planned.layers,
        "planned": planned.planned,
        "custom": planned.custom,
        **({"laid_out": planned.laid_out} if planned.laid_out else {}),
    }
    because = "an engine may run something else than its file says"
    about = {"stage": entry.stage, "candidate": entry.id, "because": because}
    inputs = {"model": candidate.model, **({"allocation": candidate.allocation} if candidate.allocation else {})}
    removing = [step.id for step in steps if REMOVED in maker.declare(step.operator).outputs]
    inputs |= {REMOVED: f"{removing[-1]}.{REMOVED}"} if removing else {}
    return maker.make(f"{entry.id}.executed", "validate.executed", params, inputs, **about)


def _mended_at_most(bound: BoundRecipe, decisions: Decisions) -> int:
    settled = decisions.settled
    return room(settled.budget, settled.chains, written=bound.recipe.search.budget != "auto")


def _is_trained(entry: RequestedCandidate) -> bool:
    return any(step.name == RECOVERY or step.operator == GRADUAL for step in entry.chain.before)


def _search(
    request: ExportRequest, candidates: tuple[str, ...], bound: BoundRecipe, decisions: Decisions
) -> CandidateSearch:
    return CandidateSearch(
        format=request.format,
        name=request.name,
        candidates=candidates,
        objective=decisions.settled.objective.order,
        shortlist=decisions.settled.objective.shortlist,
        timings=TIMINGS,
        timing_batch=timing_batch(bound.recipe),
        rung=request.rung,
    )


def _report(maker: StepMaker, bound: BoundRecipe, evidence: tuple[str, ...]) -> Step:
    params: dict[str, Any] = {"min_cell": bound.recipe.report.min_cell, "evidence": evidence}
    formats = bound.recipe.report.formats
    # Evidence is made from the report's JSON, and names it as its test log.
    asked = [name for name in REPORT_FORMATS if name in formats or (name == "json" and evidence)]
    if len(asked) < len(REPORT_FORMATS):
        params["formats"] = asked
    because = "what was done, and why"
    return maker.make("report", REPORT, params, {"record": "run.record"}, stage="report", because=because)
