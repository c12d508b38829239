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
    # As use_deterministic_algorithms, which also imports torch.compile's machinery, for 1.4 seconds.
    mode = torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("error" if deterministic else "default")
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            torch.set_num_threads(before)
