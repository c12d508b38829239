"""The rows of one role as the tensors that a module takes, and their numbers batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.session import checked
from titrant.runtime.backends.torch.arguments import Arguments, arguments_of
from titrant.runtime.backends.torch.call import named
from titrant.runtime.backends.torch.determinism import tensor_of
from titrant.runtime.backends.torch.losses import labels_of
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Batches:
    """One role as tensors, in the order of the model's inputs; `scored` is the class that one logit is about.

    `classes` says that the labels are classes.
    """

    arguments: Arguments
    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    scored: int
    classes: bool = True

    def take(self, rows: torch.Tensor | slice) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return some rows, the inputs as copies: a forward may write into them."""
        taken = [tensor[rows] for tensor in self.inputs]
        return [tensor.clone() for tensor in taken] if isinstance(rows, slice) else taken, self.labels[rows]

    def numbers(
        self, size: int, processes: int, generator: "np.random.Generator | None" = None
    ) -> Sequence[torch.Tensor]:
        """Return the numbers of all rows, batch by batch of `size`, in a new order where a generator draws one.

        Too few left over join the batch before: batch norm needs two in each process.
        """
        count = len(self.labels)
        order = torch.arange(count) if generator is None else torch.from_numpy(generator.permutation(count))
        batches = order.split(size)
        if len(batches) < 2 or len(batches[-1]) >= 2 * processes:
            return batches
        return (*batches[:-2], torch.cat(list(batches[-2:])))


def batches_of(model: TorchModel, rows: Rows) -> Batches:
    """Return a role's rows as a model takes them; StepError X202 where there are none, X201 where they do not fit."""
    if len(rows) == 0:
        raise StepError(
            Diagnostic("X202", f"there are no {rows.role} rows", help=f"give {rows.role} rows in data.split")
        )
    arrays = checked(model.inputs, rows.inputs)
    arguments = arguments_of(model.module, tuple(arrays))
    tensors = tuple(tensor_of(array, copy=True) for array in arrays.values())
    return Batches(arguments, tensors, labels_of(rows), rows.scored, rows.labels is not None)


def first_output(model: TorchModel, answer: Any) -> torch.Tensor:
    """Return the first output of what a module answers."""
    return next(iter(named(answer, model.outputs[:1] or ("output",)).values()))
