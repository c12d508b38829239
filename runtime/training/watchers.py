"""Who watches a training that an operator runs: its gradients, and what is saved of it."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from titrant.runtime.training.checkpoints.live_states import rank_and_size
from titrant.runtime.training.epoch_checkpoints import RESUME_SECONDS, CheckpointPlan, EpochCheckpoints
from titrant.runtime.training.gradient_norms import GradientLimits
from titrant.runtime.training.gradient_watcher import GradientWatcher
from titrant.runtime.training.task import TrainingState, Watcher
from titrant.schema.recipe.train import Checkpoints, WatchGradients
from titrant.schema.values.canonical import plain


class WatchedParams(Protocol):
    """What of an operator's parameters is read here."""

    @property
    def checkpoints(self) -> Checkpoints | None:
        """What is kept of the epochs."""

    @property
    def resume(self) -> bool:
        """Whether training goes on where it was ended."""

    @property
    def watch_gradients(self) -> WatchGradients | None:
        """When gradients are unhealthy."""

    def model_dump(self) -> dict[str, Any]:
        """Return the parameters as values."""


class WatchingContext(Protocol):
    """What of a step's context is used here; a rank of several has no more."""

    @property
    def seed(self) -> int:
        """The step's seed."""

    @property
    def threads(self) -> int:
        """The threads of each process."""

    @property
    def checkpoints(self) -> Path | None:
        """Where this step alone may save."""

    @property
    def code(self) -> Mapping[str, str]:
        """What of the user's code the step rests on: path → digest."""

    def note(self, text: str) -> None:
        """Tell whoever follows the run."""


class CurveTeller(Watcher):
    """Tells the figures of each epoch as it ends, for those who follow a training that goes on for hours."""

    def __init__(self, tell: Callable[[int, Mapping[str, float]], None]) -> None:
        self._tell = tell

    def after_epoch(self, state: TrainingState) -> None:
        """Tell the epoch that has just ended."""
        course = state.course
        curves = {
            "loss": course.loss,
            "tuning_loss": course.tuning_loss,
            "tuning_accuracy": course.tuning_accuracy,
        }
        self._tell(state.epoch, {name: values[-1] for name, values in curves.items() if values})


def watchers_of(params: WatchedParams, context: WatchingContext, rows: dict[str, int]) -> Sequence[Watcher]:
    """Return the watchers that the parameters ask for; `rows` counts those of each role, for the checkpoint.

    Gradients come first: what is seen of them belongs into the checkpoint of the epoch. Of several ranks the first
    watches them: they are averaged, so that it sees those of all.
    """
    saving = _saving(params, context, rows)
    watched = params.watch_gradients
    if watched is None or rank_and_size()[0] > 0:
        return [saving] if saving is not None else []
    limits = GradientLimits(watched.pattern, watched.vanishing, watched.exploding, watched.global_norm)
    gradients = GradientWatcher(limits, context.note, kept=None if saving is None else saving.last_saved)
    return [gradients] if saving is None else [gradients, saving]


def _saving(params: WatchedParams, context: WatchingContext, rows: dict[str, int]) -> EpochCheckpoints | None:
    asked = params.checkpoints
    if context.checkpoints is None or (asked is None and not params.resume):
        return None
    plan = CheckpointPlan(
        folder=context.checkpoints,
        every=1 if asked is None else asked.every,
        seconds=RESUME_SECONDS if asked is None else 0.0,
        keep_best=0 if asked is None else asked.keep_best,
        metric="tuning loss" if asked is None else asked.metric,
        mode="min" if asked is None else asked.mode,
        resume=params.resume,
        required=asked is not None,
        custom={"config": plain(params.model_dump()), "rows": rows, "seed": context.seed, "threads": context.threads},
        code=context.code,
        commit_of=os.environ.get("TITRANT_RECIPE_FOLDER", "."),
    )
    return EpochCheckpoints(plan, context.note)
