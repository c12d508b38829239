"""Estimate anew what batch norms subtract and divide by: a removed block changes it for all that comes after."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.nn.modules.batchnorm import _BatchNorm  # noqa: TID253

from titrant.runtime.backends.session import insisted_batch
from titrant.runtime.backends.torch.call import call, example_arrays
from titrant.runtime.values import Rows, TorchModel

_BATCH = 64


def norms_of(module: torch.nn.Module) -> list[_BatchNorm]:
    """Return the batch norms that keep a running mean and variance."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]


def estimate_norms(model: TorchModel, rows: Rows) -> None:
    """Give every batch norm the mean and variance of what these rows bring to it, in place; all is left in eval mode.

    The mean over batches of at most 64 rows, as torch keeps it with a momentum of None. A norm that no row comes to
    stays as it is, and so do all where only one row is answered at once, which has no variance.
    """
    norms = norms_of(model.module)
    if len(rows) < 2 or insisted_batch(model.inputs) == 1 or not norms:
        return
    before = {norm: ({name: value.clone() for name, value in norm.named_buffers()}, norm.momentum) for norm in norms}
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        with torch.no_grad():
            for places in np.array_split(np.arange(len(rows)), math.ceil(len(rows) / _BATCH)):
                call(model.module, example_arrays(model, rows.some(places), len(places)))
    finally:
        for norm, (buffers, momentum) in before.items():
            norm.momentum = momentum
            norm.eval()
            if not norm.num_batches_tracked:
                _put_back(norm, buffers)


@contextmanager
def norms_kept(module: torch.nn.Module) -> Iterator[None]:
    """Put the batch norms back as they were, at the end."""
    before = {norm: {name: value.clone() for name, value in norm.named_buffers()} for norm in norms_of(module)}
    try:
        yield
    finally:
        for norm, buffers in before.items():
            _put_back(norm, buffers)


def _put_back(norm: _BatchNorm, buffers: dict[str, torch.Tensor]) -> None:
    for name, value in buffers.items():
        norm.get_buffer(name).copy_(value)
