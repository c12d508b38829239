"""Fit a model in several processes: they get it and the rows as files, and rank 0 leaves the result as files."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends import kinds
from titrant.runtime.backends.torch.determinism import fixed_settings
from titrant.runtime.catalog import Context
from titrant.runtime.training.loop import train as train_module
from titrant.runtime.training.processes.launch import run_ranks, tell
from titrant.runtime.training.processes.ranked_task import ranked_task, shared, step_seconds
from titrant.runtime.training.processes.ranks import Ranks, leave_batch_norm
from titrant.runtime.training.task import Batch, TrainingTask, Watcher

# From the model, the train and the tuning rows to what is trained, a batch to take a step with, and who watches, for as
# long as it is entered.
MakeTask = Callable[[Any, Any], AbstractContextManager[tuple[TrainingTask, Batch, Sequence[Watcher]]]]


@dataclass(frozen=True)
class RankContext:
    """What a rank's training uses of a step's context: rank 0 says how it goes, and the others are quiet."""

    folder: Path
    ranks: Ranks
    generator: np.random.Generator
    seed: int
    threads: int
    checkpoints: Path | None
    code: Mapping[str, str] = field(default_factory=dict)

    @property
    def scratch(self) -> Path:
        """Where files of the training may lie."""
        return self.folder

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Tell the process that started the ranks."""
        if self.ranks.writes:
            tell(self.folder, {"progress": [done, total, note]})

    def curve(self, place: int, figures: Mapping[str, float]) -> None:
        """Tell a point of the learning curve."""
        if self.ranks.writes:
            tell(self.folder, {"curve": [place, dict(figures)]})

    def note(self, text: str) -> None:
        """Let the process that started the ranks tell it."""
        if self.ranks.writes:
            tell(self.folder, {"note": text})


def fit_in_processes(
    values: Mapping[str, tuple[str, Any]], request: Mapping[str, Any], context: Context, *, size: int, alone: float
) -> tuple[Any, dict[str, Any]]:
    """Run `request` in `size` ranks and return the model and the curves that rank 0 leaves.

    `values` are the model, train and tuning rows, and a teacher, by name, each with its kind; `alone` are the seconds
    of a step in one process, with which the step of the ranks is compared. Raises StepError X523 when a rank dies.
    """
    folder = context.scratch / "ranks"
    for name, (kind, value) in values.items():
        (folder / name).mkdir(parents=True)
        kinds.save(kind, value, folder / name)
    saved = None if context.checkpoints is None else str(context.checkpoints)
    own = {"draws": context.generator.bit_generator.state, "seed": context.seed, "threads": context.threads}
    options = {**request["options"], **own, "checkpoints": saved, "code": dict(context.code)}

    def hand_on(said: Mapping[str, Any]) -> None:
        if "note" in said:
            context.note(said["note"])
        elif "curve" in said:
            context.curve(*said["curve"])
        else:
            context.progress(*said["progress"])

    run_ranks(size, folder, {**request, "options": options}, hand_on)
    curves = kinds.load("value", folder / "curves")
    together = curves.pop("step_seconds")
    context.measure("processes", size)
    context.measure("one_process_seconds", alone, "s")
    context.measure("processes_seconds", together, "s")
    context.measure("scaling_efficiency", alone / together / size, "x")
    return kinds.load("torch", folder / "fitted"), curves


def fit_as_rank(
    folder: Path, options: Mapping[str, Any], ranks: Ranks, make_task: MakeTask, *, deterministic: bool
) -> None:
    """Train as one of several ranks what lies in a folder; rank 0 writes the model and the curves there."""
    saved = None if options["checkpoints"] is None else Path(options["checkpoints"])
    said = options["seed"], options["threads"], saved, options["code"]
    context = RankContext(folder, ranks, np.random.default_rng(), *said)
    context.generator.bit_generator.state = options["draws"]
    model = kinds.load("torch", folder / "model")
    with fixed_settings(options["threads"], ranks.seed, deterministic=deterministic):
        train, tuning = (kinds.load("rows", folder / name) for name in ("train", "tuning"))
        with make_task((model, train, tuning), context) as (whole, batch, watchers):
            task, losses = ranked_task(whole, ranks)
            # After a first step DDP orders its buckets anew, and with them how three ranks or more add up: what is gone
            # on with has the same bytes only because no training begins before that.
            seconds = step_seconds(task, shared(batch, ranks))
            losses.sums = torch.zeros_like(losses.sums)
            course = train_module(task, [losses, *watchers])
            whole.module.load_state_dict(course.best_weights)
    leave_batch_norm(model.module)
    if ranks.writes:
        for name in ("fitted", "curves"):
            (folder / name).mkdir()
        kinds.save("torch", model, folder / "fitted")
        kinds.save("value", course.curves() | {"step_seconds": seconds}, folder / "curves")
