"""Passes over a plan, each from plan to plan, with what it needs and ensures; and those that order steps."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field

from titrant.compiler.lower.plan_graph import Declare, plan_references, references, split_reference
from titrant.compiler.lower.verify import PlanDefectError, verify
from titrant.compiler.passes.simplify import drop_no_ops, drop_unread, has_no_ops, share, unread, unshared
from titrant.runtime import catalog
from titrant.schema.facts import ModelFacts
from titrant.schema.plan import STAGES, Plan, Step
from titrant.schema.values.frozen import dataclass, replace

FAMILY = "validate."


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
    misplaced = []
    latest = 0
    for step in plan.steps:
        if _place(step) < latest:
            misplaced.append(f"{step.id} ({step.stage}) comes after a step of stage {STAGES[latest]}")
        latest = max(latest, _place(step))
    return tuple(misplaced)


def _place(step: Step) -> int:
    return STAGES.index(step.stage)


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


# What a pass can promise: name → the function that lists where a plan breaks it.
PROPERTIES: Mapping[str, Callable[[Plan], tuple[str, ...]]] = {
    "shared": unshared,
    "read": unread,
    "ordered": unordered,
    "early": late,
    "freed": unfreed,
}


@dataclass(frozen=True)
class Pass:
    """One change of the plan; `requires` and `ensures` name properties, which are checked and not believed.

    `properties` are its own, beside PROPERTIES: those that depend on more than the plan.
    """

    name: str
    change: Callable[[Plan], Plan]
    requires: tuple[str, ...] = ()
    ensures: tuple[str, ...] = ()
    properties: Mapping[str, Callable[[Plan], tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """What one pass did, by step id; `rewired` steps kept their id and read, or are, something else.

    `before` and `after` count the steps.
    """

    name: str
    before: int
    after: int
    removed: tuple[str, ...]
    added: tuple[str, ...]
    rewired: tuple[str, ...]
    moved: bool


PASSES = (
    Pass("share", share, ensures=("shared",)),
    Pass("drop unread", drop_unread, ensures=("read",)),
    Pass("order by stage", order_by_stage, requires=("shared", "read"), ensures=("ordered",)),
    Pass("validate early", validate_early, requires=("ordered",), ensures=("early",)),
    # Last: whoever moves or drops a step changes who reads something last.
    Pass("free what is read no more", free_unread, requires=("ordered", "early"), ensures=("freed",)),
)


def standard(model: ModelFacts, declare: Declare = catalog.get) -> tuple[Pass, ...]:
    """Return all passes for a model: before the others go steps that have nothing to do with it."""
    idle = {"busy": has_no_ops(model, declare)}
    return (Pass("drop no-ops", drop_no_ops(model, declare), ensures=("busy",), properties=idle), *PASSES)


def run(
    plan: Plan,
    passes: tuple[Pass, ...] = PASSES,
    *,
    declare: Declare = catalog.get,
    trace: Callable[[Change], None] | None = None,
) -> Plan:
    """Run the passes in order and verify the plan before the first and after each that changed it.

    Raises PlanDefectError, naming the passes that ran before, when a plan does not hang together, when a pass needs
    what does not hold, or when it breaks what held.
    """
    properties = {**PROPERTIES, **{name: check for step in passes for name, check in step.properties.items()}}
    done: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    verify(plan, declare=declare, passes=done)
    for step in passes:
        missing = tuple(f"{step.name} needs a plan that is {name}" for name in step.requires if name not in held)
        if missing:
            raise PlanDefectError(missing, done)
        changed = step.change(plan)
        done += (step.name,)
        held = tuple(dict.fromkeys(held + step.ensures))
        due = step.ensures
        if changed != plan:  # what holds of an equal plan was found before
            verify(changed, declare=declare, passes=done, verified=plan)
            due = held
        broken = tuple(f"not {name}: {line}" for name in due for line in properties[name](changed))
        if broken:
            raise PlanDefectError(broken, done)
        if trace is not None:
            trace(compare(step.name, plan, changed))
        plan = changed
    return plan


def compare(name: str, before: Plan, after: Plan) -> Change:
    """Say what a pass changed."""
    old = {step.id: step for step in before.steps}
    new = {step.id: step for step in after.steps}
    both = [identifier for identifier in new if identifier in old]
    return Change(
        name=name,
        before=len(old),
        after=len(new),
        removed=tuple(identifier for identifier in old if identifier not in new),
        added=tuple(identifier for identifier in new if identifier not in old),
        rewired=tuple(identifier for identifier in both if old[identifier] != new[identifier]),
        moved=both != [identifier for identifier in old if identifier in new],
    )
