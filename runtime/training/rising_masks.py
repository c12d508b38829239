"""Raise the share of weights that are zero while a network is trained, by the cubic schedule of Zhu & Gupta (2017)."""

import math
from collections.abc import Mapping

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.reduced.masks import Scope, magnitude_masks
from titrant.runtime.training.task import TrainingState, Watcher
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class CubicRise:
    """How sparsity rises: to `sparsity`, between two shares of all steps, a new mask every `every` steps."""

    sparsity: float
    begin: float = 0.0
    end: float = 0.75
    every: int = 10

    def at(self, step: int, steps: int) -> float:
        """Return s_f · (1 - (1 - (t - t_0) / (t_n - t_0))³) at a step t of all `steps`, counted from 1."""
        first, last = self.begin * steps, max(self.end * steps, self.begin * steps + 1)
        done = min(max((step - first) / (last - first), 0.0), 1.0)
        return self.sparsity * (1 - (1 - done) ** 3)

    def is_due(self, step: int, steps: int) -> bool:
        """Whether a step gets a new mask: every so many, and the first at which the end is reached."""
        last = max(math.ceil(self.end * steps), math.ceil(self.begin * steps + 1))
        return step == last or (step < last and step % self.every == 0)


class RisingMasks(Watcher):
    """Masks weights by magnitude between the steps of a training; the best epoch is one of those at the final sparsity.

    What is masked stays so until a later mask, which is chosen among all weights anew, so that a weight may come back.
    """

    def __init__(self, weights: Mapping[str, torch.nn.Parameter], rise: CubicRise, scope: Scope) -> None:
        self._weights, self._rise, self._scope = list(weights.values()), rise, scope
        self._masks: list[torch.Tensor] = []
        self._reached = False  # an epoch has ended at the final sparsity
        self.sparsity: list[float] = []  # by epoch, at its end
        self._now = 0.0

    def after_step(self, state: TrainingState) -> None:
        """Choose new masks where they are due, and hold what is masked at zero."""
        steps = state.task.steps
        if self._rise.is_due(state.step, steps):
            self._now = self._rise.at(state.step, steps)
            self._masks = magnitude_masks(self._weights, self._now, self._scope)
        with torch.no_grad():
            for weight, marked in zip(self._weights, self._masks, strict=bool(self._masks)):
                weight.masked_fill_(marked, 0)

    def after_epoch(self, state: TrainingState) -> None:
        """Let an epoch be the best only once the final sparsity is reached."""
        self.sparsity.append(self._now)
        if not self._reached:
            state.course.best_epoch = state.epoch - 1
            state.course.best_weights = {
                name: value.detach().clone() for name, value in state.module.state_dict().items()
            }
        self._reached = self._now == self._rise.sparsity
