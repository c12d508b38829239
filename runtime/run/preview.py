"""Say what executing a plan would do, and why, without running anything."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.runtime.run.look_ledger import look_at
from titrant.runtime.run.outcome import Outcome, missed_words
from titrant.runtime.run.record import earlier_run
from titrant.runtime.run.replay import Replay
from titrant.runtime.run.stages import NoCandidateError, walk_through
from titrant.runtime.run.walk import StepTask, UnperformedError, Walk, needed, references
from titrant.runtime.store.artifacts import DamagedError, Store, identify_value
from titrant.runtime.store.declarations import Declarations
from titrant.runtime.store.home import Home
from titrant.runtime.store.results import Results
from titrant.runtime.store.run_folder import last_run
from titrant.schema.diagnostics.diagnostics import Diagnostic, TitrantError
from titrant.schema.language.spans import KeyPath, dotted
from titrant.schema.plan import ASKED, Step, StepPreview
from titrant.schema.planned import Planned
from titrant.schema.record import Artifact, EvaluationRows, Look, LookSubject, RunRecord, StepRecord
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class PlanPreview:
    """What executing a plan would do: every step's preview by id, and where nothing would run, the run that answers.

    `answer` is what `execute` would return: the earlier run that ended just as this one would, with nothing executed.
    """

    steps: Mapping[str, StepPreview]
    answer: RunRecord | None = None


def preview(planned: Planned, home: Home) -> PlanPreview:
    """Say what executing a plan would do.

    A user's operator that was never described, or whose module changed, is not known: only a worker may import it.
    """
    return _Previewer(planned, home).preview()


class _UnknownOperatorError(TitrantError):
    """A user's operator has to be asked in a worker."""


class LookupPerformer:
    """A performer that performs nothing: it says what would be there, and changes nothing in the home."""

    def __init__(self, home: Home, planned: Planned) -> None:
        self._home = home
        self._planned = planned

    def perform(self, task: StepTask) -> None:
        """Leave a step as it is."""

    def keep(self, value: Mapping[str, Any]) -> Artifact:
        """Return what storing a value would give."""
        return identify_value(value)

    def look(self, rows: EvaluationRows, judged: LookSubject) -> Look:
        """Return which look at these rows it would be."""
        return look_at(self._home, self._planned, rows, judged)


class _Previewer:
    def __init__(self, planned: Planned, home: Home) -> None:
        folder = Path(planned.folder)
        self._begun = time.monotonic()
        self._planned = planned
        self._plan = planned.plan
        self._home = home
        self._results = Results(home, Store(home), folder)
        self._walk = Walk(
            planned.plan,
            self._results,
            declarations=Declarations(home, folder, _refuse),
            performer=LookupPerformer(home, planned),
            tell=lambda *_, **__: None,
        )

    def preview(self) -> PlanPreview:
        outcome = None
        # Beyond what was only looked at, is damaged or unknown, or a search without candidates, nothing is known.
        with contextlib.suppress(UnperformedError, DamagedError, NoCandidateError, _UnknownOperatorError):
            outcome = walk_through(self._walk, self._planned, Replay())
        pointless = outcome is not None and outcome.missed
        before = self._records_before()
        steps = {step.id: self._say(step, before, pointless=pointless) for step in self._plan.steps}
        return PlanPreview(steps, self._answer(outcome))

    def _answer(self, outcome: Outcome | None) -> RunRecord | None:
        """Return the run that answers for this one, where nothing would run and there is such a run."""
        if outcome is None or self._walk.unperformed:
            return None
        earlier = earlier_run(self._home, self._walk, outcome)
        return None if earlier is None else replace(earlier, seconds=time.monotonic() - self._begun)

    def _say(self, step: Step, before: Mapping[str, StepRecord], *, pointless: bool) -> StepPreview:
        record = self._walk.records.get(step.id)
        if record is not None and record.status == "reused":
            return StepPreview("=")
        if self._rests_on_refusal(step):
            return StepPreview("=", record.error if record else "")
        if step.id in self._walk.unperformed:
            return self._why(self._walk.unperformed[step.id], before.get(step.id))
        if pointless:
            return StepPreview("?", missed_words(self._plan.contract))
        if step.stage in ASKED and step not in needed(self._plan, self._plan.original_judgement, ("judge",)):
            return StepPreview("?", "run only if the search asks for it")
        return self._waits(step, before)

    def _rests_on_refusal(self, step: Step) -> bool:
        """Tell whether a step refused its inputs before, or waits for one that did: neither would run."""
        if step.id in self._walk.refused:
            return True
        record = self._walk.records.get(step.id)
        if record is None or record.status != "rejected":
            return False
        producers = {reference.rpartition(".")[0] for reference in references(step)}
        return any(self._rests_on_refusal(other) for other in self._plan.steps if other.id in producers)

    def _why(self, task: StepTask, last: StepRecord | None) -> StepPreview:
        if task.because:
            return StepPreview("~", f"because {task.because}")
        if last is None:
            return StepPreview("+")
        if last.key == task.key.digest:
            return StepPreview("+", f"because {_not_kept(last)}")
        old = self._results.parts(last.key)
        if old is None:  # of a rerun, which keeps nothing, or removed since
            return StepPreview("~", "because it is not what ran last, of which no more is known")
        return StepPreview("~", f"because {difference(old, task.key.parts)}")

    def _waits(self, step: Step, before: Mapping[str, StepRecord]) -> StepPreview:
        """Explain a step whose inputs, and so its key, are not known yet."""
        producers = [reference.rpartition(".")[0] for reference in references(step)]
        cause = next((name for name in producers if self._runs(name)), "")
        if step.id not in before:
            return StepPreview("+")
        because = f"because {cause} runs again" if cause else "because what it reads is made again"
        return StepPreview("~", because, follows=True)

    def _runs(self, step_id: str) -> bool:
        record = self._walk.records.get(step_id)
        return record is not None and record.status != "reused" and step_id not in self._walk.refused

    def _records_before(self) -> dict[str, StepRecord]:
        record = last_run(self._home, self._plan.name)
        return {} if record is None else {step.step: step for step in record.steps if step.key}


