"""Train a live model by the loop that recipes are trained by."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from titrant.runtime.training.task import TrainingSettings, TrainingState, TrainingTask, Watcher

if TYPE_CHECKING:
    import torch

    from titrant.runtime.training.task import Batch

__all__ = ["FitResult", "TrainingSettings", "TrainingState", "Watcher", "fit"]


@dataclass(frozen=True)
class FitResult:
    """A trained model, in evaluation mode with the weights that are kept.

    `curves` holds `loss`, `tuning_loss` and `tuning_accuracy`, one number an epoch ([] for what was not there),
    `best_epoch`, counted from 0, and `sweep` of a learning-rate finder.
    """

    model: "torch.nn.Module"
    curves: Mapping[str, Any]
    seconds: float


def fit(
    model: "torch.nn.Module",
    loader: "Iterable[Any]",
    *,
    tuning: "Iterable[Any] | None" = None,
    loss: "str | Callable[[Any, torch.Tensor], torch.Tensor]" = "cross_entropy",
    settings: TrainingSettings | None = None,
    watchers: Sequence[Watcher] = (),
) -> FitResult:
    """Train a model in place on batches, and keep the weights of the epoch that was best on `tuning`.

    A batch is `(inputs, labels)`; inputs are a tensor, a tuple that the model takes by place, or a mapping that it
    takes by name, and are moved to the device of the model. `loader` and `tuning` are passed over once an epoch.
    Without `tuning` the last weights are kept. A named loss reads the first tensor of the answer, one of your own all
    of it; then there is no tuning accuracy.

    Raises RecipeError X231 for settings that are out of range; ValueError for a loss of no such name, batches that are
    no pairs of tensors, a model without trainable parameters, and settings that need `tuning` or `len(loader)` where
    that is not there; StepError X205 for a loss that diverges,
    X510 and X511 for a loss and a learning-rate search that do not work, X512 for batches that are empty or can be read
    only once.
    """
    return run_task(live_task(model, loader, tuning=tuning, loss=loss, settings=settings), model, watchers)


def live_task(
    model: "torch.nn.Module",
    loader: "Iterable[Any]",
    *,
    tuning: "Iterable[Any] | None",
    loss: "str | Callable[[Any, torch.Tensor], torch.Tensor]",
    settings: TrainingSettings | None,
) -> TrainingTask:
    """Return what `fit` trains; it raises what is wrong with the settings."""
    from titrant.runtime import catalog
    from titrant.runtime.api import check_params
    from titrant.runtime.backends.torch.losses import LOSSES, OF_NUMBERS, LossTerms, correct, loss_of

    said = settings or TrainingSettings()
    if isinstance(loss, str) and loss not in LOSSES and ":" not in loss:
        raise ValueError(f"there is no loss {loss!r}: the losses are {', '.join(LOSSES)}, or a function of your own")
    check_params(catalog.get("train.fit"), asdict(said))
    batches = _length(loader)
    _refuse_missing(said, batches, judged=tuning is not None, accuracy=isinstance(loss, str))
    compare = loss_of(loss, LossTerms()) if isinstance(loss, str) else loss
    boundary = 0.5 if loss in OF_NUMBERS else 0.0
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise ValueError("the model has no trainable parameters")
    return TrainingTask(
        module=model,
        train=lambda: (_batch(batch, weights[0].device) for batch in loader),
        tuning=None if tuning is None else lambda: (_batch(batch, weights[0].device) for batch in tuning),
        objective=lambda output, labels, _: compare(output, labels),
        settings=said,
        generator=None,
        call=partial(answer, first=isinstance(loss, str)),
        right=partial(correct, positive=None, boundary=boundary) if isinstance(loss, str) else None,
        progress=lambda *_: None,
        batches=batches,
    )


def run_task(task: TrainingTask, model: "torch.nn.Module", watchers: Sequence[Watcher]) -> FitResult:
    """Train a task's module, which is the model or holds it, and keep the best weights."""
    from titrant.runtime.training.loop import train

    began = time.monotonic()
    course = train(task, watchers)
    if course.best_weights:
        task.module.load_state_dict(course.best_weights)
    model.eval()
    return FitResult(model, course.curves(), time.monotonic() - began)


def _refuse_missing(settings: TrainingSettings, batches: int | None, *, judged: bool, accuracy: bool) -> None:
    from titrant.runtime.training.schedules import EACH_STEP

    if not judged and (settings.early_stop or settings.schedule == "plateau"):
        raise ValueError("early_stop and the schedule plateau watch tuning batches: give `tuning`")
    if judged and settings.metric == "tuning accuracy" and not accuracy:
        raise ValueError("a loss of your own has no tuning accuracy: leave metric at 'tuning loss'")
    if batches is None and settings.schedule in EACH_STEP:
        raise ValueError(f"the schedule {settings.schedule} has to know the steps: give a loader that has a length")


def _length(loader: Iterable[Any]) -> int | None:
    try:
        return len(loader)  # type: ignore[arg-type]
    except TypeError:  # an IterableDataset's loader has the method, and it raises
        return None


def _batch(batch: Any, place: "torch.device") -> "Batch":
    """Return the inputs and the labels of a batch, where the model is."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        form = f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list)) else type(batch).__name__
        raise ValueError(f"a batch is a pair of inputs and labels, and this one is a {form}")
    return _moved(batch[0], place), _moved(batch[1], place)


def _moved(value: Any, place: "torch.device") -> Any:
    if isinstance(value, Mapping):
        return {name: _moved(item, place) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_moved(item, place) for item in value)
    if not hasattr(value, "to"):
        raise ValueError(f"a batch holds tensors, and this one a {type(value).__name__}: torch.as_tensor makes one")
    return value.to(place, non_blocking=True)


def answer(module: "torch.nn.Module", inputs: Any, *, first: bool) -> Any:
    """Answer a batch's inputs, taken by place or by name; with `first` by the first tensor of the answer alone."""
    from titrant.runtime.backends.torch.call import named

    if isinstance(inputs, Mapping):
        answered = module(**inputs)
    else:
        answered = module(*inputs) if isinstance(inputs, tuple) else module(inputs)
    return next(iter(named(answered, ("output",)).values())) if first else answered
