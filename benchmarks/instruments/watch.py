"""Measure what watching hardware costs the code that is watched, and what a timer and a counted call cost.

    python benchmarks/instruments/watch.py [--rounds 40] [--seconds 0.5]

The same work is done plain and watched, in turns, and compared by the CPU time of its own thread, which other programs
change least; the sampler's own thread is counted by its CPU time, as a share of the time that passed. Exits 1 where
both together are above 2 %, or where a timer takes more than 2 µs.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import titrant
from titrant.runtime.instruments.hardware.sampler import Sampler

MOST_SHARE, MOST_TIMER_SECONDS = 0.02, 2e-6
CALLS = 20_000


def python_work(steps: int) -> float:
    """Hold the interpreter: nothing else of this process runs but in between two byte codes."""
    total = 0.0
    for step in range(steps):
        total += step * 0.5
    return total


def array_work(steps: int) -> float:
    """Let the interpreter go most of the time."""
    matrix = np.full((160, 160), 0.01)
    for _ in range(steps):
        matrix = np.tanh(matrix @ matrix)
    return float(matrix.sum())


def sized(work: Callable[[int], float], seconds: float) -> int:
    """Return how many steps take so many seconds of CPU time."""
    steps = 1
    while True:
        begun = time.thread_time()
        work(steps)
        took = time.thread_time() - begun
        if took > 0.05:
            return max(1, round(steps * seconds / took))
        steps *= 4


def own_seconds(work: Callable[[int], float], steps: int) -> float:
    begun = time.thread_time()
    work(steps)
    return time.thread_time() - begun


def compare(work: Callable[[int], float], steps: int, rounds: int) -> tuple[float, float, int]:
    """Return watched over plain CPU time of the work, the sampler's share of the time, and the samples taken.

    Both kinds take turns, so that they meet the same machine; of each kind the lower quartile
    counts, since other programs can only make work slower.
    """
    seconds: dict[bool, list[float]] = {True: [], False: []}
    shares: list[float] = []
    samples = 0
    for turn in range(2 * rounds):
        watched = turn % 2 == 0
        if not watched:
            seconds[False].append(own_seconds(work, steps))
            continue
        sampler = Sampler(interval=0.5, limit_seconds=60)
        sampler.start()
        seconds[True].append(own_seconds(work, steps))
        sampler.stop()
        shares.append(sampler.cost_seconds / sampler.elapsed)
        samples += len(sampler.samples)
    lower = {watched: statistics.quantiles(each, n=4)[0] for watched, each in seconds.items()}
    return lower[True] / lower[False] - 1, statistics.median(shares), samples


def each_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call, at the median of several loops."""
    loops = []
    for _ in range(9):
        begun = time.thread_time()
        for _ in range(CALLS):
            work()
        loops.append((time.thread_time() - begun) / CALLS)
    return statistics.median(loops)


def empty() -> None:
    pass


def timed() -> None:
    with titrant.Timer():
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    missed = False
    for name, work in (("Python", python_work), ("arrays", array_work)):
        steps = sized(work, options.seconds)
        slower, share, samples = compare(work, steps, options.rounds)
        missed |= max(0.0, slower) + share > MOST_SHARE
        print(
            f"{name:8} {options.rounds} rounds, {samples} samples: the work takes {slower:+.2%} of CPU time more, "
            f"the sampler {share:.2%} of the time"
        )
    timer = each_seconds(timed) - each_seconds(empty)
    call = each_seconds(titrant.profile(empty)) - each_seconds(empty)
    missed |= timer > MOST_TIMER_SECONDS
    print(f"a timer takes {timer * 1e6:.2f} µs, a counted call {call * 1e6:.2f} µs more than the call itself")
    import torch  # noqa: F401 - what is loaded is asked whether a device is in use

    print(f"with torch loaded: {(each_seconds(timed) - each_seconds(empty)) * 1e6:.2f} µs")
    print("a budget is missed" if missed else "within the budgets: 2 % and 2 µs")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
