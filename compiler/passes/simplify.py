"""Passes that leave out steps: those that repeat work, those that nobody reads, and those that do nothing."""

from collections import Counter
from collections.abc import Callable

from titrant.compiler.lower.plan_graph import (
    Declare,
    plan_references,
    references,
    renamed_inputs,
    rewire,
    split_reference,
)
from titrant.runtime.catalog import full_params
from titrant.schema.facts import ModelFacts
from titrant.schema.plan import OBSERVING_STAGE, STAGES, Plan, Step, without_paths
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.frozen import replace


def share(plan: Plan) -> Plan:
    """Merge steps that have the same operator, parameters, inputs and seed.

    The one that stays is named as shared work is ("baseline.tuning"), or by what the merged ids have in common at their
    end ("onnx" for "a.onnx" and "b.onnx"), or by the shortest of them; it belongs to no candidate unless all agree.
    """
    merged: dict[str, str] = {}  # id as lowered → id of the first of its like
    groups: dict[str, list[Step]] = {}
    for step in plan.steps:
        inputs = renamed_inputs(step.inputs, merged)
        like = content(replace(step, inputs=inputs))
        group = groups.setdefault(like, [])
        group.append(replace(step, inputs=inputs))
        merged[step.id] = group[0].id
    taken = {step.id for step in plan.steps}
    names: dict[str, str] = {}
    for group in groups.values():
        if len(group) > 1:
            names[group[0].id] = _common_name(group, taken - {step.id for step in group})
            taken.add(names[group[0].id])
    final = {old: names.get(new, new) for old, new in merged.items()}
    kept = tuple(_kept(group, final[group[0].id]) for group in groups.values())
    return rewire(replace(plan, steps=kept), final)


def content(step: Step) -> str:
    """Write what makes two steps the same work."""
    parts = [step.operator, step.version, without_paths(step.params), step.inputs, step.seed]
    return canonical_json(parts)


def unshared(plan: Plan) -> tuple[str, ...]:
    """List steps that do the same work as an earlier one."""
    seen: dict[str, str] = {}
    repeated = []
    alike = Counter(map(_sources, plan.steps))
    for step in plan.steps:
        if alike[_sources(step)] == 1:
            continue  # writing what it is would take longer than all else here
        first = seen.setdefault(content(step), step.id)
        if first != step.id:
            repeated.append(f"{step.id} does the same work as {first}")
    return tuple(repeated)


def _sources(step: Step) -> tuple[str, frozenset[str]]:
    """Return a step's operator and all that it reads, which what does the same work has in common."""
    return step.operator, frozenset(reference for _, reference in references(step))


def _kept(group: list[Step], name: str) -> Step:
    candidates = {step.candidate for step in group}
    return replace(
        group[0],
        id=name,
        stage=min((step.stage for step in group), key=STAGES.index),
        candidate=candidates.pop() if len(candidates) == 1 else "",
    )


def _common_name(group: list[Step], taken: set[str]) -> str:
    shared = [step.id for step in group if not step.candidate]
    if shared:
        return shared[0]
    ids = [step.id.split(".") for step in group]
    length = 0
    while length < min(map(len, ids)) and len({tuple(parts[-length - 1 :]) for parts in ids}) == 1:
        length += 1
    common = ".".join(ids[0][len(ids[0]) - length :])
    if common and common not in taken:
        return common
    return min((step.id for step in group), key=lambda name: (len(name), name))


def drop_unread(plan: Plan) -> Plan:
    """Keep the report, what looks inside models, and all that anything of the plan needs, directly or not."""
    needed = {split_reference(reference)[0] for _, reference in plan_references(plan)}
    for step in reversed(plan.steps):
        if step.id in needed or step.stage in (OBSERVING_STAGE, "report"):
            needed.add(step.id)
            needed.update(split_reference(reference)[0] for _, reference in references(step))
    return replace(plan, steps=tuple(step for step in plan.steps if step.id in needed))


def unread(plan: Plan) -> tuple[str, ...]:
    """List the steps that nobody reads."""
    kept = {step.id for step in drop_unread(plan).steps}
    return tuple(f"nobody reads {step.id}" for step in plan.steps if step.id not in kept)


def drop_no_ops(model: ModelFacts, declare: Declare) -> Callable[[Plan], Plan]:
    """Return the pass that drops every step whose operator says that it has nothing to do with this model."""

    def drop(plan: Plan) -> Plan:
        for step in [step for step in plan.steps if idle(step, model, declare)]:
            plan = _without(plan, step.id)
        return plan

    return drop


def has_no_ops(model: ModelFacts, declare: Declare) -> Callable[[Plan], tuple[str, ...]]:
    """Return the function that lists the steps which have nothing to do."""
    return lambda plan: tuple(f"{step.id} has nothing to do" for step in plan.steps if idle(step, model, declare))


def idle(step: Step, model: ModelFacts, declare: Declare) -> bool:
    """Whether a step gives back the one model that it is given."""
    declaration = declare(step.operator)
    source = step.inputs.get("model")
    if set(step.inputs) != {"model"} or set(declaration.outputs) != {"model"} or not isinstance(source, str):
        return False
    if split_reference(source)[1] != "model":
        return False
    return declaration.idle(full_params(declaration.params, step.params), model)


def _without(plan: Plan, identifier: str) -> Plan:
    step = next(step for step in plan.steps if step.id == identifier)
    producer, _ = split_reference(str(step.inputs["model"]))
    kept = replace(plan, steps=tuple(other for other in plan.steps if other.id != identifier))
    return rewire(kept, {identifier: producer})
