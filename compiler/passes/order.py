"""Put steps in the order in which they are read: by stage, and what is needed before what needs it.

Validate as early as it can decide: right after what is validated, before other work begins.
Say after which step nobody reads a value any more, so that the worker can let go of it.
"""

from collections.abc import Iterator
from dataclasses import replace

from titrant.compiler.lower.plan_graph import STAGES, plan_references, references, split_reference
from titrant.schema.plan import Plan, Step


def order_by_stage(plan: Plan) -> Plan:
    """Sort by stage and keep the order within a stage; a step that an earlier stage needs moves to that stage."""
    stages = {step.id: step.stage for step in plan.steps}
    for step in reversed(plan.steps):
        for _, reference in references(step):
            producer = split_reference(reference)[0]
            if producer in stages and STAGES.index(stages[producer]) > STAGES.index(stages[step.id]):
                stages[producer] = stages[step.id]
    staged = tuple(replace(step, stage=stages[step.id]) for step in plan.steps)
    return replace(plan, steps=tuple(sorted(staged, key=_place)))


def unordered(plan: Plan) -> tuple[str, ...]:
    """List the steps that stand after a step of a later stage."""
    found = []
    latest = 0
    for step in plan.steps:
        if _place(step) < latest:
            found.append(f"{step.id} ({step.stage}) comes after a step of stage {STAGES[latest]}")
        latest = max(latest, _place(step))
    return tuple(found)


def _place(step: Step) -> int:
    return STAGES.index(step.stage)


FAMILY = "validate."


def validate_early(plan: Plan) -> Plan:
    """Move each validating step up to right behind the last step of its stage that it needs; all else keeps its order.

    A candidate that fails on tuning rows is known to before the next one is made.
    """
    ordered: list[Step] = []
    for step in plan.steps:
        place = _earliest_place(step, ordered) if step.operator.startswith(FAMILY) else len(ordered)
        ordered.insert(place, step)
    return replace(plan, steps=tuple(ordered))


def _earliest_place(step: Step, before: list[Step]) -> int:
    """Return where a step belongs among those before it: behind its producers, its stage's begin, and its like."""
    place = _earliest(step, before)
    while place < len(before) and before[place].operator.startswith(FAMILY):
        place += 1
    return place


def _earliest(step: Step, before: list[Step]) -> int:
    needed = {split_reference(reference)[0] for _, reference in references(step)}
    behind = [place + 1 for place, other in enumerate(before) if other.id in needed or other.stage != step.stage]
    return max(behind, default=0)


def late(plan: Plan) -> tuple[str, ...]:
    """List the validating steps that stand behind work which they do not need."""
    return tuple(_late(plan))


def _late(plan: Plan) -> Iterator[str]:
    for place, step in enumerate(plan.steps):
        if not step.operator.startswith(FAMILY):
            continue
        before = list(plan.steps[:place])
        if _earliest_place(step, before) != place:
            yield f"{step.id} could come right behind {before[_earliest(step, before) - 1].id if before else 'nothing'}"


def free_unread(plan: Plan) -> Plan:
    """Note on each step what it is the last to read; what the candidates and the shipped files refer to stays."""
    kept = {reference for _, reference in plan_references(plan)}
    last: dict[str, str] = {}
    for step in plan.steps:
        for _, reference in references(step):
            if reference not in kept:
                last[reference] = step.id
    frees: dict[str, list[str]] = {}
    for reference, identifier in last.items():
        frees.setdefault(identifier, []).append(reference)
    return replace(plan, steps=tuple(replace(step, frees=tuple(sorted(frees.get(step.id, ())))) for step in plan.steps))


def unfreed(plan: Plan) -> tuple[str, ...]:
    """List the steps that say something else about what they are the last to read."""
    right = {step.id: step.frees for step in free_unread(plan).steps}
    return tuple(
        f"{step.id} frees {list(step.frees)}, and is the last to read {list(right[step.id])}"
        for step in plan.steps
        if step.frees != right[step.id]
    )
