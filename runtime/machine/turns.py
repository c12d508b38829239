"""Let pieces of work take turns, and time each run by the wall clock and by the CPU time of the process.

Nothing else is shared between who times sessions in a run and who times a live model: both time in the same way.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field

from titrant.schema.values.frozen import dataclass

# The shares of runs that are as quick as a typical, a slow and a very slow one.
PERCENTILES = (0.5, 0.95, 0.99)
# Between blocks of runs, so that a machine that is slow for a moment slows few of them.
PAUSE_SECONDS = 0.015
# Off the clock at the beginning of a turn: so many runs where runs choose among many models, none after so long.
MOST_OFF, OFF_SECONDS = 20, 0.002


@dataclass
class Runs:
    """What the runs of one model took, in the order of the rounds: seconds of the wall clock and of the process.

    `pauses` says how often the thread gave the processor away by itself in each run, as in a sleep or a read.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)  # how many of them each block has
    pauses: list[int] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether a typical run waits for something itself, rather than for a processor that others have."""
        return bool(self.pauses) and sorted(self.pauses)[len(self.pauses) // 2] > 0


def time_turn(work: Callable[[], object], runs: Runs, most_off: int = 1) -> None:
    """Run a piece of work off the clock, up to `most_off` times while that is quick, and add what one more run took.

    What others left in the caches is not charged to whose turn it is, since where a model is shipped it runs alone.
    Work on a device must wait for the device before it returns.
    """
    begun = time.perf_counter()
    for _ in range(most_off):
        work()
        if time.perf_counter() - begun >= OFF_SECONDS:
            break
    paused, spent, begin = pauses(), time.process_time(), time.perf_counter()
    work()
    wall = time.perf_counter() - begin
    runs.cpu.append(time.process_time() - spent)
    runs.pauses.append(pauses() - paused)
    runs.wall.append(wall)


def pauses() -> int:
    """Return how often this thread gave the processor away by itself so far; always 0 where the system counts none."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_nvcsw


@contextmanager
def no_garbage() -> Iterator[None]:
    """Collect what is garbage, and none until the end: a collection would be charged to whoever runs just then."""
    collecting = gc.isenabled()
    gc.collect()  # a tenth of a second where torch is loaded: once, and not at every size
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def cpu_tells(threads: int, device: str) -> bool:
    """Whether CPU time says how fast a run is: threads that help each other spend more of it, a device spends none."""
    return threads == 1 and device == "cpu"


def percentiles(seconds: Sequence[float], shares: Sequence[float] = PERCENTILES) -> tuple[float, ...]:
    """Return the quantiles (shares 0..1) of what runs took, in any order, between two runs where one falls there."""
    import numpy as np

    return tuple(float(value) for value in np.quantile(seconds, shares))
