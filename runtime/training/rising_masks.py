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
        if step >= steps:
            return self.sparsity
        first, last = self.begin * steps, max(self.end * steps, self.begin * steps + 1)
        done = min(max((step - first) / (last - first), 0.0), 1.0)
        return self.sparsity * (1 - (1 - done) ** 3)

    def last_due(self, step: int, steps: int) -> int:
        """Return the last step up to this one that got a new mask, 0 where none did.

        They come every so many steps, and at the first at which the end is reached.
        """
        last = min(steps, max(math.ceil(self.end * steps), math.ceil(self.begin * steps + 1)))
        return last if step >= last else step - step % self.every


class RisingMasks(Watcher):
    """Masks weights by magnitude between the steps of a training; the best epoch is one of those at the final sparsity.

    What is masked stays so until a later mask, which is chosen among all weights anew, so that a weight may come back.
    """

    def __init__(self, weights: Mapping[str, torch.nn.Parameter], rise: CubicRise, scope: Scope) -> None:
        self._weights, self._rise, self._scope = list(weights.values()), rise, scope
        self._masks: list[torch.Tensor] = []
        self._begun = False
        self._reached = False  # an epoch has ended at the final sparsity
        self.sparsity: list[float] = []  # by epoch, at its end

    def after_backward(self, state: TrainingState) -> None:
        """Before the first step, take up where an earlier training was: what is zero by then is masked."""
        if not self._begun and state.step:
            self._masks = [weight.detach() == 0 for weight in self._weights]
            ends = [state.step * (epoch + 1) // state.epoch for epoch in range(state.epoch)]
            self.sparsity = [self._at(end, state) for end in ends]
            self._reached = self._rise.sparsity in self.sparsity
        self._begun = True

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:
        """Choose new masks where they are due, and hold what is masked at zero."""
        if self._rise.last_due(state.step, state.task.steps) == state.step:
            self._masks = magnitude_masks(self._weights, self._at(state.step, state), self._scope)
        for weight, marked in zip(self._weights, self._masks, strict=bool(self._masks)):
            weight.masked_fill_(marked, 0)

    def after_epoch(self, state: TrainingState) -> None:
        """Let an epoch be the best only once the final sparsity is reached."""
        self.sparsity.append(self._at(state.step, state))
        if not self._reached:
            state.course.best_epoch = state.epoch - 1
            weights = state.module.state_dict()
            state.course.best_weights = {name: value.detach().clone() for name, value in weights.items()}
        self._reached = self._rise.sparsity in self.sparsity

    def _at(self, step: int, state: TrainingState) -> float:
        """Return the sparsity of the mask that holds after a step."""
        return self._rise.at(self._rise.last_due(step, state.task.steps), state.task.steps)
