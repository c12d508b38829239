"""What is trained, how, the state of it, and who watches."""

from collections.abc import Callable, Iterable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - its very subject

from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

Inputs = Any  # what a task's `call` takes
Batch = tuple[Inputs, torch.Tensor]
# From the output, the labels and the inputs of a batch to its mean loss, a tensor of one number.
BatchLoss = Callable[[torch.Tensor, torch.Tensor, Inputs], torch.Tensor]


@dataclass(frozen=True)
class TaughtInputs:
    """Inputs of a batch with what finds a teacher's answers to them: row numbers, or inputs in its own form."""

    inputs: Inputs
    asked: Any


@dataclass(frozen=True)
class TrainingSettings:
    """How weights are moved; what the names mean is said in `train.fit`, which has them too."""

    epochs: int = 20
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    momentum: float | None = None  # of optimizers that have one
    schedule: str | None = None
    gradient_clip: float | None = None
    accumulate: int = 1
    early_stop: bool = False
    patience: int | None = None  # None: a fifth of the epochs, at least 1
    metric: str = "tuning loss"
    find_learning_rate: bool = False
    keep_zeros: bool = False
    precision: str = "fp32"  # of the forward and backward pass: fp32, bf16, fp16
    gradient_checkpointing: float = 0.0
    offload_above_bytes: int | None = None  # kept activations in memory before others go to the disk; None: all

    @property
    def waits(self) -> int:
        """Epochs without improvement before training stops."""
        return self.patience or max(1, self.epochs // 5)


@dataclass(frozen=True)
class TrainingTask:
    """What is trained on what, by which loss.

    `train` and `tuning` give the batches of one pass, `train` in a new order each time; rows stand first in labels.
    `batches` is how many `train` gives, None where nobody knows. Without `tuning` the last weights are kept. `call`
    answers the inputs with the tensor that `objective` takes; `right` counts a batch's right rows. Whatever is random
    comes from `generator` or torch's own. Files lie in `scratch`, without
    it where the system has temporary ones.
    """

    module: torch.nn.Module
    train: Callable[[], Iterable[Batch]]
    tuning: Callable[[], Iterable[Batch]] | None
    objective: BatchLoss
    settings: TrainingSettings
    generator: "np.random.Generator | None"
    call: Callable[[torch.nn.Module, Inputs], torch.Tensor]
    right: Callable[[torch.Tensor, torch.Tensor], int] | None
    progress: Callable[[float, float, str], None]
    batches: int | None = None
    scratch: Path | None = None

    @property
    def steps(self) -> int:
        """Steps of the optimizer in all epochs; 0 where nobody knows."""
        return self.settings.epochs * -(-(self.batches or 0) // self.settings.accumulate)


@dataclass
class Course:
    """The curves of a training so far, one number an epoch, and the weights of the best epoch, counted from 0."""

    loss: list[float] = field(default_factory=list)
    tuning_loss: list[float] = field(default_factory=list)
    tuning_accuracy: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    first_loss: float | None = None  # of the first batch, before anything was learned
    skipped_steps: int = 0  # by the scaler, since a gradient was not finite in fp16
    sweep: dict[str, Any] | None = None  # what the learning-rate finder saw
    gradients: dict[str, Any] = field(default_factory=dict)  # what a watcher of them saw

    def curves(self) -> dict[str, Any]:
        """Return the curves as JSON."""
        return {
            "loss": self.loss,
            "tuning_loss": self.tuning_loss,
            "tuning_accuracy": self.tuning_accuracy,
            "best_epoch": self.best_epoch,
            **({} if self.sweep is None else {"sweep": self.sweep}),
            **({"gradients": self.gradients} if self.gradients else {}),
        }


@dataclass
class TrainingState:
    """All that changes while a module is trained: who restores it goes on as if nothing had happened.

    `epoch` counts the epochs that are done, `step` the steps of the optimizer.
    """

    task: TrainingTask
    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    generator: "np.random.Generator | None"
    course: Course
    scheduler: Any = None
    scaler: Any = None
    epoch: int = 0
    step: int = 0


class Watcher:
    """Is told how a training goes on; each method does nothing unless it is overridden."""

    def started(self, state: TrainingState) -> None:
        """Before the first epoch; it may set the state to where an earlier training was."""

    def after_backward(self, state: TrainingState) -> None:
        """Once a step of the optimizer: the gradients are whole, unscaled and not yet clipped."""

    def after_step(self, state: TrainingState) -> None:
        """After the weights have moved."""

    def after_epoch(self, state: TrainingState) -> None:
        """After an epoch has been judged on tuning rows and the learning rate has moved."""

    def ended(self, state: TrainingState) -> None:
        """At the end, also of a training that raises."""


class ZerosKept(Watcher):
    """Sets weights that were 0 at the start to 0 after each step: a mask stays. Vectors, such as biases, move."""

    def started(self, state: TrainingState) -> None:
        """Note the zeros."""
        weights = [weight for weight in state.module.parameters() if weight.requires_grad and weight.ndim > 1]
        zeros = [(weight, weight.detach() == 0) for weight in weights]
        self._zeros = [(weight, places) for weight, places in zeros if bool(places.any())]

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:  # noqa: ARG002 - what a watcher is given
        """Put them back."""
        for weight, places in self._zeros:
            weight.masked_fill_(places, 0)
