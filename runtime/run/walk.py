"""Settle a plan's steps one after the other: reuse what is known, have the rest performed, remember what failed."""

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any, Protocol

from titrant.runtime.store.artifacts import Manifest
from titrant.runtime.store.declarations import Declarations
from titrant.runtime.store.results import InputArtifacts, Refusal, Results, StepKey, step_key
from titrant.runtime.worker.messages import WorkerDiedError
from titrant.schema.diagnostics.diagnostics import (
    Diagnostic,
    InfeasibleError,
    PreconditionError,
    StepError,
    TitrantError,
)
from titrant.schema.plan import OBSERVING_STAGE, Plan, Step
from titrant.schema.record import Artifact, EvaluationRows, Look, LookSubject, StepRecord, StepResult
from titrant.schema.values.frozen import dataclass

# What is wrong with the home is wrong for every step: no candidate is given up for it.
FATAL = ("X300", "X302")
# What the original is called among the models that a step takes.
ORIGINAL = "original"


@dataclass(frozen=True)
class StepTask:
    """A step that has no usable result, with everything that it takes to perform it; `because` may be "".

    `wait_seconds` is how long to wait for another process that performs the same step, None for as long as it takes.
    """

    step: Step
    key: StepKey
    inputs: InputArtifacts
    because: str
    wait_seconds: float | None = None


@dataclass(frozen=True)
class Performed:
    """A step's result, and whether it ran here rather than in another process at the same time."""

    result: StepResult
    ran: bool = True


class Performer(Protocol):
    """Does what a walk asks for; one that only looks changes nothing in the home and says what would be there."""

    def perform(self, task: StepTask) -> Performed | None:
        """Give a step's result, or raise; None where steps are only looked up."""

    def keep(self, value: Mapping[str, Any]) -> Artifact:
        """Store a value that the walk itself provides to steps."""

    def look(self, rows: EvaluationRows, judged: LookSubject) -> Look:
        """Say which look at its evaluation rows judging is."""


class StoppedError(StepError):
    """The performer starts no further step: what was judged until then decides."""

    unjudged = "the run was stopped before it was judged"  # why a candidate of the shortlist was not judged


class UnperformedError(Exception):
    """What comes next needs the result of a step that was only looked up."""


