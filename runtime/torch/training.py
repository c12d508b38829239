"""Fit a module's weights, the same way every time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.catalog import Context
from titrant.runtime.engines.inputs import checked
from titrant.runtime.torch.calling import call, named
from titrant.runtime.torch.layout import tensor_of
from titrant.runtime.torch.losses import Loss, check_output, correct, labels_of, loss_of
from titrant.runtime.torch.settled import settled
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.first_line import first_line

if TYPE_CHECKING:
    from titrant.runtime.operators.train_fit import FitParams

# Rows answered at once when nothing is learned from them.
TUNING_BATCH = 256


@dataclass(frozen=True)
class Batches:
    """One role as tensors, in the order of the model's inputs; `positive` is the class that one logit is about."""

    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    positive: int | None

    def take(self, rows: torch.Tensor | slice) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return some rows."""
        return [tensor[rows] for tensor in self.inputs], self.labels[rows]


@dataclass
class Course:
    """What training has come to: the curves, and the weights of the best epoch."""

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


def fit(
    model: TorchModel, train: Rows, tuning: Rows, params: "FitParams", context: Context
) -> tuple[TorchModel, dict[str, Any]]:
    """Fit the module in place and return it in eval mode with the best epoch's weights, and the curves."""
    seed = int(context.generator.integers(2**63))
    with settled(context.threads, seed, deterministic=params.deterministic):
        rows, judged = _batches(model, train), _batches(model, tuning)
        _try(model, rows, params.loss)
        try:
            course = _run(model, rows, judged, params, context)
        except RuntimeError as error:
            raise _explained(error) from error
    model.module.load_state_dict(course.best_weights)
    model.module.eval()
    context.measure("final_loss", course.loss[-1])
    context.measure("best_epoch", course.best_epoch)
    context.measure("tuning_accuracy", course.tuning_accuracy[course.best_epoch])
    return replace(model), course.curves()


def _run(model: TorchModel, train: Batches, tuning: Batches, params: "FitParams", context: Context) -> Course:
    module, loss = model.module, loss_of(params.loss, train.positive)
    optimizer = make_optimizer(params, [weight for weight in module.parameters() if weight.requires_grad])
    patience = params.patience or max(1, params.epochs // 5)
    course = Course()
    for epoch in range(params.epochs):
        module.train()
        order = torch.from_numpy(context.generator.permutation(len(train.labels)))
        course.loss.append(_epoch(model, train, loss, optimizer, torch.split(order, params.batch_size)))
        module.eval()
        tuning_loss, accuracy = _judge(model, tuning, loss)
        course.tuning_loss.append(tuning_loss)
        course.tuning_accuracy.append(accuracy)
        _check_finite(course, epoch, params)
        if epoch == 0 or _better(course, params.metric):
            course.best_epoch = epoch
            course.best_weights = {name: value.detach().clone() for name, value in module.state_dict().items()}
        note = f"loss {course.loss[-1]:.4f}, tuning loss {tuning_loss:.4f}, tuning accuracy {accuracy:.3f}"
        context.progress(epoch + 1, params.epochs, note)
        if params.early_stop and epoch - course.best_epoch >= patience:
            break
    return course


def _epoch(
    model: TorchModel,
    train: Batches,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    order: Sequence[torch.Tensor],
) -> float:
    """Learn from every row once, batch by batch; return the mean loss."""
    total = torch.zeros((), dtype=torch.float64)
    for rows in _without_single(order):
        inputs, labels = train.take(rows)
        optimizer.zero_grad(set_to_none=True)
        value = loss(_first(model, inputs), labels)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += value.detach().double() * len(labels)
    return float(total) / len(train.labels)


def _judge(model: TorchModel, tuning: Batches, loss: Loss) -> tuple[float, float]:
    """Return mean loss and accuracy on tuning rows."""
    total, right, rows = 0.0, 0, len(tuning.labels)
    with torch.inference_mode():
        for start in range(0, rows, TUNING_BATCH):
            inputs, labels = tuning.take(slice(start, start + TUNING_BATCH))
            output = _first(model, inputs)
            total += float(loss(output, labels)) * len(labels)
            right += correct(output, labels, tuning.positive)
    return total / rows, right / rows


def make_optimizer(params: "FitParams", weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Create the named optimizer of torch.optim; its other settings are torch's."""
    classes = {name.lower(): getattr(torch.optim, name) for name in torch.optim.__all__ if name[0].isupper()}
    made: torch.optim.Optimizer = classes[params.optimizer](
        weights, lr=params.learning_rate, weight_decay=params.weight_decay
    )
    return made


def _batches(model: TorchModel, rows: Rows) -> Batches:
    if len(rows) == 0:
        raise StepError(
            Diagnostic("X202", f"there are no {rows.role} rows", help=f"give {rows.role} rows in data.split")
        )
    arrays = checked(model.inputs, rows.inputs).values()
    return Batches(tuple(tensor_of(array, copy=True) for array in arrays), labels_of(rows), rows.positive)


def _try(model: TorchModel, train: Batches, loss: str) -> None:
    """Answer two rows first, so that a misfit is told as such and not as a failure in mid-training."""
    inputs, labels = train.take(slice(0, 2))
    with torch.inference_mode():
        answer = call(model.module.eval(), [tensor.numpy() for tensor in inputs])
    first = next(iter(named(answer, model.outputs[:1] or ("output",)).values()))
    check_output(loss, first, train.labels if len(first) == len(labels) else labels)


def _first(model: TorchModel, inputs: list[torch.Tensor]) -> torch.Tensor:
    return next(iter(named(model.module(*inputs), model.outputs[:1] or ("output",)).values()))


def _without_single(batches: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Let a single row left over join the batch before it: batch normalization needs two."""
    if len(batches) < 2 or len(batches[-1]) > 1:
        return batches
    return (*batches[:-2], torch.cat(list(batches[-2:])))


def _better(course: Course, metric: str) -> bool:
    if metric == "tuning accuracy":
        return course.tuning_accuracy[-1] > course.tuning_accuracy[course.best_epoch]
    return course.tuning_loss[-1] < course.tuning_loss[course.best_epoch]


def _check_finite(course: Course, epoch: int, params: "FitParams") -> None:
    for name, value in (("loss", course.loss[-1]), ("tuning loss", course.tuning_loss[-1])):
        if not math.isfinite(value):
            raise StepError(
                Diagnostic(
                    "X205",
                    f"the {name} is {value} after epoch {epoch + 1} of {params.epochs}",
                    help=f"lower train.learning_rate (it is {params.learning_rate:g}), or standardize the inputs",
                )
            )


def _explained(error: RuntimeError) -> StepError:
    text = first_line(error)
    if "deterministic" in text:
        return StepError(
            Diagnostic(
                "X218",
                f"the model uses an operation that does not repeat its result: {text}",
                help="replace the operation, or set reproducibility.deterministic to false",
            )
        )
    advice = "take a step with such a batch outside titrant, and mend the model there"
    return StepError(Diagnostic("X221", f"training failed: {text}", help=advice))
