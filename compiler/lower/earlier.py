"""The steps that load earlier releases and answer evaluation rows with them, and what judging takes of them."""

from collections.abc import Iterator
from typing import Any

from titrant.compiler.decide.rule import Decisions
from titrant.compiler.lower.plan_graph import PortSource, StepMaker
from titrant.compiler.lower.timed import TimedModel
from titrant.schema.contract.earlier import REGRESSION
from titrant.schema.gate import RATIO_TESTS
from titrant.schema.plan import Step

_EVALUATION = "transform.evaluation"
# Of a step that loads a release; its name comes last, by which its model is found when the plan is priced.
_STEP = "earlier"


def earlier_steps(maker: StepMaker, decisions: Decisions) -> Iterator[Step]:
    """Yield what loads each earlier release, and answers evaluation rows with it where a row is about answers."""
    settled = decisions.settled
    for name, earlier in settled.earlier.items():
        load = earlier.load
        asked = f"validation.{name}"
        yield maker.make(f"{_STEP}.{name}", load.operator, load.params, {}, stage="judge", because=asked)
        if name in _answered(decisions):
            where = {
                "engine": earlier.release.engine, "threads": settled.threads.making, "device": settled.device,
            }  # fmt: skip
            inputs: dict[str, PortSource] = {"model": _model(name), "rows": _EVALUATION}
            about = {"stage": "judge", "because": "the same rows as the original and the candidate"}
            yield maker.make(f"{_STEP}.{name}.evaluation", "validate.predict", where, inputs, **about)


def earlier_inputs(decisions: Decisions) -> dict[str, PortSource]:
    """Return what the contract reads of earlier releases; {} where no row is about their answers."""
    answers = {name: f"{_STEP}.{name}.evaluation.outputs" for name in _answered(decisions)}
    return {"earlier": answers} if answers else {}


def earlier_params(decisions: Decisions) -> dict[str, Any]:
    """Return what the contract is told of the release that rows of regression are about."""
    stored = decisions.settled.earlier.get(REGRESSION)
    return {} if stored is None else {"stored_bytes": stored.release.bytes}


def timed_beside(decisions: Decisions) -> tuple[TimedModel, ...]:
    """Return the earlier release where a row is about its time or memory, to be timed in the same turns."""
    stored = decisions.settled.earlier.get(REGRESSION)
    tests = {RATIO_TESTS[name] for name in ("latency_p50", "latency_p95", "peak_memory")}
    if stored is None or not any(gate.test in tests for gate in decisions.settled.contract.gates):
        return ()
    return (TimedModel(REGRESSION, stored.release.engine, _model(REGRESSION)),)


def _answered(decisions: Decisions) -> tuple[str, ...]:
    """Name the releases whose answers a row compares with."""
    rows = [gate for gate in decisions.settled.contract.gates if gate.test != "not_assessable"]
    about = {gate.preset for gate in rows if gate.comparison != "ratio_at_most"}
    return tuple(name for name in decisions.settled.earlier if name in about)


def _model(name: str) -> str:
    return f"{_STEP}.{name}.model"
