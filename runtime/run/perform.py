"""Perform steps in the worker: each under its lock, with its log, its result kept before it counts as finished."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from titrant.runtime.run.history import HistoryFile
from titrant.runtime.run.look_ledger import look_at, note_look, noted_looks, writing
from titrant.runtime.run.replay import Replay
from titrant.runtime.run.walk import Performed, StepTask
from titrant.runtime.store.artifacts import identify_value
from titrant.runtime.store.journal import Journal
from titrant.runtime.store.locks import computing
from titrant.runtime.store.results import Refusal, Results, result_from
from titrant.runtime.store.run_folder import RunFolder
from titrant.runtime.worker.given_files import GivenFiles
from titrant.runtime.worker.messages import raise_answer
from titrant.runtime.worker.parent import Worker
from titrant.schema.planned import Planned
from titrant.schema.record import (
    Artifact,
    Dependency,
    EvaluationRows,
    Look,
    LookSubject,
    StepResult,
    without_file_names,
)
from titrant.schema.values import files
from titrant.schema.values.canonical import plain

# What says nothing of the step itself: the home, memory, the process or one of its own, a disk.
_PASSING = ("X300", "X302", "X310", "X311", "X312", "X313", "X523", "X533", "X624", "X625")


class WorkerPerformer:
    """Performs tasks in a worker; `executed` holds the ids of the steps that really ran here.

    `open_folder` gives the run's folder, which is made when it is first needed. What a replay repeats is no new look at
    the evaluation rows.
    """

    def __init__(
        self,
        planned: Planned,
        results: Results,
        worker: Worker,
        *,
        journal: Journal,
        open_folder: Callable[[], RunFolder],
        replay: Replay,
    ) -> None:
        plan = planned.plan
        self.executed: set[str] = set()
        self._planned = planned
        self._plan = plan
        self._results = results
        self._worker = worker
        self._journal = journal
        self._open_folder = open_folder
        self._begins_anew = not replay.reuse
        self._notes_looks, self._recorded_look = replay.chooses, replay.look
        self._given = GivenFiles()
        self._history = HistoryFile(results.home, plan.hardware)
        self._places = {step.id: place for place, step in enumerate(plan.steps, 1)}

    def perform(self, task: StepTask) -> Performed:
        """Run a step, or take its result from another process that was faster.

        Raises the TitrantError that the step raised, WorkerDiedError, TimeoutError when another process is still
        performing it after the task's `wait_seconds`, or StaleError when a file that it is given is no longer what was
        planned with; a refusal by the operator is kept.
        """
        folder = self._open_folder()
        with self._computing(task):
            return self._perform(task, folder)

    def keep(self, value: Mapping[str, Any]) -> Artifact:
        """Store a value, unless the store has it."""
        artifact = identify_value(value)
        if not self._results.store.has(artifact):
            self._results.store.put("value", value)
        return artifact

    def look(self, rows: EvaluationRows, judged: LookSubject) -> Look:
        """Return which look at these rows it is, and note it for good unless it was noted before."""
        if self._recorded_look is not None:
            return self._recorded_look
        home = self._results.home
        if not self._notes_looks:
            return look_at(home, self._planned, rows, judged)
        # Of two runs that look at one moment the second finds what the first noted.
        with writing(home):
            look = look_at(home, self._planned, rows, judged)
            if look not in noted_looks(home):
                note_look(home, look)
        return look

    def _computing(self, task: StepTask) -> AbstractContextManager[None]:
        step = task.step

        def waiting(who: str) -> None:
            self._journal.add("note", text=f"{step.id}: {who}", step=step.id)

        return computing(self._results.home, task.key.digest, waiting, seconds=task.wait_seconds)

    def _perform(self, task: StepTask, folder: RunFolder) -> Performed:
        step, key = task.step, task.key.digest
        earlier = self._results.find(key).result
        if earlier is not None:
            self._journal.add("reused", step=step.id, key=key, because="another run computed it meanwhile")
            return Performed(earlier, ran=False)
        states = self._given.check(step.params)
        if self._begins_anew:  # also a training that was killed
            shutil.rmtree(self._results.home.training / key, ignore_errors=True)
        self._journal.add("started", step=step.id, key=key, because=task.because)
        place = folder.step(self._places[step.id], step.id)
        message = self._message(task, place / "log.txt")
        self._given.check_still(step.params, states)
        if message["event"] == "error":
            self._keep_refusal(task, message)
        raise_answer(message)
        answer = {name: value for name, value in message.items() if name != "event"}
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        predicted = plain(step.prediction)
        result = result_from(answer, key=key, operator=step.operator, finished=finished, predicted=predicted)
        differs = self._keep(task, result)
        self._settle_checkpoints(task, place)
        files.write_json(place / "result.json", without_file_names(result))
        self.executed.add(step.id)
        self._journal.add("finished", step=step.id, key=key, seconds=result.seconds, peak_bytes=result.peak_bytes)
        if differs:
            self._journal.add("note", text=f"{step.id}: the same step gave other bytes before", step=step.id)
        if result.not_reused:
            text = f"{step.id}: this result counts for this run only, the next one makes it anew: {result.not_reused}"
            self._journal.add("note", text=text, step=step.id)
        return Performed(result)

    def _keep(self, task: StepTask, result: StepResult) -> bool:
        """Keep a result for later runs unless what shaped it may pass; True when the step gave other bytes before."""
        if result.not_reused:
            return False
        differs = self._results.keep(task.key, result)
        self._history.add(result)
        return differs

    def _settle_checkpoints(self, task: StepTask, place: Path) -> None:
        """Move what a recipe asked to keep of a finished training into the step's folder, and remove the rest."""
        saved = self._results.home.training / task.key.digest
        if not saved.is_dir():
            return
        if task.step.params.get("checkpoints"):
            saved.replace(place / "checkpoints")
            text = f"{task.step.id}: its checkpoints are in {place / 'checkpoints'}"
            self._journal.add("note", text=text, step=task.step.id)
        else:
            shutil.rmtree(saved, ignore_errors=True)

    def _message(self, task: StepTask, log: Path) -> Mapping[str, Any]:
        return self._worker.message(self._request(task, str(log)), self._listener(task.step.id, task.key.digest))

    def _request(self, task: StepTask, log: str) -> dict[str, Any]:
        return {
            "do": "run",
            "step": task.step.id,
            "key": task.key.digest,
            "operator": task.step.operator,
            "params": plain(task.step.params),
            "inputs": plain(task.inputs),
            "seed": task.step.seed,
            "threads": self._plan.threads,
            "deterministic": self._plan.deterministic,
            "frees": _freed(task),
            "log": log,
        }

    def _listener(self, step: str, key: str) -> Callable[[Mapping[str, Any]], None]:
        def listen(message: Mapping[str, Any]) -> None:
            fields = {name: value for name, value in message.items() if name != "event"}
            self._journal.add(message["event"], step=step, key=key, **fields)

        return listen

    def _keep_refusal(self, task: StepTask, message: Mapping[str, Any]) -> None:
        """Keep that the operator refused; what may pass, and what was not expected, is tried again next time."""
        first = message["diagnostics"][0]
        if first["code"] in _PASSING or message["exception"] not in ("StepError", "PreconditionError"):
            return
        dependencies = tuple(Dependency(**item) for item in message.get("dependencies", ()))
        self._results.keep_refusal(
            task.key,
            Refusal(task.key.digest, task.step.operator, first["code"], first["message"], first["help"], dependencies),
        )


def _freed(task: StepTask) -> list[str]:
    """Return the digests of what no later step of the plan reads."""
    digests: list[str] = []
    for port, source in task.step.inputs.items():
        given = task.inputs.get(port)
        if isinstance(source, str) and isinstance(given, Artifact):
            digests += [given.digest] if source in task.step.frees else []
        elif not isinstance(source, str) and isinstance(given, Mapping):
            digests += [given[name].digest for name, ref in source.items() if name in given and ref in task.step.frees]
    return digests
