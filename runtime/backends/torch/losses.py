"""Losses of a model's first output against labels: classes, numbers, or a class for each pixel."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.nn import functional  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.determinism import tensor_of
from titrant.runtime.data.classes import NOT_JUDGED
from titrant.runtime.user_code import call, resolve
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_ONE_LOGIT = "binary_cross_entropy_with_logits"
# Losses of numbers: they compare probabilities with 1 for the row's class and 0 for the others (mse: Brier's score).
OF_NUMBERS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
LOSSES = ("cross_entropy", "nll_loss", _ONE_LOGIT, *OF_NUMBERS)


@dataclass(frozen=True)
class LossTerms:
    """What is said of a loss beside its name: see `loss_of`."""

    positive: int | None = None
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    numbers: bool = False  # the labels are numbers, no classes
    tokens: bool = False  # the labels are a token for each position


def loss_of(name: str, terms: LossTerms) -> LossFunction:
    """Return a mean loss of a batch by its name, or the user's own, `module:Name`, called with output and labels.

    A single number a row is about the class `positive`, as in judging (contract/answers.py), and without one about the
    second. With `class_weights` each row counts by the weight of its class and the sum is divided by the weights.
    `label_smoothing` is the share of the label that is spread over all classes (Szegedy et al. 2016). Raises StepError
    X150 where a user's loss is not found.
    """
    if ":" in name:
        return user_loss(name)
    if terms.numbers:
        return partial(_against_numbers, getattr(functional, name))
    if terms.tokens:
        return partial(_of_tokens, terms.label_smoothing)
    weights = None if terms.class_weights is None else torch.tensor(terms.class_weights)
    smoothing = terms.label_smoothing
    if name == "cross_entropy":
        return partial(functional.cross_entropy, weight=weights, label_smoothing=smoothing)
    if name == "nll_loss":
        # The logarithm of the softmax of log-probabilities is they themselves.
        return (
            partial(functional.cross_entropy, weight=weights, label_smoothing=smoothing)
            if smoothing
            else partial(functional.nll_loss, weight=weights)
        )
    if name == _ONE_LOGIT:
        return partial(_one_logit, terms, weights)
    return partial(_of_numbers, getattr(functional, name), terms.positive, weights)


def _against_numbers(compare: Callable[..., torch.Tensor], output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return compare(output.reshape(labels.shape), labels)


def _of_tokens(smoothing: float, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log-likelihood of the judged tokens; log-probabilities are logits of themselves."""
    return functional.cross_entropy(
        output.flatten(0, 1), labels.flatten(), ignore_index=NOT_JUDGED, label_smoothing=smoothing
    )


