"""Say after which step nobody reads a value any more, so that the worker can let go of it."""

from dataclasses import replace

from titrant.compiler.ports import plan_references, references
from titrant.schema.plan import Plan


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
