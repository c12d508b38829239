"""Save, load, find and prune checkpoints of a training on a live model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

if TYPE_CHECKING:
    from titrant.runtime.training.task import Watcher


@dataclass(frozen=True)
class Restored:
    """What a checkpoint said besides the states that were restored from it.

    `epoch`, `step`, `metrics` and `custom` are what `save` was given; `made` has the time (UTC), the versions of
    titrant and torch, and the git commit of the folder that the process was in.
    """

    file: Path
    epoch: int | None = None
    step: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)


def save(
    folder: str | Path,
    parts: Mapping[str, Any],
    *,
    epoch: int | None = None,
    step: int | None = None,
    metrics: Mapping[str, float] | None = None,
    custom: Mapping[str, Any] | None = None,
) -> Path:
    """Write the states of a training into a new file of a folder, whole or not at all, and return the file.

    `parts` are a module, its optimizer, scheduler, scaler, an average of the weights, generators, under names of your
    choice; the global random states of Python, NumPy and torch are always saved. `custom` takes tensors, arrays,
    numbers, texts, lists, tuples, sets and mappings of them. Checkpoints are ordered by `step`, without it by `epoch`,
    without both by when they were saved; a second one of the same place replaces the first. Where torch.distributed
    runs, every rank calls this, rank 0 alone writes, and each rank's random states are kept. Raises StepError X533
    where the disk refuses, X534 for a state that only a pickle could hold; ValueError for a metric that is no number.
    """
    from titrant.runtime.training.checkpoints.saving import save_checkpoint

    return save_checkpoint(Path(folder), parts, custom or {}, epoch=epoch, step=step, metrics=metrics or {})


def load(path: str | Path, parts: Mapping[str, Any], *, restore_random: bool = True) -> Restored:
    """Restore parts in place from a checkpoint, or from the latest of a folder, and return what else it holds.

    Every part fits or nothing is changed; parts of the file that are not asked for are left. With `restore_random` the
    global random states are restored too. From another program's file a module alone can be restored, as
    `model.weights` takes it. Raises StepError X530 for a part that does not fit, X154 for another model's weights,
    X531 for a file of another version, X532 for one that is damaged or not there.
    """
    from titrant.runtime.training.checkpoints.checkpoint_file import read_checkpoint
    from titrant.runtime.training.checkpoints.checkpoint_folder import is_foreign
    from titrant.runtime.training.checkpoints.live_states import CUSTOM, give_back

    file = Path(path)
    if file.is_dir():
        newest = latest(file)
        if newest is None:
            message = f"there is no checkpoint in {path}"
            raise StepError(
                Diagnostic("X532", message, help="titrant.checkpoints.latest(FOLDER) is None then: ask first")
            )
        file = newest
    if is_foreign(file):
        return _load_foreign(file, parts)
    brief, state = read_checkpoint(file)
    give_back(file, state, parts, restore_random=restore_random)
    return Restored(file, brief.epoch, brief.step, brief.metrics, state[CUSTOM], brief.made)


def latest(folder: str | Path, pattern: str | None = None) -> Path | None:
    """Return the latest whole checkpoint of a folder; None where there is no folder, or none in it.

    titrant's own come first, by the step that they record; others, files that end in .pt, .pth, .ckpt or .safetensors
    or whose names match `pattern`, by time. Half-written files and models for use are passed over. Raises StepError
    X535 for a folder that cannot be read.
    """
    from titrant.runtime.training.checkpoints.checkpoint_folder import latest_checkpoint

    return latest_checkpoint(Path(folder), pattern)


def best(folder: str | Path, metric: str, mode: Literal["min", "max"] = "min") -> Path | None:
    """Return titrant's own checkpoint of a folder with the best value of a metric, of equal ones the earliest.

    A missing value, NaN and infinity never win. None where no checkpoint has such a metric.
    """
    from titrant.runtime.training.checkpoints.checkpoint_folder import best_checkpoint

    return best_checkpoint(Path(folder), metric, mode)


def each_epoch(
    folder: str | Path,
    *,
    every: int = 1,
    metric: Literal["tuning loss", "tuning accuracy"] = "tuning loss",
    mode: Literal["min", "max"] = "min",
    keep_best: int = 3,
    resume: bool = True,
) -> "Watcher":
    """Return a watcher for `titrant.train.fit` that saves after every `every` epochs, while the training goes on.

    Kept are the `keep_best` best by `metric` and the latest. With `resume` a training goes on from the latest
    checkpoint of the folder, which must be of the same training: what it is given is not compared. It raises
    StepError X533 in the training where the disk refuses. Raises ValueError for `every` below 1 and for another mode.
    """
    from titrant.runtime.training.checkpoints.checkpoint_folder import check_mode
    from titrant.runtime.training.epoch_checkpoints import CheckpointPlan, EpochCheckpoints

    check_mode(mode)
    if every < 1:
        raise ValueError(f"every is a number of epochs, 1 or more, not {every}")
    plan = CheckpointPlan(
        Path(folder),
        every=every,
        keep_best=keep_best,
        metric=metric,
        mode=mode,
        resume=resume,
        commit_of=str(Path.cwd()),
    )
    return EpochCheckpoints(plan, lambda _: None)


def prune(
    folder: str | Path,
    *,
    metric: str | None = None,
    mode: Literal["min", "max"] = "min",
    keep_best: int = 3,
    keep: Iterable[str | Path] = (),
) -> tuple[Path, ...]:
    """Remove titrant's own checkpoints but for the `keep_best` best, the latest, and those of `keep`; return what went.

    Without a metric the newest are kept. Files of other programs stay.
    """
    from titrant.runtime.training.checkpoints.checkpoint_folder import prune_checkpoints

    return prune_checkpoints(Path(folder), metric=metric, mode=mode, keep_best=keep_best, keep=map(Path, keep))


def _load_foreign(file: Path, parts: Mapping[str, Any]) -> Restored:
    import torch

    from titrant.runtime.backends.torch.weights import load_weights

    others = [name for name, part in parts.items() if not isinstance(part, torch.nn.Module)]
    if others or len(parts) != 1:
        message = f"{file.name} is another program's file, of which a module alone can be restored"
        raise StepError(Diagnostic("X530", message, help='load(file, {"model": model}), and set the rest yourself'))
    load_weights(next(iter(parts.values())), str(file))
    return Restored(file)
