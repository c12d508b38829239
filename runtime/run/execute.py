"""Execute a plan: reuse every finished step, run the others in one worker, release only what keeps the contract."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.runtime.instruments.hardware.during_run import RunHardware
from titrant.runtime.run.deadline import Deadline, TimedPerformer
from titrant.runtime.run.look_ledger import check_looks
from titrant.runtime.run.outcome import Outcome, observed
from titrant.runtime.run.perform import WorkerPerformer
from titrant.runtime.run.record import capture, count_with_results, describe, earlier_run, run_record
from titrant.runtime.run.replay import Replay
from titrant.runtime.run.run_log import RunLog
from titrant.runtime.run.stages import NoCandidateError, walk_through
from titrant.runtime.run.walk import Walk
from titrant.runtime.store.artifacts import DamagedError, Store
from titrant.runtime.store.declarations import Declarations
from titrant.runtime.store.home import Home, disk_errors, note_answer
from titrant.runtime.store.journal import Journal
from titrant.runtime.store.locks import sweep, using
from titrant.runtime.store.placed import names_placed
from titrant.runtime.store.results import Results
from titrant.runtime.store.run_folder import (
    RunFolder,
    make_folder,
    newer_run,
    place_outputs,
    prepare_outputs,
    unfinished_of,
    write_record,
)
from titrant.runtime.trackers.followers import AFTER_FAILURE_SECONDS, AFTER_SECONDS, Followers
from titrant.runtime.worker.messages import DamagedArtifactError
from titrant.runtime.worker.parent import Listen, Worker, environment
from titrant.schema.diagnostics.diagnostics import DEFECT, INTERRUPTED, Diagnostic, StepError, TitrantError
from titrant.schema.planned import Planned
from titrant.schema.record import RunRecord
from titrant.schema.release import evidence_of, released_facts

# What a store may lose while a run goes on before something is wrong with the disk itself.
_MENDED_AT_MOST = 20


def execute(
    planned: Planned,
    home: Home,
    *,
    listen: Listen | None = None,
    worker: Worker | None = None,
    replay: Replay | None = None,
    seconds: float | None = None,
) -> RunRecord:
    """Execute a plan and return what it did; `exit` is 0, or 5 where the contract was not kept.

    `listen` is told every event: planned, started, progress, measured, finished, reused, failed, rejected, judged,
    note, closed. A worker that is handed in is used, and closed by who did. `replay` says how it differs from a plain
    run. When every step is reused nothing is started, and a run that ended before answers for this one. After
    `seconds` no further step is started, and what was judged until then decides; OutOfTimeError is raised where that
    is nothing.
    Raises StepError when a step that everything rests on fails; nothing is released then. Interrupted, it ends its
    worker and raises on.
    """
    plan = planned.plan
    own = worker is None
    worker = worker or Worker(home, Path(planned.folder), plan.threads, plan.steps[0].seed if plan.steps else 0)
    listen = listen or _ignore
    run = _Run(planned, home, listen=listen, worker=worker, replay=replay or Replay(), seconds=seconds)
    waits = AFTER_FAILURE_SECONDS
    try:
        with disk_errors(home):
            record = run.execute()
        waits = AFTER_SECONDS
    except BaseException as error:
        run.abandon(error)
        raise
    finally:
        if own:
            worker.close()
        run.leave()
        run.hardware.end()
        # All of the run is in its place by now: trackers change nothing of it, whatever becomes of them.
        tracking = run.followers.end(waits, listen)
    return replace(record, tracking=tracking) if tracking else record


def _ignore(event: Mapping[str, Any]) -> None:
    """Listen to nothing."""


class _Run:
    """One execution of a plan."""

    def __init__(
        self, planned: Planned, home: Home, *, listen: Listen, worker: Worker, replay: Replay, seconds: float | None
    ) -> None:
        folder = Path(planned.folder)
        self._planned = planned
        self._plan = planned.plan
        self._home = home
        self.followers = Followers(planned.plan, home)
        self.hardware = RunHardware(planned.plan)
        self._journal = Journal(self.hardware.heard_by(self.followers.heard_by(listen)))
        self._replay = replay
        self._store = Store(home)
        self._results = Results(home, self._store, folder, reuse=replay.reuse)
        self._declarations = Declarations(home, folder, worker.ask)
        self._performer = WorkerPerformer(
            planned,
            self._results,
            worker,
            journal=self._journal,
            open_folder=self._open,
            replay=replay,
        )
        self._in_time = TimedPerformer(self._performer, Deadline(planned.plan, seconds), worker.interrupt)
        self._begun = time.monotonic()
        self._folder: RunFolder | None = None
        self._using = contextlib.ExitStack()
        self._log = RunLog()

    def execute(self) -> RunRecord:
        """Walk the plan until nothing that it needs turns out to be damaged."""
        sweep(self._home)
        if self._replay.look is None:
            check_looks(self._home, self._planned)
        self._journal.add("planned", plan=self._planned.digest, name=self._plan.name, steps=len(self._plan.steps))
        believe_refusals = True
        for _ in range(_MENDED_AT_MOST):
            walk = self._walk(believe_refusals=believe_refusals)
            try:
                return self._finish(walk, walk_through(walk, self._planned, self._replay))
            except (DamagedError, DamagedArtifactError) as error:
                self._journal.add("note", text=f"stored file {error.digest[:12]} is damaged: it is made again")
                self._store.forget(error.digest)
            except NoCandidateError:
                # That a run fails is not believed from memory: what is refused for good is refused again.
                if not walk.refused:
                    raise
                believe_refusals = False
        raise StepError(
            Diagnostic(
                "X320",
                f"stored files below {self._home.store} keep being damaged",
                help="check the disk, and that nothing else writes there",
            )
        )

    def abandon(self, error: BaseException) -> None:
        """Close the journal of a run that did not come to its end; nothing that it would have shipped stays."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.withdraw()
        fallback = INTERRUPTED if isinstance(error, KeyboardInterrupt) else DEFECT
        code = error.exit_code if isinstance(error, TitrantError) else fallback
        with contextlib.suppress(OSError):
            self._journal.add("closed", exit=code, because=" ".join(str(error).split()) or type(error).__name__)

    def leave(self) -> None:
        """End the journal and the log, and say that this run no longer uses the home."""
        with contextlib.suppress(OSError):
            self._journal.close()
        with contextlib.suppress(OSError):
            self._log.close()
        with contextlib.suppress(OSError):
            self._using.close()

    def _note(self, text: str) -> None:
        self._journal.add("note", text=text)

    def _walk(self, *, believe_refusals: bool) -> Walk:
        return Walk(
            self._plan,
            self._results,
            declarations=self._declarations,
            performer=self._in_time,
            tell=self._journal.add,
            believe_refusals=believe_refusals,
        )

    def _finish(self, walk: Walk, outcome: Outcome) -> RunRecord:
        """Let an earlier run that ended just so answer where nothing ran here; else give this one its place."""
        if self._folder is None and (earlier := earlier_run(self._home, walk, outcome)) is not None:
            self._accepted(earlier)
            note_answer(self._home, earlier.run)
            return replace(earlier, seconds=time.monotonic() - self._begun)
        return self._close(walk, outcome, self._open())

    def _close(self, walk: Walk, outcome: Outcome, folder: RunFolder) -> RunRecord:
        """Put everything in its place: the report, then the record, and last, by one rename, what is shipped.

        A run that dies between the two has a record and no outputs, and is not taken for an earlier run.
        """
        for step in self._plan.steps:
            for port, artifact in walk.artifacts.items():
                if port.startswith(f"{step.id}.") and artifact.kind == "report":
                    self._store.materialize(artifact, folder.path, copy=True)
        judged = outcome.judged
        target = folder.outputs if judged.released else folder.quarantine
        record, ran_in = run_record(walk, outcome), capture(self._planned)
        if seen := observed(walk):
            from titrant.runtime.report.observed.layers import write_traces

            write_traces(folder.path, seen)
        if judged.best:
            facts = released_facts(self._plan, record, ran_in["titrant"])
            prepare_outputs(target, self._plan, self._store, walk.artifacts, judged.put_out, facts=facts)
        executed = self._performer.executed
        record = replace(
            record,
            run=folder.run,
            steps=tuple(replace(s, status="finished") if s.step in executed else s for s in record.steps),
            executed=len(executed),
            reused=count_with_results(walk) - len(executed & set(walk.records)),
            seconds=time.monotonic() - self._begun,
            environment=ran_in,
        )
        self._accepted(record)
        write_record(folder.path, record)
        unfinished = unfinished_of(target) if judged.best else None
        self._write_evidence(folder, unfinished)
        self._journal.add("placed", **names_placed(folder.path, unfinished, target.name))
        if judged.best:
            place_outputs(target)
        self._journal.add("closed", exit=record.exit, verdict=record.verdict, released=list(record.released))
        return record

    def _write_evidence(self, folder: RunFolder, placed: Path | None) -> None:
        """Write the documents that the plan asks for; a run that cannot is one that failed, and releases nothing."""
        documents = evidence_of(self._plan)
        if not documents:
            return
        from titrant.runtime.evidence.earlier import earlier_of
        from titrant.runtime.evidence.pack import make_pack

        begun = time.monotonic()
        earlier = earlier_of(self._home, folder.path, placed=placed) if "changes" in documents else None
        pack = make_pack(folder.path, documents, earlier, placed=placed)
        self._journal.add("evidence", files=list(pack.files), seconds=time.monotonic() - begun)

    def _accepted(self, record: RunRecord) -> None:
        if self._replay.accept is not None:
            self._replay.accept(record)

    def _open(self) -> RunFolder:
        """Return the run's folder, made at the first call, from which on the journal is on disk."""
        if self._folder is None:
            plan = self._plan
            self._using.enter_context(using(self._home, f"running {plan.name}", self._note))
            variables = environment(self._home, Path(self._planned.folder), plan.threads, plan.steps[0].seed)
            about = describe(self._planned, variables)
            self._folder = make_folder(self._home, plan, self._planned.recipe_text, about)
            if (newer := newer_run(self._home, self._folder)) is not None:
                self._note(f"the clock was set back since {newer} began: `latest` goes on naming that run")
            self._log.open(self._folder.path)
            self._journal.open(self._folder.journal)
            self.followers.start(self._folder.path)
            self.hardware.start(self._folder.path)
        return self._folder
