"""Put steps in the order in which they are read: by stage, and what is needed before what needs it."""

from dataclasses import replace

from titrant.compiler.ports import STAGES, references, split_reference
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
