"""Leave out steps that would give back what they are given."""

from collections.abc import Callable
from dataclasses import replace

from titrant.compiler.lowering.steps import full_params
from titrant.compiler.ports import Declare, split_reference
from titrant.compiler.rewire import rewire
from titrant.schema.facts import ModelFacts
from titrant.schema.plan import Plan, Step


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
    step = next(one for one in plan.steps if one.id == identifier)
    producer, _ = split_reference(str(step.inputs["model"]))
    kept = replace(plan, steps=tuple(one for one in plan.steps if one.id != identifier))
    return rewire(kept, {identifier: producer})
