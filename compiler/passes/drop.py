"""Leave out steps that nobody reads."""

from dataclasses import replace

from titrant.compiler.ports import plan_references, references, split_reference
from titrant.schema.plan import Plan


def drop_unread(plan: Plan) -> Plan:
    """Keep the report and what it, the candidates, the searches and the shipped files need, directly or not."""
    needed = {split_reference(reference)[0] for _, reference in plan_references(plan)}
    for step in reversed(plan.steps):
        if step.id in needed or step.stage == "report":
            needed.add(step.id)
            needed.update(split_reference(reference)[0] for _, reference in references(step))
    return replace(plan, steps=tuple(step for step in plan.steps if step.id in needed))


def unread(plan: Plan) -> tuple[str, ...]:
    """List the steps that nobody reads."""
    kept = {step.id for step in drop_unread(plan).steps}
    return tuple(f"nobody reads {step.id}" for step in plan.steps if step.id not in kept)
