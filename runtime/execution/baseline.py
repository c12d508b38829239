"""The contract's baseline: what the original itself must reach, judged once, before any candidate is made."""

from dataclasses import replace
from typing import Any

from titrant.runtime.execution.walk import Walk, needed, references
from titrant.schema.plan import Plan, Step

# The step is not in the plan: it is the first candidate's contract, asked of the original, with these gates only.
STEP = "original.contract"
PRESET = "baseline"
MISSED = "the original itself misses the contract's baseline"


def baseline_step(plan: Plan) -> Step | None:
    """Return the step that judges the original by its own gates; None where the contract has none."""
    if not any(gate.preset == PRESET for gate in plan.contract.gates) or not plan.candidates:
        return None
    contract = plan.candidates[0].judgement.rpartition(".")[0]
    step = next(step for step in plan.steps if step.id == contract)
    inputs = {name: source for name, source in step.inputs.items() if name != "timings"}
    inputs |= {"candidate": inputs["original"], "model": plan.original}
    return replace(
        step, id=STEP, params=_params(step), inputs=inputs, candidate="", because="the original answers for itself"
    )


def _params(step: Step) -> dict[str, Any]:
    own = [gate for gate in step.params["gates"] if gate["preset"] == PRESET]
    params = {**step.params, "candidate": "original", "gates": own}
    return params | ({"timing": ""} if "timing" in params else {})


def settle_baseline(walk: Walk) -> str | None:
    """Settle the baseline's step and what it needs; returns its judgement, "" if there is none to make.

    Returns None when a step was not performed; its failure is raised, since every candidate is compared with the
    original.
    """
    step = baseline_step(walk.plan)
    if step is None:
        return ""
    before = [other for reference in references(step) for other in needed(walk.plan, reference, ("judge",))]
    settled = [walk.settle(one) for one in (*before, step)]
    return f"{STEP}.judgement" if all(settled) else None
