"""Losses of a model's first output against class labels."""

from collections.abc import Callable

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.nn import functional  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.determinism import tensor_of
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_ONE_LOGIT = "binary_cross_entropy_with_logits"


def loss_of(name: str, positive: int | None) -> LossFunction:
    """Return a loss by its name; where one logit is fitted, it is that of the class `positive`.

    As in judging (contract/answers.py) a single number is about the positive class, and without one about the second.
    """
    if name != _ONE_LOGIT:
        return {"cross_entropy": functional.cross_entropy, "nll_loss": functional.nll_loss}[name]

    def loss(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        target = (labels == logit_class(positive)).to(output.dtype)
        return functional.binary_cross_entropy_with_logits(output.reshape(len(labels)), target)

    return loss


def logit_class(positive: int | None) -> int:
    """Return the class that a single logit is about."""
    return 1 if positive is None else positive


def labels_of(rows: Rows) -> torch.Tensor:
    """Return the labels as (rows,) int64; StepError X202 when the rows have none."""
    if rows.labels is None:
        raise StepError(Diagnostic("X202", f"the {rows.role} rows have no labels to fit", help="set data.label"))
    return tensor_of(rows.labels.astype(np.int64), copy=True)


def check_output(loss: str, output: torch.Tensor, labels: torch.Tensor) -> None:
    """Raise StepError X203 when the loss cannot compare this output with these labels; names both."""
    classes = int(labels.max()) + 1
    shape = tuple(output.shape)
    if loss == _ONE_LOGIT:
        wrong = output.numel() != len(output) or classes > 2
        expected, fix = "one logit a row and two classes", "use train.loss cross_entropy"
    else:
        wrong = output.ndim != 2 or output.shape[1] < max(classes, 2)
        expected = f"(batch, {max(classes, 2)}) or wider"
        single = output.numel() == len(output) and classes <= 2
        fix = (
            "use train.loss binary_cross_entropy_with_logits"
            if single
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


def correct(output: torch.Tensor, labels: torch.Tensor, positive: int | None) -> int:
    """Count the rows whose class is right: the largest output, or for one logit a row its sign, see `loss_of`."""
    if output.numel() == len(labels):
        return int((output.reshape(len(labels)).gt(0) == (labels == logit_class(positive))).sum())
    return int((output.argmax(1) == labels).sum())
