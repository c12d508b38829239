"""The steps that load earlier releases, which of them answer evaluation rows, and what judging takes of them."""

from collections.abc import Iterator
from typing import Any

from titrant.compiler.decide.rule import Decisions
from titrant.compiler.lower.answering import TimedModel, renamed
from titrant.compiler.lower.plan_graph import PortSource, StepMaker
from titrant.schema.contract.earlier import REGRESSION
from titrant.schema.gate import RATIO_TESTS
from titrant.schema.plan import Step

# Of a step that loads a release; its name comes last, by which its model is found when the plan is priced.
_STEP = "earlier"


def earlier_loads(maker: StepMaker, decisions: Decisions) -> Iterator[Step]:
    """Yield what loads each earlier release."""
    for name, earlier in decisions.settled.earlier.items():
        load, because = earlier.load, f"validation.{name}"
        yield maker.make(f"{_STEP}.{name}", load.operator, load.params, {}, stage="judge", because=because)


def earlier_answers(decisions: Decisions) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield the step, engine, "step.port" and outputs with other names of each release whose answers are compared."""
    for name in _answered(decisions):
        earlier = decisions.settled.earlier[name]
        yield f"{_STEP}.{name}.evaluation", earlier.release.engine, _model(name), renamed(earlier.load)


def earlier_inputs(decisions: Decisions) -> dict[str, PortSource]:
    """Return what the contract reads of earlier releases; {} where no row is about their answers."""
    answers = {name: f"{_STEP}.{name}.evaluation.outputs" for name in _answered(decisions)}
    return {"earlier": answers} if answers else {}


# Ratios of what a clock or a counter of memory says, for which both files take turns.
_TIMED = tuple(RATIO_TESTS[name] for name in ("latency_p50", "latency_p95", "peak_memory"))


def earlier_params(decisions: Decisions) -> dict[str, Any]:
    """Return what the contract is told of the release that rows of regression are about."""
    stored = decisions.settled.earlier.get(REGRESSION)
    return {} if stored is None else {"stored_bytes": stored.release.bytes}


def timed_beside(decisions: Decisions) -> tuple[TimedModel, ...]:
    """Return the earlier release where a row is about its time or memory, to be timed in the same turns."""
    stored = decisions.settled.earlier.get(REGRESSION)
    if stored is None or not any(gate.test in _TIMED for gate in decisions.settled.contract.gates):
        return ()
    return (TimedModel(REGRESSION, stored.release.engine, _model(REGRESSION)),)


def _answered(decisions: Decisions) -> tuple[str, ...]:
    """Name the releases whose answers a row compares with."""
    rows = [gate for gate in decisions.settled.contract.gates if gate.test != "not_assessable"]
    about = {gate.preset for gate in rows if gate.comparison != "ratio_at_most"}
    return tuple(name for name in decisions.settled.earlier if name in about)


def _model(name: str) -> str:
    return f"{_STEP}.{name}.model"
