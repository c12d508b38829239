"""Settle everything in torch that can change bytes, and put it back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch  # noqa: TID253 - its very subject


@contextmanager
def settled(threads: int, seed: int = 0, *, deterministic: bool = True) -> Iterator[None]:
    """Run with a set number of threads, seeded random numbers and deterministic algorithms only.

    Training bytes depend on the number of threads, so it is never left to the environment.
    """
    before = torch.get_num_threads()
    strict, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)
            torch.set_num_threads(before)
