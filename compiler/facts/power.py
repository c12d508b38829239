"""Ask a child process how often a faithful candidate passes the whole contract, and remember the answer."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.compiler.facts.user_operators import Ask
from titrant.schema.facts import DataFacts
from titrant.schema.gate import BATCH_INVARIANCE, criteria
from titrant.schema.open_looks import OPEN
from titrant.schema.plan import Plan
from titrant.schema.power import JointPower
from titrant.schema.values.canonical import plain, read_back, sha256
from titrant.schema.values.files import remember, remembered

# Raised when what is simulated changes, so that old answers are asked for again.
_FORM = 1
_EVALUATION = "evaluation"


def with_power(plan: Plan, data: DataFacts, ask: Ask, cache: Path) -> Plan:
    """Return a plan with what its contract makes of a faithful candidate on these data: a prediction, no identity.

    It is simulated by the process that `ask` reaches and kept in `cache` under a digest of the gates and of the counts
    of evaluation rows, so that the same contract on the same data asks nobody.
    """
    question = _question(plan, data)
    if question is None:
        return plan
    return replace(plan, power=_answer(question, ask, cache))


def _question(plan: Plan, data: DataFacts) -> dict[str, Any] | None:
    """Write what is simulated; None where no evaluation row is known, there is no gate, or looks are open.

    The bets of open looks are others than the tests that are simulated.
    """
    evaluation = data.roles.get(_EVALUATION)
    if evaluation is None or not evaluation.rows or not plan.contract.gates or plan.contract.looks == OPEN:
        return None
    return {
        "gates": [plain(criteria(gate)) for gate in plan.contract.gates],
        "confidence": plan.contract.confidence,
        "evaluation": plain(evaluation),
        "positive": data.positive,
        "tried": _tried(plan, evaluation.rows),
    }


def _tried(plan: Plan, rows: int) -> int:
    """Return how many rows a gate on batch invariance is judged by: those that the step which asks again takes."""
    if not any(gate.metric == BATCH_INVARIANCE for gate in plan.contract.gates):
        return 0
    steps = {step.id: step for step in plan.steps}
    contracts = (steps[each.judgement.rpartition(".")[0]] for each in plan.candidates)
    judging = {str(contract.inputs.get("invariance", "")).rpartition(".")[0] for contract in contracts}
    asked = [
        int(step.params.get("rows", 0))
        for step in plan.steps
        if step.operator == "validate.batch_invariance" and step.id in judging
    ]
    return min([rows, *asked])


def _answer(question: Mapping[str, Any], ask: Ask, cache: Path) -> JointPower:
    digest = sha256({"form": _FORM, "power": question})
    place = cache / f"power-{digest}.json"
    if kept := _kept(remembered(place)):
        return kept
    answer = ask({"do": "power", **question})["power"]
    answer = {**plain(read_back(JointPower, answer)), "inputs": digest}
    remember(place, answer)
    return read_back(JointPower, answer)


def _kept(answer: Mapping[str, Any]) -> JointPower | None:
    try:
        return read_back(JointPower, answer) if answer else None
    except (TypeError, ValueError):
        return None
