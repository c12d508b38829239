"""Verify after lowering and every pass that a plan hangs together: its steps, candidates, searches and gates."""

from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from titrant.compiler.lower.plan_graph import (
    PROVIDED,
    Declare,
    given_kinds,
    plan_references,
    references,
    split_reference,
    takes,
)
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.catalog import Port
from titrant.schema.gate import FINE_TUNED
from titrant.schema.plan import OBSERVING_STAGE, STAGES, Candidate, CandidateSearch, Plan, Step
from titrant.schema.values.canonical import canonical_json

# Metrics that are read from timings rather than from answers.
TIMED = ("latency_p50", "latency_p95", "latency_p99", "throughput", "peak_memory")


class PlanDefectError(Exception):
    """The compiler made a plan that does not hang together: a defect of titrant's, with what ran before."""

    def __init__(self, problems: tuple[str, ...], passes: tuple[str, ...]) -> None:
        self.problems = problems
        self.passes = passes
        before = ", ".join(passes) or "lowering only"
        super().__init__("\n".join([f"the plan is defective (after {before}):", *(f"- {line}" for line in problems)]))


def verify(
    plan: Plan, *, declare: Declare = catalog.get, passes: tuple[str, ...] = (), verified: Plan | None = None
) -> None:
    """Raise PlanDefectError with everything that is wrong; `passes` names what ran before, for the message.

    The parameters of steps that `verified`, a plan that was looked through before, holds as well are not read again.
    """
    defects = problems(plan, declare, verified)
    if defects:
        raise PlanDefectError(defects, passes)


def problems(plan: Plan, declare: Declare = catalog.get, verified: Plan | None = None) -> tuple[str, ...]:
    """List what is wrong with a plan; later checks are left out while the steps themselves do not stand."""
    defects = tuple(_unknown_operators(plan, declare))
    if defects:
        return defects
    read = {(step.operator, id(step.params)) for step in verified.steps} if verified else set()
    unread = tuple(step for step in plan.steps if (step.operator, id(step.params)) not in read)
    checks: tuple[Iterable[str], ...] = (
        _ids(plan),
        _order(plan),
        _ports(plan, declare),
        _params(unread, declare),
        _consumption(plan, declare),
        _fresh_rows(plan),
        _references(plan, declare),
    )
    defects = tuple(line for check in checks for line in check)
    return defects or tuple(search_problems(plan, declare))


def _unknown_operators(plan: Plan, declare: Declare) -> Iterator[str]:
    for step in plan.steps:
        try:
            version = declare(step.operator).version
        except KeyError:
            yield f"{step.id}: there is no operator {step.operator}"
            continue
        if step.version != version:
            yield f"{step.id}: {step.operator} is version {version}, not {step.version}"
        if step.stage not in STAGES:
            yield f"{step.id}: there is no stage {step.stage!r}"


def _ids(plan: Plan) -> Iterator[str]:
    for name, times in Counter(step.id for step in plan.steps).items():
        if times > 1:
            yield f"{name}: {times} steps have this id"
        if not name or name in PROVIDED:
            yield f"{name!r} cannot be a step's id"


def _order(plan: Plan) -> Iterator[str]:
    """A step reads only what earlier steps gave: with unique ids this also means that nothing runs in a circle."""
    every = {step.id for step in plan.steps} | set(PROVIDED)
    before = set(PROVIDED)
    for step in plan.steps:
        for port, reference in references(step):
            producer, _ = split_reference(reference)
            if producer not in every:
                yield f"{step.id}: its {port} comes from {reference}, but there is no step {producer}"
            elif producer not in before:
                yield f"{step.id}: its {port} comes from {reference}, which comes later"
        before.add(step.id)


def _ports(plan: Plan, declare: Declare) -> Iterator[str]:
    given = {**PROVIDED, **{step.id: given_kinds(step, declare) for step in plan.steps}}
    for step in plan.steps:
        ports = declare(step.operator).inputs
        for name, port in ports.items():
            yield from _shape(step, name, port)
        for name, reference in references(step):
            if name not in ports:
                yield f"{step.id}: {step.operator} has no input {name}"
                continue
            producer, output = split_reference(reference)
            kind = given.get(producer, {}).get(output)
            if kind is None:
                if producer in given:
                    yield f"{step.id}: its {name} comes from {reference}, but {producer} gives no {output}"
            elif not takes(ports[name], kind):
                yield f"{step.id}: its {name} takes {' or '.join(ports[name].kinds)}, but {reference} is {kind}"


def _shape(step: Step, name: str, port: Port) -> Iterator[str]:
    source = step.inputs.get(name)
    if source is None:
        if not port.optional:
            yield f"{step.id}: its {name} comes from nowhere"
    elif port.many == isinstance(source, str):
        yield f"{step.id}: its {name} takes {'a mapping of values' if port.many else 'one value'}"


