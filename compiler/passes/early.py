"""Validate as early as it can decide: right after what is validated, before other work begins."""

from collections.abc import Iterator
from dataclasses import replace

from titrant.compiler.ports import references, split_reference
from titrant.schema.plan import Plan, Step

FAMILY = "validate."


def validate_early(plan: Plan) -> Plan:
    """Move each validating step up to right behind the last step of its stage that it needs; all else keeps its order.

    A candidate that fails on tuning rows is known to before the next one is made.
    """
    ordered: list[Step] = []
    for step in plan.steps:
        place = _place(step, ordered) if step.operator.startswith(FAMILY) else len(ordered)
        ordered.insert(place, step)
    return replace(plan, steps=tuple(ordered))


def _place(step: Step, before: list[Step]) -> int:
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
        if _place(step, before) != place:
            yield f"{step.id} could come right behind {before[_earliest(step, before) - 1].id if before else 'nothing'}"