def _one_logit(
    terms: LossTerms, weights: torch.Tensor | None, output: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    target = (labels == logit_class(terms.positive)).to(output.dtype)
    if terms.label_smoothing:
        target = target * (1 - terms.label_smoothing) + terms.label_smoothing / 2
    logits = output.reshape(labels.shape)
    if weights is None:
        return functional.binary_cross_entropy_with_logits(logits, target)
    losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return _weighted_mean(losses, weights, labels)


def _of_numbers(
    compare: Callable[..., torch.Tensor],
    positive: int | None,
    weights: torch.Tensor | None,
    output: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    if output.numel() == len(labels):
        output = output.reshape(len(labels), 1)
        target = (labels == logit_class(positive)).to(output.dtype).reshape(len(labels), 1)
    else:
        target = functional.one_hot(labels, output.shape[1]).to(output.dtype)
    if weights is None:
        return compare(output, target)
    return _weighted_mean(compare(output, target, reduction="none").mean(1), weights, labels)


def _weighted_mean(losses: torch.Tensor, weights: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    each = weights.to(losses.device)[labels]
    return (losses * each).sum() / each.sum()


def user_loss(name: str) -> LossFunction:
    """Return the user's loss: a function of output and labels, or a class that is made without arguments.

    The loss raises StepError X108 where the user's code raises, X510 where it gives no number to learn from.
    """
    named = resolve(name)
    compare = call(f"{name}()", named) if isinstance(named, type) else named

    def loss(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        value = call(f"{name}(output, labels)", compare, output, labels)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
            advice = "return the mean over the batch, a tensor of one number"
            raise _no_loss(name, f"gives a {type(value).__name__}{shape}", advice)
        if output.requires_grad and not value.requires_grad:
            raise _no_loss(
                name, "gives a number without a gradient", "compute it with torch, without .item() or .detach()"
            )
        return value.reshape(())

    return loss


def _no_loss(name: str, what: str, advice: str) -> StepError:
    return StepError(Diagnostic("X510", f"the loss {name} {what}", help=advice))


def logit_class(positive: int | None) -> int:
    """Return the class that a single logit is about."""
    return 1 if positive is None else positive


def labels_of(rows: Rows) -> torch.Tensor:
    """Return the labels as (rows,) int64, numbers and boxes as (rows, …) float32, tokens and masks as (rows, …) int64.

    Raises StepError X202 when the rows have none.
    """
    if rows.targets is not None:
        whole = rows.targets.dtype.kind == "i"
        return tensor_of(rows.targets.astype(np.int64 if whole else np.float32), copy=True)
    if rows.labels is None:
        raise StepError(Diagnostic("X202", f"the {rows.role} rows have no labels to fit", help="set data.label"))
    return tensor_of(rows.labels.astype(np.int64), copy=True)


def check_output(loss: str, output: torch.Tensor, labels: torch.Tensor, weights: int | None = None) -> None:
    """Raise StepError X203 when the loss cannot compare this output with these labels; names both.

    `weights` is how many class weights there are. A user's own loss compares what it likes.
    """
    if ":" in loss:
        return
    if labels.is_floating_point():
        if output.numel() * len(labels) != labels.numel() * len(output):
            message = f"the labels are {_numbers(labels)} a row, and the model's first output is {tuple(output.shape)}"
            raise StepError(Diagnostic("X203", message, help="give a number for each of the label's"))
        return
    if labels.ndim == 3:
        _check_pixels(loss, output, labels, weights)
        return
    classes = int(labels.max()) + 1
    shape = tuple(output.shape)
    if labels.ndim > 1:
        if output.ndim != 3 or shape[1] != labels.shape[1] or shape[2] < classes:
            message = f"{loss} of tokens needs ({len(output)}, {labels.shape[1]}, {classes} or more), and the model's "
            message += f"first output is {shape}"
            advice = "return logits of all positions, of as many tokens as the tokenizer has"
            raise StepError(Diagnostic("X203", message, help=advice))
        return
    single = output.numel() == len(output)
    wide = output.ndim == 2 and output.shape[1] >= max(classes, 2)
    if loss == _ONE_LOGIT:
        wrong = not single or classes > 2
        expected, fix = "one logit a row and two classes", "use train.loss cross_entropy"
    else:
        wrong = not wide and not (loss in OF_NUMBERS and single and classes <= 2)
        expected = f"(batch, {max(classes, 2)}) or wider"
        fix = (
            "use train.loss binary_cross_entropy_with_logits"
            if single and classes <= 2
            else "set the number of classes in model.args, for instance to auto"
        )
    if wrong or not output.is_floating_point():
        raise StepError(
            Diagnostic(
                "X203",
                f"{loss} of {classes} classes needs {expected}, and the model's first output is {shape} {output.dtype}",
                help=fix,
            )
        )
    width = 2 if single else shape[1]
    if weights is not None and weights != width:
        message = f"there are {weights} class weights, and the model's first output {shape} is about {width} classes"
        raise StepError(Diagnostic("X203", message, help="set the number of classes in model.args, or take them out"))


def _check_pixels(loss: str, output: torch.Tensor, labels: torch.Tensor, weights: int | None) -> None:
    """Raise StepError X203 unless the output has a number for each class and pixel, or one logit for each pixel."""
    shape, pixels = tuple(output.shape), tuple(labels.shape[1:])
    classes = max(int(labels.max()) + 1, 2)
    fits = shape[2:] == pixels and output.ndim == labels.ndim + 1 and shape[1] >= classes
    expected = f"(batch, {classes}, {pixels[0]}, {pixels[1]}), more channels for more classes"
    if loss == _ONE_LOGIT:
        fits, expected = output.numel() * len(labels) == labels.numel() * len(output), f"(batch, 1, {pixels[0]}, …)"
    if not fits or not output.is_floating_point():
        message = f"{loss} of masks {pixels} needs {expected}, and the model's first output is {shape} {output.dtype}"
        advice = "let the model answer at the masks' size, or make masks of the answer's size in a data factory"
        raise StepError(Diagnostic("X203", message, help=advice))
    if weights is not None and loss != _ONE_LOGIT and weights != shape[1]:
        message = f"there are {weights} class weights, and the model's first output {shape} has {shape[1]} channels"
        raise StepError(Diagnostic("X203", message, help="set the number of classes in model.args, or take them out"))


def _numbers(labels: torch.Tensor) -> str:
    count = labels.numel() // max(len(labels), 1)
    return "1 number" if count == 1 else f"{count} numbers"


def correct(output: torch.Tensor, labels: torch.Tensor, positive: int | None, boundary: float = 0.0) -> int:
    """Count the rows whose class is right: the largest output, or for one number a row whether it is over `boundary`.

    See `loss_of` for the class that one number is about; the boundary of a probability is 0.5, of a logit 0.
    """
    if output.numel() == len(labels):
        return int((output.reshape(len(labels)).gt(boundary) == (labels == logit_class(positive))).sum())
    return int((output.argmax(1) == labels).sum())
