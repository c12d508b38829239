"""Save a training after its epochs without holding it up, and let it go on from where a killed one was."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from titrant.runtime.training.checkpoints.checkpoint_file import Brief, is_unfinished, read_checkpoint, write_checkpoint
from titrant.runtime.training.checkpoints.checkpoint_folder import (
    Mode,
    name_of,
    prune_checkpoints,
    whole_checkpoints,
)
from titrant.runtime.training.checkpoints.live_states import CUSTOM, give_back, rank_and_size, state_of
from titrant.runtime.training.checkpoints.plain_state import Taken
from titrant.runtime.training.checkpoints.saving import made_with, of_all_ranks, of_rank_0
from titrant.runtime.training.task import Course, TrainingState, Watcher
from titrant.schema.diagnostics.diagnostics import TitrantError

# What is saved for a resume alone: more often than this costs more than it can save.
RESUME_SECONDS = 10.0
_COURSE = "course"
_CODE = "code of the recipe"
_METRICS = ("tuning_loss", "tuning_accuracy", "loss")


@dataclass(frozen=True)
class CheckpointPlan:
    """Where a training is saved, how often and what of it is kept.

    After every `every` epochs, but no sooner than `seconds` after the last time; kept are the `keep_best` best by
    `metric` ("tuning loss", "tuning accuracy") and the latest. With `resume` it goes on from the latest one of the
    folder, which must be of the very same training: also of the same `code`, the user's files by path with their
    digests, as far as both name them. `required`: what cannot be saved ends the training.
    """

    folder: Path
    every: int = 1
    seconds: float = 0.0
    keep_best: int = 0
    metric: str = "tuning loss"
    mode: Mode = "min"
    resume: bool = True
    required: bool = True
    custom: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    commit_of: str = "."


class EpochCheckpoints(Watcher):
    """Copies the states of a training after an epoch; a thread of its own writes them while the training goes on.

    Of several ranks every one has such a watcher: rank 0 decides, writes and tells, and all go on from the same file.
    """

    def __init__(self, plan: CheckpointPlan, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._writing: _WritingThread | None = None
        self._saved_at = time.monotonic()
        self._failed = False
        self._last = ""
        self._writes = True

    def last_saved(self) -> str:
        """Say where the last good checkpoint is; "" where there is none."""
        return self._last

    def started(self, state: TrainingState) -> None:
        """Go on from the latest checkpoint, where there is one that fits."""
        folder, self._writes = self._plan.folder, rank_and_size()[0] == 0
        for path in folder.iterdir() if self._writes and folder.is_dir() else ():
            if is_unfinished(path.name):  # nobody else writes here
                path.unlink(missing_ok=True)
        if self._plan.resume:
            file = of_rank_0(self._resume(state) if self._writes else None)
            if not self._writes and file is not None:
                self._restore(file, state)

    def after_epoch(self, state: TrainingState) -> None:
        """Save, when it is time for it."""
        due = state.epoch % self._plan.every == 0 and time.monotonic() - self._saved_at >= self._plan.seconds
        if not of_rank_0(due and not self._failed):
            return
        saved = self._state(state)
        if not self._writes:
            return
        self._writing = self._writing or _WritingThread(self._write)
        # A copy: the weights move on while it is written.
        self._raise_or_tell(self._writing.put(state.epoch, self._brief(state), Taken(saved, copied=True)))
        self._saved_at = time.monotonic()
        self._last = f"what it was after epoch {state.epoch} is kept in {self._plan.folder / name_of(state.epoch)}"

    def ended(self, state: TrainingState) -> None:  # noqa: ARG002 - what a watcher is given
        """Wait until what was saved is on the disk."""
        if self._writing is not None:
            self._raise_or_tell(self._writing.close())
            self._writing = None

    def _state(self, state: TrainingState) -> dict[str, Any]:
        course = {item.name: getattr(state.course, item.name) for item in fields(Course)}
        code = {_CODE: dict(self._plan.code)} if self._plan.code else {}
        return state_of(_parts(state), {_COURSE: course, **code, **self._plan.custom}, of_all_ranks)

    def _brief(self, state: TrainingState) -> Brief:
        metrics = {name: values[-1] for name in _METRICS if (values := getattr(state.course, name))}
        return Brief(state.epoch, state.step, metrics)

    def _write(self, epoch: int, brief: Brief, taken: Taken) -> None:
        plan = self._plan
        # Here and not in the loop: the first time git is asked.
        brief = replace(brief, made=made_with(plan.commit_of))
        write_checkpoint(plan.folder / name_of(epoch), brief, taken)
        metric = plan.metric.replace(" ", "_")
        prune_checkpoints(plan.folder, metric=metric, mode=plan.mode, keep_best=plan.keep_best)

    def _raise_or_tell(self, error: TitrantError | None) -> None:
        if error is None:
            return
        self._failed = True
        if self._plan.required:
            raise error
        self._tell(f"{error.diagnostics[0].message}: the training goes on, and could not be resumed")

    def _resume(self, state: TrainingState) -> Path | None:
        """Go on from the latest file from which that is possible, and return it."""
        for file in whole_checkpoints(self._plan.folder):
            try:
                restored = self._restore(file, state)
            except TitrantError as error:
                self._tell(f"{error.diagnostics[0].message}: the checkpoint before it is taken, where there is one")
                continue
            if restored:
                self._last = f"what it was after epoch {state.epoch} is kept in {file}"
                self._tell(f"the training goes on after epoch {state.epoch}")
                return file
        return None

    def _restore(self, file: Path, state: TrainingState) -> bool:
        """Set the state to what a checkpoint holds, unless it is one of another loop."""
        brief, saved = read_checkpoint(file)
        course = saved[CUSTOM].get(_COURSE)
        if course is None:
            return False
        before = saved[CUSTOM].get(_CODE, {}) if self._plan.code else {}
        changed = [path for path, digest in self._plan.code.items() if before.get(path, digest) != digest]
        if changed:
            what = ", ".join(sorted(path for path in changed if path.endswith(".py"))) or "a file that its code read"
            self._tell(f"{what} changed since {file.name} was saved: the training does not go on from it")
            return False
        give_back(file, saved, _parts(state))
        for name, value in course.items():
            setattr(state.course, name, value)
        state.epoch, state.step = brief.epoch or 0, brief.step or 0
        return True


def _parts(state: TrainingState) -> dict[str, Any]:
    """Return what of a training has a state, by name."""
    parts = {
        "model": state.module,
        "optimizer": state.optimizer,
        "scheduler": state.scheduler,
        "scaler": state.scaler,
        "order": state.generator,
    }
    return {name: part for name, part in parts.items() if part is not None}


class _WritingThread:
    """Writes one thing after another; what cannot be written is the answer of the next call."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._error: TitrantError | None = None
        # One at most waits: where the disk is slower than the training, that waits, and memory does not grow.
        self._waiting: queue.Queue[tuple[Any, ...] | None] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def put(self, *item: Any) -> TitrantError | None:
        """Hand over what to write; the error of an earlier one."""
        self._waiting.put(item)
        return self._error

    def close(self) -> TitrantError | None:
        """Wait for all that was handed over; the error of one of them."""
        self._waiting.put(None)
        self._thread.join()
        return self._error

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self._write(*item)
                except TitrantError as error:
                    self._error = error