def _not_kept(last: StepRecord) -> str:
    """Say why the last run's result of this very step does not answer for it."""
    if last.result is None:
        return f"it failed: {last.error}" if last.error else "it has no result"
    if last.result.not_reused:
        return f"its result counted for that run only: {last.result.not_reused}"
    return "its result is no longer in the home"


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name what differs between a step's keys: the operator's version, else the first part that does; "" if none does.

    As "params.epochs changed from 20 to 30". A new version of an operator answers anew whatever else has changed.
    """
    from titrant.schema.compare.difference import first_place, short

    versions = old.get("version"), new.get("version")
    if versions[0] != versions[1]:
        return f"the version of {new.get('operator')} changed from {versions[0]} to {versions[1]}"
    differing = first_place(_named(old), _named(new))
    if differing is None:
        return ""
    path, before, after = differing
    where = dotted(path)
    if where == "inputs.record":
        return "what is reported changed, or the recipe's text"
    if path[0] == "inputs":
        return f"its input {dotted(path[1:])} changed"
    if path[-1] == "digest":
        return f"the file {dotted(path[:-1]).removeprefix('params.')} changed"
    if path[:2] == ("params", "gates") and len(path) > 2:
        return _of_gate(path, short(str(before), 40), short(str(after), 40))
    return _entries(where, before, after) or f"{where} changed from {short(str(before), 40)} to {short(str(after), 40)}"


def _of_gate(path: KeyPath, before: str, after: str) -> str:
    """Tell what of a gate in a step's parameters is another."""
    name, *inner = map(str, path[2:])
    if not inner:
        return f"the contract has the gate {name} now" if before == "None" else f"the contract has no gate {name} now"
    if inner == ["supplied"]:
        return f"{'the level supplies' if after == 'True' else 'the recipe writes'} the gate {name} now"
    return f"the {' '.join(inner)} of the gate {name} changed from {before} to {after}"


def _entries(where: str, before: Any, after: Any) -> str:
    """Tell two lists of names apart by what is in one alone; "" where that does not tell them apart."""
    if not (
        isinstance(before, list) and isinstance(after, list) and all(isinstance(name, str) for name in before + after)
    ):
        return ""
    gone = [f"without {name}" for name in before if name not in after]
    came = [f"with {name}" for name in after if name not in before]
    return f"{where} changed: now {', '.join(came + gone)}" if came or gone else ""


def _named(value: Any) -> Any:
    """Name the entries of every list whose entries have ids, such as gates: what differs is told by its id."""
    if isinstance(value, Mapping):
        return {name: _named(inner) for name, inner in sorted(value.items())}
    if isinstance(value, list) and value and all(isinstance(item, Mapping) and "id" in item for item in value):
        return {str(item["id"]): _named(item) for item in value}
    return value


def _refuse(request: Mapping[str, Any]) -> Mapping[str, Any]:
    raise _UnknownOperatorError(Diagnostic("X314", f"{request['operator']} is not described yet"))
