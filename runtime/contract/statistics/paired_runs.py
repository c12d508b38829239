"""Compare two models that were timed in turns by the interval of their paired ratio, and say when nothing can be told.

A slow spell of the machine falls on both runs of a round, so it leaves their ratio as it is. What a busy machine takes
from one run alone is in its wall time and not in its CPU time.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Any

from titrant.schema.gain import SAME_FILE
from titrant.schema.values.frozen import dataclass, replace

# A gap is worth a headline only above this share; below it two models are as good as each other.
GAP = 0.10
# What the runs show beyond what two timings of one file differ by is faster, or slower, and is chosen by.
TIME_GAP = SAME_FILE
# A mixture of precisions counts from this share on: it is what is left where a whole method loses too much.
MIXTURE_GAP = 0.05
# Where the interval holds 1 and a gap of this share as well, the runs tell nothing.
UNTOLD = 0.20
# Where a run in four takes this many times its CPU time, the machine was busy with something else.
BUSY = 1.2
_Z = 1.96
# An order statistic reaches 95 % on both sides of a median from here on; fewer rounds give the range that they have.
ROUNDS = 6


@dataclass(frozen=True)
class TimedRuns:
    """One model's runs at one batch size, in the order of the rounds, which is the same for every model.

    `wall` and `cpu` are seconds of each run; `cpu` is empty where process CPU time is no measure of the work (several
    threads, a device, a coarse clock). `waiting` says how many times its CPU time a run in four took at least, 1 on a
    quiet machine, or None where that is not known.
    """

    wall: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    waiting: float | None = None

    @property
    def busy(self) -> bool:
        """Whether the machine kept too many of the runs waiting."""
        return self.waiting is not None and self.waiting > BUSY

    @property
    def tail_waited(self) -> bool:
        """Whether the slowest twentieth of the runs waited: they tell of the machine then, and not of the model."""
        slowest = sorted(zip(self.wall, self.cpu, strict=False), reverse=True)[: math.ceil(len(self.wall) / 20)]
        return bool(slowest) and median(run / work for run, work in slowest) > BUSY


@dataclass(frozen=True)
class Margins:
    """What a difference of two models' times must be to count, in shares.

    `gap` is what counts where the interval leaves 1 out. Where it holds 1, runs tell nothing when it also holds a model
    that is `slower` or `faster` than the other by more than these.
    """

    gap: float = GAP
    slower: float = UNTOLD
    faster: float = UNTOLD

    def turned(self) -> "Margins":
        """Return the margins of the other model against the first."""
        return Margins(self.gap, self.faster, self.slower)


HEADLINE = Margins()


@dataclass(frozen=True)
class PairedRatio:
    """How many times faster one model is than another: the median over the rounds, and its 95 % interval."""

    estimate: float
    lower: float
    upper: float
    margins: Margins = HEADLINE

    @property
    def verdict(self) -> str:
        """Return better, worse, alike (no gap that counts) or unknown (the interval holds 1 and a large gap)."""
        gap, slower, faster = self.margins.gap, self.margins.slower, self.margins.faster
        if self.lower > 1:
            return "better" if self.estimate > 1 + gap else "alike"
        if self.upper < 1:
            return "worse" if self.estimate < 1 / (1 + gap) else "alike"
        return "unknown" if self.upper > 1 + faster or self.lower < 1 / (1 + slower) else "alike"


@dataclass(frozen=True)
class PairedComparison:
    """What comparing two models by their runs gave.

    `verdict` is better, worse, alike or unknown; `clock` is the one that decided, wall or cpu; `busy` says that the
    machine kept too many of the runs waiting. `rounds` are those that both were timed in.
    """

    ratio: PairedRatio
    verdict: str
    clock: str = "wall"
    busy: bool = False
    rounds: int = ROUNDS

    @property
    def shown(self) -> str:
        """Return the verdict that a person is shown: unknown where so few rounds have no interval."""
        return self.verdict if self.rounds >= ROUNDS else "unknown"

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the ratio; None where there are too few rounds for one."""
        return (self.ratio.lower, self.ratio.upper) if self.rounds >= ROUNDS else None


