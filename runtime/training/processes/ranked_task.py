"""Turn a training into one rank's part of it: its rows of each batch, averaged gradients, the losses of all rows."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253

from titrant.runtime.training.loop import step_groups
from titrant.runtime.training.memory.activation_memory import untouched
from titrant.runtime.training.processes.ranks import Ranks
from titrant.runtime.training.task import Batch, Inputs, TaughtInputs, TrainingState, TrainingTask, Watcher

_TURNS = 5


@dataclass(frozen=True)
class SharedInputs:
    """A rank's part of the inputs of a batch, by what its mean loss counts, and whether a step follows it."""

    inputs: Inputs
    weight: float
    steps: bool = True


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
    copies = wrapped if isinstance(wrapped, nn.parallel.DistributedDataParallel) else None

    def batches() -> Iterator[Batch]:
        for group in step_groups(task.train(), task.settings.accumulate):
            yield from shared_group(group, ranks)

    def call(module: nn.Module, inputs: Inputs) -> torch.Tensor:
        if not isinstance(inputs, SharedInputs):
            return task.call(module, inputs)
        # Gradients are averaged once a step: its last forward pass prepares for that.
        with nullcontext() if copies is None or inputs.steps else copies.no_sync():
            return task.call(wrapped, inputs.inputs)

    def objective(output: torch.Tensor, labels: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        if not isinstance(inputs, SharedInputs):
            return task.objective(output, labels, inputs)
        loss = task.objective(output, labels, inputs.inputs)
        losses.add(loss, len(labels))
        return loss * inputs.weight

    return replace(task, train=batches, call=call, objective=objective), losses


def shared(batch: Batch, ranks: Ranks) -> Batch:
    """Return a rank's part of a batch whose inputs are a sequence of tensors."""
    return shared_group([batch], ranks)[0]


def shared_group(group: Sequence[Batch], ranks: Ranks) -> list[Batch]:
    """Return a rank's parts of the batches of a step.

    The loop weighs each by its share of this rank's rows in the step; what is left is the rank's share of all rows.
    """
    own = [ranks.share(labels) for _, labels in group]
    weight = ranks.weight(sum(map(len, own)), sum(len(labels) for _, labels in group))
    parts = [_shared(inputs, ranks) for inputs, _ in group]
    last = len(group) - 1
    return [
        (SharedInputs(part, weight, place == last), labels)
        for place, (part, labels) in enumerate(zip(parts, own, strict=True))
    ]


def _shared(inputs: Inputs, ranks: Ranks) -> Inputs:
    if isinstance(inputs, TaughtInputs):
        return TaughtInputs(_shared(inputs.inputs, ranks), ranks.share(inputs.asked))
    return [ranks.share(tensor) for tensor in inputs]


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
