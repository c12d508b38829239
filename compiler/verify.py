"""Prove that a plan hangs together: the compiler's own net under every pass."""

from collections import Counter
from collections.abc import Callable, Iterator

from pydantic import ValidationError

from titrant.compiler.ports import PROVIDED, STAGES, Declare, given_kinds, plan_references, references, split_reference
from titrant.compiler.verify_search import search_problems
from titrant.runtime import catalog
from titrant.runtime.catalog import Port
from titrant.schema.canonical import canonical_json
from titrant.schema.plan import Plan, Step


class PlanDefectError(Exception):
    """The compiler made a plan that does not hang together: a defect of titrant's, with what ran before."""

    def __init__(self, problems: tuple[str, ...], passes: tuple[str, ...]) -> None:
        self.problems = problems
        self.passes = passes
        before = ", ".join(passes) or "lowering only"
        super().__init__("\n".join([f"the plan is defective (after {before}):", *(f"- {line}" for line in problems)]))


def verify(plan: Plan, *, declare: Declare = catalog.get, passes: tuple[str, ...] = ()) -> None:
    """Raise PlanDefectError with everything that is wrong; `passes` names what ran before, for the message."""
    found = problems(plan, declare)
    if found:
        raise PlanDefectError(found, passes)


def problems(plan: Plan, declare: Declare = catalog.get) -> tuple[str, ...]:
    """List what is wrong with a plan; later checks are left out while the steps themselves do not stand."""
    found = tuple(_unknown_operators(plan, declare))
    if found:
        return found
    checks: tuple[Callable[[Plan, Declare], Iterator[str]], ...] = (
        _ids,
        _order,
        _ports,
        _params,
        _consumption,
        _fresh_rows,
        _references,
    )
    found = tuple(line for check in checks for line in check(plan, declare))
    return found or tuple(search_problems(plan, declare))


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


def _ids(plan: Plan, declare: Declare) -> Iterator[str]:
    for name, times in Counter(step.id for step in plan.steps).items():
        if times > 1:
            yield f"{name}: {times} steps have this id"
        if not name or name in PROVIDED:
            yield f"{name!r} cannot be a step's id"


def _order(plan: Plan, declare: Declare) -> Iterator[str]:
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
            elif kind not in ports[name].kinds:
                yield f"{step.id}: its {name} takes {' or '.join(ports[name].kinds)}, but {reference} is {kind}"


def _shape(step: Step, name: str, port: Port) -> Iterator[str]:
    source = step.inputs.get(name)
    if source is None:
        if not port.optional:
            yield f"{step.id}: its {name} comes from nowhere"
    elif port.many == isinstance(source, str):
        yield f"{step.id}: its {name} takes {'a mapping of values' if port.many else 'one value'}"


def _params(plan: Plan, declare: Declare) -> Iterator[str]:
    for step in plan.steps:
        try:
            declare(step.operator).params.model_validate_json(canonical_json(step.params))
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                path = ".".join(str(part) for part in detail["loc"])
                yield f"{step.id}: parameter {path}: {detail['msg']}"


def _consumption(plan: Plan, declare: Declare) -> Iterator[str]:
    """What a step consumes nobody may read after it."""
    consumed: dict[str, str] = {}
    for step in plan.steps:
        consumes = declare(step.operator).consumes
        for port, reference in references(step):
            if reference in consumed:
                yield f"{step.id}: its {port} comes from {reference}, which {consumed[reference]} consumed"
            if port in consumes:
                consumed[reference] = step.id


def _fresh_rows(plan: Plan, declare: Declare) -> Iterator[str]:
    """What chooses never judges: evaluation rows, and answers on them, are read by judging steps only."""
    tainted: set[str] = set()
    for step in plan.steps:
        read = [reference for _, reference in references(step)]
        if not any(_is_evaluation(reference) or split_reference(reference)[0] in tainted for reference in read):
            continue
        tainted.add(step.id)
        if step.stage not in ("judge", "report"):
            yield f"{step.id}: it reads evaluation rows at stage {step.stage}"


def _is_evaluation(reference: str) -> bool:
    return split_reference(reference)[1] == "evaluation"


def _references(plan: Plan, declare: Declare) -> Iterator[str]:
    given = {step.id: given_kinds(step, declare) for step in plan.steps}
    for what, reference in plan_references(plan):
        producer, port = split_reference(reference)
        if port not in given.get(producer, {}):
            yield f"{what} is {reference}, which no step gives"
