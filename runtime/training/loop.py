"""Train a module: what the loop is given, the loop, its curves, and who watches it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - its very subject

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

Inputs = Sequence[torch.Tensor]
Batch = tuple[Inputs, torch.Tensor]
# From the output, the labels and the inputs of a batch to its mean loss, a tensor of one number.
BatchLoss = Callable[[torch.Tensor, torch.Tensor, Inputs], torch.Tensor]


@dataclass(frozen=True)
class TrainingSettings:
    """How weights are moved; the names and defaults are those of `train.fit`."""

    epochs: int = 20
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    early_stop: bool = True
    patience: int | None = None  # None: a fifth of the epochs, at least 1
    metric: str = "tuning loss"


@dataclass(frozen=True)
class TrainingTask:
    """What is trained on what, by which loss.

    `train` and `tuning` give the batches of one pass, `train` in a new order each time; rows stand first in inputs
    and labels. `call` answers the inputs with the tensor that `objective` takes; `right` counts a batch's right rows.
    Whatever is random comes from `generator` or torch's own.
    """

    module: torch.nn.Module
    train: Callable[[], Iterable[Batch]]
    tuning: Callable[[], Iterable[Batch]]
    objective: BatchLoss
    settings: TrainingSettings
    generator: "np.random.Generator"
    call: Callable[[torch.nn.Module, Inputs], torch.Tensor]
    right: Callable[[torch.Tensor, torch.Tensor], int]
    progress: Callable[[float, float, str], None]


@dataclass
class Course:
    """The curves of a training so far, one number an epoch, and the weights of the best epoch, counted from 0."""

    loss: list[float] = field(default_factory=list)
    tuning_loss: list[float] = field(default_factory=list)
    tuning_accuracy: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def curves(self) -> dict[str, Any]:
        """Return the curves as JSON."""
        return {
            "loss": self.loss,
            "tuning_loss": self.tuning_loss,
            "tuning_accuracy": self.tuning_accuracy,
            "best_epoch": self.best_epoch,
        }


@dataclass
class TrainingState:
    """All that changes while a module is trained: who restores it goes on as if nothing had happened.

    `epoch` counts the epochs that are done, `step` the steps of the optimizer.
    """

    task: TrainingTask
    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    generator: "np.random.Generator"
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


def train(task: TrainingTask, watchers: Sequence[Watcher] = ()) -> Course:
    """Train the module in place and return its curves and best weights; the module is left with its last weights.

    Raises StepError X205 when a loss is no longer finite.
    """
    weights = [weight for weight in task.module.parameters() if weight.requires_grad]
    state = TrainingState(task, task.module, make_optimizer(task.settings, weights), task.generator, Course())
    try:
        for watcher in watchers:
            watcher.started(state)
        while state.epoch < task.settings.epochs and not _waited(state):
            _epoch(state, watchers)
    finally:
        for watcher in watchers:
            watcher.ended(state)
    return state.course


def make_optimizer(settings: TrainingSettings, weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Create the named optimizer of torch.optim; its other settings are torch's."""
    classes = {name.lower(): getattr(torch.optim, name) for name in torch.optim.__all__ if name[0].isupper()}
    made: torch.optim.Optimizer = classes[settings.optimizer](
        weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return made


def _epoch(state: TrainingState, watchers: Sequence[Watcher]) -> None:
    """Learn from every row once and judge the weights on tuning rows."""
    task, course = state.task, state.course
    state.module.train()
    course.loss.append(_learn(state, watchers))
    state.module.eval()
    tuning_loss, accuracy = _judge(task)
    course.tuning_loss.append(tuning_loss)
    course.tuning_accuracy.append(accuracy)
    _check_finite(state)
    if state.epoch == 0 or _better(course, task.settings.metric):
        course.best_epoch = state.epoch
        course.best_weights = {name: value.detach().clone() for name, value in state.module.state_dict().items()}
    state.epoch += 1
    note = f"loss {course.loss[-1]:.4f}, tuning loss {tuning_loss:.4f}, tuning accuracy {accuracy:.3f}"
    task.progress(state.epoch, task.settings.epochs, note)
    for watcher in watchers:
        watcher.after_epoch(state)


def _learn(state: TrainingState, watchers: Sequence[Watcher]) -> float:
    """Move the weights batch by batch; return the mean loss of a row."""
    total, rows = torch.zeros((), dtype=torch.float64), 0
    for inputs, labels in state.task.train():
        state.optimizer.zero_grad(set_to_none=True)
        loss = state.task.objective(state.task.call(state.module, inputs), labels, inputs)
        loss.backward()  # type: ignore[no-untyped-call]
        for watcher in watchers:
            watcher.after_backward(state)
        state.optimizer.step()
        state.step += 1
        for watcher in watchers:
            watcher.after_step(state)
        total += loss.detach().double() * len(labels)
        rows += len(labels)
    return float(total) / rows


def _judge(task: TrainingTask) -> tuple[float, float]:
    """Return mean loss and accuracy on tuning rows."""
    total, right, rows = 0.0, 0, 0
    with torch.inference_mode():
        for inputs, labels in task.tuning():
            output = task.call(task.module, inputs)
            total += float(task.objective(output, labels, inputs)) * len(labels)
            right += task.right(output, labels)
            rows += len(labels)
    return total / rows, right / rows


def _waited(state: TrainingState) -> bool:
    """Whether the best epoch lies so far back that training stops."""
    settings, course = state.task.settings, state.course
    patience = settings.patience or max(1, settings.epochs // 5)
    return settings.early_stop and len(course.loss) - 1 - course.best_epoch >= patience


def _better(course: Course, metric: str) -> bool:
    if metric == "tuning accuracy":
        return course.tuning_accuracy[-1] > course.tuning_accuracy[course.best_epoch]
    return course.tuning_loss[-1] < course.tuning_loss[course.best_epoch]


def _check_finite(state: TrainingState) -> None:
    settings, course = state.task.settings, state.course
    for name, value in (("loss", course.loss[-1]), ("tuning loss", course.tuning_loss[-1])):
        if not math.isfinite(value):
            raise StepError(
                Diagnostic(
                    "X205",
                    f"the {name} is {value} after epoch {state.epoch + 1} of {settings.epochs}",
                    help=f"lower train.learning_rate (it is {settings.learning_rate:g}), or standardize the inputs",
                )
            )