def paired_ratio(mine: Sequence[float], theirs: Sequence[float], margins: Margins = HEADLINE) -> PairedRatio | None:
    """Return how many times faster `mine` is than `theirs`, run for run; None where there are no rounds.

    The rounds are the same from the first on; one that was told apart early has fewer, and those are compared.

    The interval is that of the median of the logarithms by order statistics, whatever the distribution; it rests on
    rounds being alike and independent of each other.
    """
    count = min(len(mine), len(theirs))
    if not count or min(mine) <= 0 or min(theirs) <= 0:
        return None
    ratios = sorted(other / own for own, other in zip(mine[:count], theirs[:count], strict=True))
    cut = max(0, math.floor((count - _Z * math.sqrt(count)) / 2) - 1) if count >= ROUNDS else 0
    middle = math.sqrt(ratios[(count - 1) // 2] * ratios[count // 2])
    return PairedRatio(middle, ratios[cut], ratios[-1 - cut], margins)


def compare_runs(mine: TimedRuns, theirs: TimedRuns, margins: Margins = HEADLINE) -> PairedComparison | None:
    """Say whether one model is faster than another by a gap that counts; None where there are no rounds to pair.

    On a quiet machine the wall clock decides. Where runs were kept waiting, or wall time tells nothing, CPU time
    decides, unless wall time clearly says something else. Where there is none, waiting runs can only show a gap: what
    is added to both hides one.
    """
    wall = paired_ratio(mine.wall, theirs.wall, margins)
    if wall is None:
        return None
    busy, rounds = mine.busy or theirs.busy, min(len(mine.wall), len(theirs.wall))
    if not busy and wall.verdict != "unknown":
        return PairedComparison(wall, wall.verdict, rounds=rounds)
    cpu = paired_ratio(mine.cpu, theirs.cpu, margins)
    if cpu is None:
        return PairedComparison(wall, "unknown" if wall.verdict == "alike" else wall.verdict, busy=busy, rounds=rounds)
    return PairedComparison(cpu, "unknown" if _contradicts(wall, cpu) else cpu.verdict, "cpu", busy, rounds)


def _contradicts(wall: PairedRatio, cpu: PairedRatio) -> bool:
    """Whether wall time says clearly what CPU time does not: by a gap worth a headline, however small one counts.

    Runs that waited have the machine in their wall time, by a few hundredths either way.
    """
    clear = replace(wall, margins=HEADLINE).verdict
    return clear in ("better", "worse") and clear != cpu.verdict


def waiting_of(wall: Sequence[float], cpu: Sequence[float], threads: int) -> float | None:
    """Return how many times its CPU time a run in four took at least; None where the CPU clock is too coarse.

    With several threads CPU time is what all of them took, and how well they help each other differs from run to run:
    what counts is then how much longer a typical run took than the least disturbed tenth, each against its CPU time.
    """
    if not cpu or min(cpu) <= 0:
        return None
    shares = sorted(run / busy for run, busy in zip(wall, cpu, strict=True))
    return median(shares) / shares[len(shares) // 10] if threads > 1 else shares[3 * len(shares) // 4]


def timed_runs(figures: Mapping[str, Any]) -> TimedRuns:
    """Read the runs of one model at one batch size from what `profile.latency` answered.

    Runs that an earlier version recorded are not in the order of the rounds: they cannot be paired and are left out.
    """
    if "cpu" not in figures:
        return TimedRuns()
    return TimedRuns(tuple(figures["samples"]), tuple(figures["cpu"]), figures.get("waiting"))


def too_busy_to_tell(timings: Mapping[str, Any], batch: int) -> Iterator[str]:
    """Say which two models cannot be told apart because the machine was busy: a quieter one may tell another time."""
    runs = {name: timed_runs(figures[str(batch)]) for name, figures in timings.items() if str(batch) in figures}
    enough = [name for name in runs if len(runs[name].wall) >= ROUNDS]
    for name, other in combinations(enough, 2):
        compared = compare_runs(runs[name], runs[other])
        if compared is not None and compared.busy and compared.verdict == "unknown":
            yield f"the machine was too busy to tell which is faster, {name} or {other}"
            return


def untold(runs: Mapping[str, TimedRuns]) -> list[str]:
    """Return the fastest by its median and those of which an interval holds 1 and a gap by which models are chosen.

    [] where there are none such: all others are told apart from the fastest, or are as fast.
    """
    fastest = min(runs, key=lambda name: median(runs[name].wall), default="")
    margins = Margins(TIME_GAP, slower=TIME_GAP, faster=TIME_GAP)
    compared = {name: compare_runs(runs[name], runs[fastest], margins) for name in runs if name != fastest}
    left = [name for name, comparison in compared.items() if comparison and comparison.verdict == "unknown"]
    return [fastest, *left] if left else []
