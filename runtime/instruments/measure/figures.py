"""The figures of models that were timed in turns: percentiles with bounds, throughput, memory, ratios run for run."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from titrant.runtime.contract.statistics.paired_runs import BUSY, TimedRuns, compare_runs, waiting_of
from titrant.runtime.instruments.refused.numbers import check_whole
from titrant.runtime.machine.turns import PERCENTILES, Runs, cpu_tells, percentiles
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.units import format_size, format_time

# Both bounds of an interval hold together at this confidence.
CONFIDENCE = 0.95
_DIGITS = 9
_LEAST = 1e-9


@dataclass(frozen=True)
class BenchSettings:
    """How models are timed: so many runs each behind so many off the clock, on threads of a device, from one seed.

    `device` "" is where a live model is by itself, else the CPU.
    """

    iterations: int = 100
    warmup: int = 10
    threads: int = 1
    device: str = ""
    seed: int = 0


# More threads than cores never pay, and thousands of them keep an engine from ever starting.
_THREADS, _THREADS_A_CORE = 64, 4


def checked_settings(settings: BenchSettings, batches: Sequence[int] | None) -> BenchSettings:
    """Return settings that can be met; RecipeError X671 for zero runs, a batch of none, and what is no whole number."""
    if batches is not None and (isinstance(batches, (str, bytes)) or not isinstance(batches, Iterable)):
        raise RecipeError(
            Diagnostic("X671", f"batches is {batches!r}", help="give sizes in a list: batches=[1, 8, 32]")
        )
    least = {"iterations": 1, "warmup": 0, "threads": 1, "seed": 0}
    given = [(name, getattr(settings, name), low) for name, low in least.items()]
    given += [("batch", batch, 1) for batch in (batches if batches is not None else ())]
    for name, value, low in given:
        check_whole(name, value, low)
    cores = os.cpu_count() or 1
    if settings.threads > max(_THREADS, _THREADS_A_CORE * cores):
        message = f"threads is {settings.threads:,}, and this machine has {cores} cores"
        raise RecipeError(Diagnostic("X671", message, help="give no more than there are cores"))
    if batches is not None and not batches:
        raise RecipeError(Diagnostic("X671", "no batch size is given", help="give one or more, such as 1, 8, 32"))
    return settings


@dataclass(frozen=True)
class BoundedFigure:
    """A figure and its two-sided 95 % interval by order statistics; None for a bound that the runs are too few for."""

    estimate: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class PairedSpeed:
    """How many times faster a model is than the first: the median over the rounds, and its 95 % interval.

    `clock` is the one that decided, wall or cpu; `verdict` is better, worse, alike or unknown.
    """

    factor: float
    lower: float
    upper: float
    clock: str
    verdict: str


@dataclass(frozen=True)
class BatchTimes:
    """What one model took at one batch size: seconds of a run, and what follows from them.

    `p50`, `p95` and `p99` are of the wall clock. `cpu_p50` is of the CPU time of the process, None where that is no
    measure (several threads, a device, a coarse clock). `waiting` says how many times its CPU time a run in four took
    at least, 1 on a quiet machine; None where that is not known, and where the model itself waits: `computing` is then
    the share of a typical run in which it computes, 0..1, and the wall clock decides. `against_first` is None for the
    first model itself. The samples are seconds, in the order of the rounds, which all models share.
    """

    batch: int
    runs: int
    mean: float
    p50: BoundedFigure
    p95: BoundedFigure
    p99: BoundedFigure
    cpu_p50: BoundedFigure | None
    cases_per_second: BoundedFigure
    waiting: float | None
    against_first: PairedSpeed | None = None
    computing: float | None = None
    samples: tuple[float, ...] = field(default=(), repr=False)
    cpu_samples: tuple[float, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        """Say in a line what a typical run took, with its interval, and how much work that is."""
        p50, p95, p99 = (format_time(figure.estimate) for figure in (self.p50, self.p95, self.p99))
        bounds = " to ".join("…" if bound is None else format_time(bound) for bound in (self.p50.lower, self.p50.upper))
        rate = f"{self.cases_per_second.estimate:,.0f} cases/s"
        faster = "" if self.against_first is None else f", {self.against_first.factor:.2f}× as fast as the first"
        return f"batch {self.batch}: p50 {p50} ({bounds}), p95 {p95}, p99 {p99}, {rate}, {self.runs} runs{faster}"


@dataclass(frozen=True)
class ModelTimes:
    """One model that was timed, and what exactly it was.

    `artifact` is the file, or what is held in memory; `digest` is BLAKE3 of its content, "" for what is live.
    `size_bytes` are those of its files, of a live module those of its tensors; None for a function. `peak_bytes` is the
    most memory that loading it and one run of the largest batch take, on a device the device's own; None where nobody
    can tell.
    """

    name: str
    artifact: str
    digest: str
    form: str  # an ONNX file, a torch module, a function …
    engine: str  # "" for a function
    device: str  # where it computed: cpu, cuda:0 …
    size_bytes: int | None
    peak_bytes: int | None
    times: tuple[BatchTimes, ...]
    notes: tuple[str, ...] = ()

    def at(self, batch: int) -> BatchTimes:
        """Return the figures at one batch size; KeyError for one that was not timed."""
        return {times.batch: times for times in self.times}[batch]

    def __str__(self) -> str:
        """Say what was timed, then a line for each batch size, then what to bear in mind."""
        size = "" if self.size_bytes is None else f", {format_size(self.size_bytes)}"
        peak = "" if self.peak_bytes is None else f", {format_size(self.peak_bytes)} of memory at most"
        head = f"{self.name}: {self.artifact}, {self.form} on {self.device}{size}{peak}"
        return "\n".join((head, *(f"  {times}" for times in self.times), *(f"  {note}" for note in self.notes)))


@dataclass(frozen=True)
class TimedInput:
    """What one input of the largest batch was; the shape is empty for what is no array."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class SideBySide:
    """Models that were timed in turns on the same inputs; the first is what the others are compared with.

    `source` says where the inputs come from. `notes` are of all of them: what was left out, and what the machine did.
    """

    models: tuple[ModelTimes, ...]
    inputs: tuple[TimedInput, ...]
    source: str
    settings: BenchSettings
    processor: str = ""
    notes: tuple[str, ...] = ()

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes that were timed."""
        return tuple(times.batch for times in self.models[0].times)

    def __str__(self) -> str:
        """Say of each model what it took; `Benchmark.report` lays the same out as tables."""
        return "\n".join((*map(str, self.models), *self.notes))


def batch_times(
    batch: int, runs: Mapping[str, Runs], threads: int, devices: Mapping[str, str]
) -> dict[str, BatchTimes]:
    """Return every model's figures at one batch size, compared run for run with the first model's.

    `devices` says where each computed: CPU time is a measure of what one thread of the processor did.
    """
    timed: dict[str, TimedRuns] = {}
    computing: dict[str, float] = {}
    for name, taken in runs.items():
        wall, cpu = (tuple(round(seconds, _DIGITS) for seconds in times) for times in (taken.wall, taken.cpu))
        waiting = waiting_of(wall, cpu, threads) if devices[name] == "cpu" else None
        if waiting is not None and waiting > BUSY and threads == 1 and taken.waits:
            computing[name], waiting = min(1.0, median(cpu) / max(median(wall), _LEAST)), None
        counts = waiting is not None and cpu_tells(threads, devices[name])
        timed[name] = TimedRuns(wall, cpu if counts else (), waiting)
    first = next(iter(timed.values()))
    return {
        name: _of_one(batch, each, None if each is first else first, computing.get(name))
        for name, each in timed.items()
    }


def _of_one(batch: int, runs: TimedRuns, first: TimedRuns | None, computing: float | None) -> BatchTimes:
    p50, p95, p99 = (bounded_percentile(runs.wall, share) for share in PERCENTILES)
    compared = None if first is None else compare_runs(runs, first)
    return BatchTimes(
        batch=batch,
        runs=len(runs.wall),
        mean=sum(runs.wall) / len(runs.wall),
        p50=p50,
        p95=p95,
        p99=p99,
        cpu_p50=bounded_percentile(runs.cpu, 0.5) if runs.cpu else None,
        cases_per_second=_per_second(batch, p50),
        waiting=runs.waiting,
        against_first=None
        if compared is None
        else PairedSpeed(
            compared.ratio.estimate, compared.ratio.lower, compared.ratio.upper, compared.clock, compared.verdict
        ),
        computing=computing,
        samples=runs.wall,
        cpu_samples=runs.cpu,
    )


def bounded_percentile(samples: Sequence[float], share: float) -> BoundedFigure:
    """Return the `share` quantile (0..1) of samples, in any order, and its two-sided interval by order statistics.

    Whatever the distribution, if runs are alike and independent; see `percentile_bounds`.
    """
    from titrant.runtime.contract.statistics.means import percentile_bounds

    ordered = sorted(samples)
    lower, upper = percentile_bounds(ordered, share, 1 - (1 - CONFIDENCE) / 2)
    return BoundedFigure(percentiles(ordered, (share,))[0], lower, upper)


def _per_second(batch: int, seconds: BoundedFigure) -> BoundedFigure:
    """Return cases per second of a typical run; the quickest bound of the time is the upper one of the rate."""
    lower, upper = (None if bound is None or bound <= 0 else batch / bound for bound in (seconds.upper, seconds.lower))
    return BoundedFigure(batch / seconds.estimate if seconds.estimate > 0 else 0.0, lower, upper)