def _params(steps: Iterable[Step], declare: Declare) -> Iterator[str]:
    for step in steps:
        try:
            declare(step.operator).params.model_validate_json(canonical_json(step.params))
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                path = ".".join(str(part) for part in detail["loc"])
                yield f"{step.id}: parameter {path}: {detail['msg']}"


def _consumption(plan: Plan, declare: Declare) -> Iterator[str]:
    """What a step consumes nobody may read after it.

    The original is read from the store again, and so is what two trainings begin with.
    """
    consumed: dict[str, str] = {}
    for step in plan.steps:
        consumes = declare(step.operator).consumes
        for port, reference in references(step):
            if reference in consumed and reference != plan.original and port not in consumes:
                yield f"{step.id}: its {port} comes from {reference}, which {consumed[reference]} consumed"
            if port in consumes:
                consumed[reference] = step.id


def _fresh_rows(plan: Plan) -> Iterator[str]:
    """What chooses never judges: rows to judge on, with or without labels, and answers on them, only judging reads."""
    tainted: set[str] = set()
    for step in plan.steps:
        read = [reference for _, reference in references(step)]
        if not any(_is_evaluation(reference) or split_reference(reference)[0] in tainted for reference in read):
            continue
        tainted.add(step.id)
        if step.stage not in ("judge", OBSERVING_STAGE, "report"):
            yield f"{step.id}: it reads evaluation rows at stage {step.stage}"


def _is_evaluation(reference: str) -> bool:
    return split_reference(reference)[1] in ("evaluation", "unlabeled")


def _references(plan: Plan, declare: Declare) -> Iterator[str]:
    given = {step.id: given_kinds(step, declare) for step in plan.steps}
    for what, reference in plan_references(plan):
        producer, port = split_reference(reference)
        if port not in given.get(producer, {}):
            yield f"{what} is {reference}, which no step gives"


def search_problems(plan: Plan, declare: Declare) -> Iterator[str]:
    """Yield what is wrong with candidates, searches and gates; the steps are known to be sound."""
    steps = {step.id: step for step in plan.steps}
    for candidate in plan.candidates:
        yield from _candidate(candidate, steps, declare)
        yield from _judged(candidate, plan, steps)
    candidate_ids = {candidate.id for candidate in plan.candidates}
    if len(candidate_ids) < len(plan.candidates):
        yield "two candidates have one id"
    for search in plan.searches:
        yield from _search(search, plan, candidate_ids, steps)
    for step in plan.steps:
        if step.candidate and step.candidate not in candidate_ids:
            yield f"{step.id}: there is no candidate {step.candidate}"


def _candidate(candidate: Candidate, steps: dict[str, Step], declare: Declare) -> Iterator[str]:
    producer, port = split_reference(candidate.model)
    kind = given_kinds(steps[producer], declare)[port]
    if kind not in backend.kinds() or backend.kinds()[kind].format != candidate.format:
        yield f"{candidate.id}: format {candidate.format} cannot hold what {producer} made ({kind})"
    if candidate.engine not in backend.engines_of(kind):
        yield f"{candidate.id}: engine {candidate.engine} does not load {kind}"


def _judged(candidate: Candidate, plan: Plan, steps: dict[str, Step]) -> Iterator[str]:
    """Every gate must find its facts: answers, the file, and timings where the gate is about time or memory."""
    producer, _ = split_reference(candidate.judgement)
    step = steps[producer]
    judged = {gate["id"] for gate in step.params.get("gates", ())}
    for gate in plan.contract.gates:
        # What is not trained again owes nothing to the original that was.
        if gate.id not in judged and (gate.preset != FINE_TUNED or FINE_TUNED in step.inputs):
            yield f"{candidate.id}: nothing judges gate {gate.id}"
        elif gate.metric in TIMED and "timings" not in step.inputs:
            yield f"{candidate.id}: gate {gate.id} needs timings, and {step.id} is given none"
    chosen_by = {search.timings for search in plan.searches}
    if step.inputs.get("timings") in chosen_by:
        yield f"{candidate.id}: {step.id} judges by {step.inputs['timings']}, which chose"
    if step.inputs.get("model") != candidate.model:
        yield f"{candidate.id}: {step.id} judges another file than the one that is released"


def _search(search: CandidateSearch, plan: Plan, candidate_ids: set[str], steps: dict[str, Step]) -> Iterator[str]:
    for name in search.candidates:
        if name not in candidate_ids:
            yield f"search {search.name}: there is no candidate {name}"
    formats = {candidate.id: candidate.format for candidate in plan.candidates}
    for name in search.candidates:
        if search.format not in ("auto", formats.get(name, search.format)):
            yield f"search {search.name}: {name} is {formats[name]}, not {search.format}"
    timed = steps[split_reference(search.timings)[0]].inputs.get("models", {})
    plain = [candidate.plain for candidate in plan.candidates if candidate.id in search.candidates and candidate.plain]
    for name in dict.fromkeys(("original", *search.candidates, *plain)):
        if name not in timed:
            yield f"search {search.name}: {name} is not timed"