class Walk:
    """Where a plan stands: artifacts by "step.port", records and errors by step, and tasks that were only looked at.

    Others read it; only its own methods change it. `set_aside` holds, by step, the models that ended the worker
    while the step took several at once, and how: it was done again without them. Without `believe_refusals` a chain
    that refused its inputs before is tried again.
    """

    def __init__(
        self,
        plan: Plan,
        results: Results,
        *,
        declarations: Declarations,
        performer: Performer,
        tell: Callable[..., None],
        believe_refusals: bool = True,
    ) -> None:
        self.plan = plan
        self.tell = tell
        self.performer = performer
        self.artifacts: dict[str, Artifact] = {}
        self.records: dict[str, StepRecord] = {}
        self.errors: dict[str, TitrantError] = {}
        self.refused: set[str] = set()
        self.set_aside: dict[str, dict[str, str]] = {}
        self.unperformed: dict[str, StepTask] = {}
        self._results = results
        self._declarations = declarations
        self._left_out: set[str] = set()
        self._crashes: dict[str, str] = {}  # candidate → how it ended the worker: nothing else of it is tried
        self._believe_refusals = believe_refusals

    def settle(self, step: Step) -> bool:
        """Bring a step's outputs about and return whether they are there.

        A step that only its candidate needs, to be made or judged, or that looks inside a model, is recorded when it
        fails and answers False, as does one whose input is missing; the failure of every other step is raised.
        """
        if step.id in self.records:
            return self.records[step.id].status in ("finished", "reused")
        inputs = None if step.candidate in self._crashes else self._inputs(step)
        if inputs is None:
            self.records[step.id] = StepRecord(step.id, "rejected", error=self.reason(step.id))
            return False
        key = step_key(self.plan, step, self._declarations.get(step.operator), inputs)
        stored = self._results.find(key.digest)
        if stored.refusal is not None and self._believe_refusals and _of_candidate(step):
            self._refuse(step, key, stored.refusal)
            return False
        if stored.result is not None:
            self.tell("reused", step=step.id, key=key.digest)
            self._give(step, stored.result, "reused")
            return True
        return self._performed(StepTask(step, key, inputs, stored.because))

    def leave_out(self, candidate: str) -> None:
        """Let no step that takes several models take that of a candidate from now on."""
        self._left_out.add(candidate)

    def settle_stage(self, stage: str) -> None:
        """Settle all steps of a stage, in the plan's order."""
        for step in self.plan.steps:
            if step.stage == stage:
                self.settle(step)

    def provide(self, reference: str, value: Mapping[str, Any]) -> None:
        """Hand a value to the steps that read it by this "step.port"."""
        self.artifacts[reference] = self.performer.keep(value)

    def settle_as_recorded(self, step: Step, port: str, value: Mapping[str, Any]) -> None:
        """Let a step have given what an earlier run recorded of it, in place of what it would give now."""
        self.provide(f"{step.id}.{port}", value)
        self.records[step.id] = StepRecord(step.id, "reused")

    def value(self, reference: str) -> Any:
        """Read the value that a "step.port" names from the store."""
        return self._results.store.value(self.artifacts[reference])

    def value_if_there(self, reference: str) -> Any:
        """Read the value that a "step.port" names, None where there is none."""
        return self.value(reference) if reference in self.artifacts else None

    def blob(self, reference: str, file: str) -> Path | None:
        """Return the place of one file of the artifact that a "step.port" names, verified; None without such a file."""
        return self._results.store.blob(self.artifacts[reference], file)

    def manifest(self, reference: str) -> Manifest:
        """Return which files the artifact that a "step.port" names is made of."""
        return self._results.store.manifest(self.artifacts[reference])

    def reason(self, step_id: str) -> str:
        """Return why a step has no outputs: its own error, or that of the step that it waits for."""
        step = next(step for step in self.plan.steps if step.id == step_id)
        if step.candidate in self._crashes:
            return self._crashes[step.candidate]
        if step_id in self.errors:
            message = str(self.errors[step_id].diagnostics[0].message)
            return f"{message} in {step.operator}" if self.crashed(step_id) else message
        for reference in references(step):
            producer = reference.rpartition(".")[0]
            if reference not in self.artifacts and producer in self.records:
                return self.reason(producer)
        return "it was not made"

    def crashed(self, step_id: str) -> bool:
        """Tell whether a step ended the worker rather than failed in it."""
        return isinstance(self.errors.get(step_id), WorkerDiedError)

    def _performed(self, task: StepTask) -> bool:
        step = task.step
        try:
            performed = self.performer.perform(task)
        except (StepError, InfeasibleError) as error:
            if self._sets_aside(task, error):
                return self.settle(step)
            self._fail(step, task.key, error)
            return False
        if performed is None:
            self.unperformed[step.id] = task
            self.records[step.id] = StepRecord(step.id, "unused", task.key.digest, error=task.because)
            return False
        self._give(step, performed.result, "finished" if performed.ran else "reused")
        return True

    def _sets_aside(self, task: StepTask, error: TitrantError) -> bool:
        """Set the model aside that ended the worker, where a step takes several and is of use without this one."""
        step, name = task.step, error.worker_exit.at_work if isinstance(error, WorkerDiedError) else ""
        taken = [given for given in task.inputs.values() if isinstance(given, Mapping)]
        if name in (ORIGINAL, step.candidate) or not any(name in given for given in taken):
            return False
        message = str(error.diagnostics[0].message)
        self.set_aside.setdefault(step.id, {})[name] = message
        text = f"{step.id}: {message} while {name} was at work: the step is done again without it"
        self.tell("note", text=text, step=step.id, candidate=name)
        return True

    def _give(self, step: Step, result: StepResult, status: str) -> None:
        for port, artifact in result.outputs.items():
            self.artifacts[f"{step.id}.{port}"] = artifact
        self.records[step.id] = StepRecord(step.id, status, result.key, result)

    def _fail(self, step: Step, key: StepKey, error: TitrantError) -> None:
        message = error.diagnostics[0].message
        self.errors[step.id] = error
        self.records[step.id] = StepRecord(step.id, "failed", key.digest, error=message)
        if step.candidate and self.crashed(step.id):
            self._crashes[step.candidate] = f"{message} in {step.operator}"
        said = error.diagnostics[0].said
        self.tell("failed", step=step.id, key=key.digest, because=message, **({"said": said} if said else {}))
        if not _of_candidate(step) or error.diagnostics[0].code in FATAL:
            raise error

    def _refuse(self, step: Step, key: StepKey, refusal: Refusal) -> None:
        self.errors[step.id] = PreconditionError(Diagnostic(refusal.code, refusal.message, help=refusal.help))
        self.records[step.id] = StepRecord(step.id, "failed", key.digest, error=refusal.message)
        self.refused.add(step.id)
        self.tell("reused", step=step.id, key=key.digest, because=refusal.message)

    def _inputs(self, step: Step) -> InputArtifacts | None:
        """Gather what a step reads; None when something is missing, but for some of many."""
        inputs: dict[str, Artifact | Mapping[str, Artifact]] = {}
        for port, source in step.inputs.items():
            if isinstance(source, str):
                if source not in self.artifacts:
                    return None
                inputs[port] = self.artifacts[source]
            else:
                aside = {*self.set_aside.get(step.id, ()), *self._crashes, *self._left_out}
                some = {
                    name: self.artifacts[ref]
                    for name, ref in source.items()
                    if ref in self.artifacts and name not in aside
                }
                if not some:
                    return None
                inputs[port] = some
        return inputs


def _of_candidate(step: Step) -> bool:
    """Tell whether a failure says something of one candidate only, or of what nothing rests on."""
    return step.stage in ("make", "search", OBSERVING_STAGE) or (step.stage == "judge" and bool(step.candidate))


def references(step: Step) -> list[str]:
    """List every "step.port" that a step reads."""
    refs: list[str] = []
    for source in step.inputs.values():
        refs += [source] if isinstance(source, str) else source.values()
    return refs


def needed(plan: Plan, reference: str, stages: tuple[str, ...], done: Container[str] = ()) -> list[Step]:
    """List the steps of some stages that a "step.port" rests on, in the plan's order, but for what is done already."""
    steps = {step.id: step for step in plan.steps}
    ids: set[str] = set()
    waiting = [reference]
    while waiting:
        step = steps.get(waiting.pop().rpartition(".")[0])
        if step is not None and step.id not in ids and step.stage in stages and step.id not in done:
            ids.add(step.id)
            waiting += references(step)
    return [step for step in plan.steps if step.id in ids]
