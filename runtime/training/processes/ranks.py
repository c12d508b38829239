"""Who is which rank of several processes, one seed for all of them, and how they share a batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253

from titrant.runtime.seed import set_seed

# Where our own launcher says that ranks meet; torchrun names an address instead.
MEETING = "TITRANT_RANKS_FILE"
# After which a rank that waits for the others gives up; one that dies is noticed at once.
_PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together: rank 0..size - 1, and the seed of its random numbers."""

    rank: int
    size: int
    seed: int

    @property
    def writes(self) -> bool:
        """Whether this is the one rank that writes files and prints."""
        return self.rank == 0

    def share(self, rows: Any) -> Any:
        """Return this rank's part of n rows: from n * rank // size to before n * (rank + 1) // size."""
        count = len(rows)
        return rows[count * self.rank // self.size : count * (self.rank + 1) // self.size]

    def weight(self, rows: int, whole: int) -> float:
        """Return by what a mean loss of `rows` rows counts, so that averaged gradients are those of the whole batch."""
        return rows * self.size / whole

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module with its gradients averaged over the ranks in the backward pass; itself where it is alone.

        Batch norms compute with the whole batch. The weights are those of rank 0.
        """
        if self.size == 1:
            return module
        synchronize_batch_norm(module)
        return nn.parallel.DistributedDataParallel(module, broadcast_buffers=False)


@contextmanager
def distributed(seed: int = 0) -> Iterator[Ranks]:
    """Join the other processes of a training, and leave them at the end; alone where nobody started several.

    `torchrun` says who is which rank. The backend is gloo on a CPU and nccl where every rank has a GPU. One seed
    governs all: Python, NumPy and torch of rank 0 are seeded with it, others with what follows from it and their rank,
    and workers of a DataLoader from their rank's torch. Raises ValueError for a seed that `set_seed` refuses.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    own = rank_seed(seed, rank)
    set_seed(own, deterministic=False)
    if size == 1:
        yield Ranks(0, 1, own)
        return
    local = int(os.environ.get("LOCAL_RANK", rank))
    cuda = torch.cuda.device_count() > local
    if cuda:
        torch.cuda.set_device(local)
    meeting = os.environ.get(MEETING)
    torch.distributed.init_process_group(
        "nccl" if cuda else "gloo",
        init_method="env://" if meeting is None else f"file://{meeting}",
        rank=rank,
        world_size=size,
        timeout=_PATIENCE,
    )
    try:
        yield Ranks(rank, size, own)
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def rank_seed(seed: int, rank: int) -> int:
    """Return the seed of a rank: rank 0 has the seed itself."""
    if rank == 0:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(rank,)).generate_state(1, np.uint64)[0]) >> 1


class _Summed(torch.autograd.Function):
    """Adds a tensor up over the ranks; so do gradients on their way back."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:  # noqa: ARG004 - as torch calls it
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # noqa: ARG004
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


class _WholeBatchNorm:
    """A batch norm's forward with the mean and variance of all ranks' rows; torch has it for GPUs alone."""

    def __init__(self, module: nn.modules.batchnorm._BatchNorm) -> None:
        self.module = module

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        module = self.module
        if not module.training:
            return type(module).forward(module, x)
        dims = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        count = torch.full((1,), float(x.numel() // x.shape[1]), dtype=x.dtype, device=x.device)
        totals = _Summed.apply(torch.cat([x.sum(dims), count]))
        rows = totals[-1].detach()
        mean = totals[:-1] / rows
        centered = x - mean.view(shape)
        variance = _Summed.apply(centered.square().sum(dims)) / rows
        self._follow(mean.detach(), variance.detach() * rows / (rows - 1))
        answer = centered * torch.rsqrt(variance + module.eps).view(shape)
        if module.affine:
            answer = answer * module.weight.view(shape) + module.bias.view(shape)
        return answer

    @torch.no_grad()
    def _follow(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        module = self.module
        if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
            return
        module.num_batches_tracked += 1
        share = 1 / float(module.num_batches_tracked) if module.momentum is None else module.momentum
        module.running_mean.lerp_(mean, share)
        module.running_var.lerp_(variance, share)


def synchronize_batch_norm(module: nn.Module) -> None:
    """Let every batch norm in a module compute with the rows of all ranks while it trains."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.forward = _WholeBatchNorm(part)  # type: ignore[assignment]


def leave_batch_norm(module: nn.Module) -> None:
    """Undo `synchronize_batch_norm`."""
    for part in module.modules():
        if isinstance(part.__dict__.get("forward"), _WholeBatchNorm):
            del part.forward
