"""Tell the steps whose bytes must come out again from those that follow from measurements."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titrant.runtime.execution.declarations import Declarations
from titrant.runtime.execution.home import Home
from titrant.schema.artifact import Artifact
from titrant.schema.compare_runs import RecordedRun
from titrant.schema.diagnostics import Diagnostic, RecipeError, TitrantError
from titrant.schema.plan import Plan, Step
from titrant.schema.record import RunRecord, StepRecord

# Of an operator, by name: exact, tolerance or measured.
Claims = Callable[[str], str]


@dataclass(frozen=True)
class Parting:
    """One output of a step that came out otherwise; `same_key`: by all that a key sees it was to be the same."""

    step: Step
    port: str
    old: Artifact
    new: Artifact
    same_key: bool


def exact_steps(plan: Plan, claims: Claims) -> list[Step]:
    """List the steps that neither measure nor read, however indirectly, what others measured, in the plan's order."""
    timed: set[str] = {"run"}  # `run.record`, which the report reads, holds every timing
    found = []
    for step in plan.steps:
        if claims(step.operator) == "measured" or any(producer in timed for producer in producers(step)):
            timed.add(step.id)
        else:
            found.append(step)
    return found


def producers(step: Step) -> Iterator[str]:
    """Yield the id of every step that a step reads."""
    for source in step.inputs.values():
        for reference in [source] if isinstance(source, str) else source.values():
            yield reference.rpartition(".")[0]


def outputs(old: RecordedRun, new: RecordedRun, claims: Claims) -> tuple[list[Parting], int]:
    """List the outputs of exact steps that differ between two runs, in the order of steps, and count the same ones."""
    before, after = results(old.record), results(new.record)
    found, same = [], 0
    for step in exact_steps(new.plan, claims):
        mine, theirs = before.get(step.id), after.get(step.id)
        if mine is None or theirs is None or mine.result is None or theirs.result is None:
            continue
        for port, artifact in mine.result.outputs.items():
            other = theirs.result.outputs.get(port)
            if other is None:
                continue
            if other.digest == artifact.digest:
                same += 1
            else:
                found.append(Parting(step, port, artifact, other, mine.key == theirs.key))
    return found, same


def one_sided(old: RecordedRun, new: RecordedRun, claims: Claims) -> list[tuple[Step, str]]:
    """List the exact steps that only one of two runs has a result of, with which: "recorded" or "new"."""
    before, after = results(old.record), results(new.record)
    lost = [(step, "recorded") for step in exact_steps(old.plan, claims) if step.id in before and step.id not in after]
    won = [(step, "new") for step in exact_steps(new.plan, claims) if step.id in after and step.id not in before]
    return lost + won


def results(record: RunRecord) -> Mapping[str, StepRecord]:
    """Return the steps of a run that have a result, by id."""
    return {step.step: step for step in record.steps if step.result is not None}


def recorded_claims(home: Home, folder: Path) -> Claims:
    """Return what operators claim without running the user's code: his own count as they were last described."""

    def refuse(request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RecipeError(Diagnostic("X314", f"{request['operator']} is not described yet"))

    return claims_of(Declarations(home, folder, refuse))


def claims_of(declarations: Declarations) -> Claims:
    """Return what operators claim, a user's own included; one that is gone claims exact, so that nothing is excused."""

    def claims(operator: str) -> str:
        try:
            return declarations.get(operator).determinism
        except (KeyError, TitrantError):
            return "exact"

    return claims
