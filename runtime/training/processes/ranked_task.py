"""Turn a training into one rank's part of it: its rows of each batch, averaged gradients, the losses of all rows."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253

from titrant.runtime.training.activation_memory import untouched
from titrant.runtime.training.processes.ranks import Ranks
from titrant.runtime.training.task import Batch, Inputs, TrainingState, TrainingTask, Watcher

_TURNS = 5


@dataclass(frozen=True)
class SharedInputs:
    """A rank's part of the inputs of a batch that has `whole` rows."""

    inputs: Inputs
    whole: int


class WholeLosses(Watcher):
    """Adds up the losses of this rank's rows, and puts the mean over the rows of all ranks into the curve."""

    def __init__(self) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64)

    def add(self, loss: torch.Tensor, rows: int) -> None:
        """Count a batch."""
        self.sums += torch.stack([loss.detach().double() * rows, torch.tensor(float(rows), dtype=torch.float64)])

    def after_epoch(self, state: TrainingState) -> None:
        """Put the mean of the epoch into the curve."""
        torch.distributed.all_reduce(self.sums)
        state.course.loss[-1] = float(self.sums[0] / self.sums[1])
        self.sums = torch.zeros(2, dtype=torch.float64)


def ranked_task(task: TrainingTask, ranks: Ranks) -> tuple[TrainingTask, WholeLosses]:
    """Return the task of this rank, whose batches are those of `task` in the same order, and who watches its losses.

    Every rank judges all tuning rows, so that all of them take the same epoch for the best and stop alike.
    """
    wrapped, losses = ranks.wrap(task.module), WholeLosses()

    def batches() -> Iterator[Batch]:
        for inputs, labels in task.train():
            yield shared((inputs, labels), ranks)

    def call(module: nn.Module, inputs: Inputs) -> torch.Tensor:
        if isinstance(inputs, SharedInputs):
            return task.call(wrapped, inputs.inputs)
        return task.call(module, inputs)

    def objective(output: torch.Tensor, labels: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        if not isinstance(inputs, SharedInputs):
            return task.objective(output, labels, inputs)
        loss = task.objective(output, labels, inputs.inputs)
        losses.add(loss, len(labels))
        return loss * ranks.weight(len(labels), inputs.whole)

    return replace(task, train=batches, call=call, objective=objective), losses


def shared(batch: Batch, ranks: Ranks) -> Batch:
    """Return a rank's part of a batch whose inputs are a sequence of tensors."""
    inputs, labels = batch
    return SharedInputs([ranks.share(tensor) for tensor in inputs], len(labels)), ranks.share(labels)


def step_seconds(task: TrainingTask, batch: Batch) -> float:
    """Return the wall time of a forward and a backward pass with a batch, the median of some; leaves no trace."""
    inputs, labels = batch
    task.module.train()
    seconds = []
    with untouched(task.module):
        for turn in range(_TURNS + 1):
            began = time.perf_counter()
            task.objective(task.call(task.module, inputs), labels, inputs).backward()  # type: ignore[no-untyped-call]
            if turn:
                seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
