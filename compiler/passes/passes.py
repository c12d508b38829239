"""Passes over a plan: each a function from plan to plan, with what it needs and what holds after it."""

from collections.abc import Callable, Mapping
from dataclasses import field

from titrant.compiler.lower.plan_graph import Declare
from titrant.compiler.lower.verify import PlanDefectError, verify
from titrant.compiler.passes.order import free_unread, late, order_by_stage, unfreed, unordered, validate_early
from titrant.compiler.passes.simplify import drop_no_ops, drop_unread, has_no_ops, share, unread, unshared
from titrant.runtime import catalog
from titrant.schema.facts import ModelFacts
from titrant.schema.plan import Plan
from titrant.schema.values.frozen import dataclass

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
    """Run the passes in order and verify the plan before the first and after each.

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
        verify(changed, declare=declare, passes=done)
        broken = tuple(f"not {name}: {line}" for name in held for line in properties[name](changed))
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
