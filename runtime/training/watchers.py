"""Who watches a training that an operator runs: its gradients, and what is saved of it."""

import os
from collections.abc import Sequence
from typing import Any, Protocol

from titrant.runtime.catalog import Context
from titrant.runtime.training.epoch_checkpoints import RESUME_SECONDS, CheckpointPlan, EpochCheckpoints
from titrant.runtime.training.gradient_norms import GradientLimits
from titrant.runtime.training.gradient_watcher import GradientWatcher
from titrant.runtime.training.task import Watcher
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


def watchers_of(params: WatchedParams, context: Context, rows: dict[str, int]) -> Sequence[Watcher]:
    """Return the watchers that the parameters ask for; `rows` counts those of each role, for the checkpoint.

    Gradients come first: what is seen of them belongs into the checkpoint of the epoch.
    """
    saving = _saving(params, context, rows)
    watched = params.watch_gradients
    if watched is None:
        return [saving] if saving is not None else []
    limits = GradientLimits(watched.pattern, watched.vanishing, watched.exploding, watched.global_norm)
    gradients = GradientWatcher(limits, context.note, kept=None if saving is None else saving.last_saved)
    return [gradients] if saving is None else [gradients, saving]


def _saving(params: WatchedParams, context: Context, rows: dict[str, int]) -> EpochCheckpoints | None:
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
        commit_of=os.environ.get("TITRANT_RECIPE_FOLDER", "."),
    )
    return EpochCheckpoints(plan, context.note)
