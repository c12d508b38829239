"""What an engine spends its time on: values that its profile is read into, and runs with it and without it in turns."""

import contextlib
import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

# The slower half of an operation's runs was kept waiting; the fastest tenth is the clock's rounding.
_FROM, _UPTO = 0.1, 0.5
_UNDISTURBED = 0.33
WARM = 3  # runs before the clock counts
_LEAST_RUNS, _MOST_RUNS = 10, 300


@dataclass(frozen=True)
class LayerSpan:
    """A part of one run: when it began after the run did, and how long it took, in seconds, with what is inside it."""

    name: str
    kind: str
    begin: float
    seconds: float


@dataclass(frozen=True)
class TimedLayer:
    """What an engine spends on a layer of the original in one batch; `name` is "" for all that is no layer.

    `seconds` and `cpu_seconds` are without what other layers take inside it, CPU time None where an engine does not
    tell. `parts` name what of the model it computes: modules, nodes or operations, by which FLOPs and parameters are
    counted; `joined` are other layers of the original that run inside it. Bytes are those of tensors that it is given
    and gives, without weights; None where they are not told.
    """

    name: str
    kind: str  # the class of the module, or the operator of the file
    engine_op: str  # as the engine calls it; of several, which are listed
    precision: str  # of its products, else of its answer; "" where it is not told
    seconds: float
    cpu_seconds: float | None = None
    calls: int = 1
    read_bytes: int | None = None
    answer_bytes: int | None = None
    parts: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineProfile:
    """The layers in the order in which they run, and the whole batch as it runs without a profile.

    `between_seconds` lie between layers: what an engine takes to call them, and to take in and give out arrays.
    `overhead_seconds` is what the profile adds to a batch, and part of no other figure. `spans` are those of one run,
    what holds others before these; `told_when` is False where an engine tells how long and not when: they then stand
    one behind another.
    """

    layers: tuple[TimedLayer, ...]
    between_seconds: float
    seconds: float
    cpu_seconds: float
    overhead_seconds: float
    runs: int
    spans: tuple[LayerSpan, ...]
    told_when: bool = True
    notes: tuple[str, ...] = ()


class Profiled(Protocol):
    """Times every layer of a model in an engine, on one batch.

    `layers` are the names of the original's layers, which the answer then uses; `seconds` is how long it may take.
    Raises StepError X212 for a file that the engine cannot load, and whatever answering the batch raises.
    """

    def __call__(
        self,
        model: Any,
        inputs: "Mapping[str, np.ndarray]",
        *,
        threads: int = 1,
        device: str = "cpu",
        layers: Collection[str] = (),
        seconds: float = 1.0,
    ) -> EngineProfile:
        """Run the batch with and without a profile, in turns."""


def nothing_profiled(
    model: Any,
    inputs: "Mapping[str, np.ndarray]",
    *,
    threads: int = 1,
    device: str = "cpu",
    layers: Collection[str] = (),
    seconds: float = 1.0,
) -> EngineProfile:
    """Refuse: StepError X680, of an engine that tells nothing of its layers."""
    message = "this engine does not tell what its layers take"
    raise StepError(Diagnostic("X680", message, help="name one that does: torch, onnxruntime or openvino"))


def typical(values: Sequence[float], upto: float = _UPTO) -> float:
    """Return the mean of the fastest values up to a share of them, without the fastest tenth."""
    ordered = sorted(values)
    kept = ordered[int(_FROM * len(ordered)) : max(int(upto * len(ordered)), 1)]
    return sum(kept) / len(kept)


def undisturbed(values: Sequence[float]) -> float:
    """Return what runs take while nobody else has the processor: the mean of the faster third, but the very fastest.

    On a busy machine most runs of a whole network are interrupted somewhere, and few runs of any one layer.
    """
    return typical(values, _UNDISTURBED)


# What a profiler adds to a run of an operation is at most this; less than a tenth of a microsecond is worth no word,
# nor is less than a hundredth of the time.
_MOST_COST, _LEAST_COST, _HALVINGS = 4e-6, 1e-7, 40
_LEAST_SHARE = 0.01


def without_profiler(
    taken: Mapping[str, tuple[float, int]], whole: float, profiler: str
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the seconds of each operation without what the profiler added to it, and in words what was taken off.

    `taken` has the seconds of each in a batch, as a profiler says, and how often it runs in one; `whole` are those of a
    batch without it. Profilers count whole microseconds and write down each run, which shows where one takes about as
    long: up to 4 µs a run are taken off, so that all take no more than the batch. What is left beyond it others took,
    by the clock, from all in proportion.
    """
    low, high = 0.0, _MOST_COST if sum(seconds for seconds, _ in taken.values()) > whole else 0.0
    for _ in range(_HALVINGS if high else 0):
        middle = (low + high) / 2
        left = sum(max(seconds - middle * calls, 0.0) for seconds, calls in taken.values())
        low, high = (middle, high) if left > whole else (low, middle)
    alone = {name: max(seconds - high * calls, 0.0) for name, (seconds, calls) in taken.items()}
    others = 1 - min(whole / max(sum(alone.values()), 1e-12), 1.0)
    notes = []
    if high > _LEAST_COST:
        notes.append(f"each run of an operation is counted {high * 1e6:.1f} µs less than {profiler} says: it adds that")
    if others > _LEAST_SHARE:
        notes.append(f"{profiler} tells time by the clock, of which others or it took {others:.0%}: they are taken off")
    return {name: seconds * (1 - others) for name, seconds in alone.items()}, tuple(notes)


def undisturbed_runs(values: Sequence[float]) -> tuple[int, ...]:
    """Return the places of the runs that `undisturbed` takes the mean of."""
    ordered = sorted(range(len(values)), key=lambda place: values[place])
    return tuple(ordered[int(_FROM * len(ordered)) : max(int(_UNDISTURBED * len(ordered)), 1)])


@dataclass(frozen=True)
class Turns:
    """Seconds of each run by the wall clock and in CPU time, without a profile and with one."""

    plain: tuple[float, ...]
    cpu: tuple[float, ...]
    profiled: tuple[float, ...]
    profiled_cpu: tuple[float, ...]

    @property
    def runs(self) -> int:
        """How many runs there are of each."""
        return len(self.plain)

    @property
    def overhead(self) -> float:
        """What the profile adds to a batch, in CPU time, which nobody else's work disturbs."""
        return max(undisturbed(self.profiled_cpu) - undisturbed(self.cpu), 0.0)

    def profile(self, layers: Sequence[TimedLayer], between: float, spans: Sequence[LayerSpan]) -> EngineProfile:
        """Return the profile of these runs; `between` are the seconds of a batch that no layer or operation takes."""
        return EngineProfile(
            layers=tuple(layers),
            between_seconds=max(between, 0.0),
            seconds=undisturbed(self.plain),
            cpu_seconds=undisturbed(self.cpu),
            overhead_seconds=self.overhead,
            runs=self.runs,
            spans=tuple(spans),
        )

    def gaps(self, inside: Sequence[float], wholes: Sequence[float] | None = None) -> float:
        """Return what a profiled batch takes beside its operations and the profile itself.

        `inside` are the seconds of each run that operations took, `wholes` those of the runs if by another clock than
        the wall's.
        """
        beside = [whole - taken for whole, taken in zip(wholes or self.profiled, inside, strict=True)]
        return undisturbed(beside) - self.overhead


def in_turns(plain: Callable[[], object], profiled: Callable[[], object], seconds: float) -> Turns:
    """Run a batch with and without a profile in turns for about `seconds`, `WARM` of each before the clock counts.

    What a busy machine does to one kind of run it does to the other.
    """
    begin = time.perf_counter()
    for _ in range(WARM):
        plain()
        profiled()
    both = max((time.perf_counter() - begin) / WARM, 1e-6)
    runs = min(max(int(seconds / both), _LEAST_RUNS), _MOST_RUNS)
    with uncollected():
        pairs = [(*_clocked(plain), *_clocked(profiled)) for _ in range(runs)]
    wall, cpu, watched, watched_cpu = zip(*pairs, strict=True)
    return Turns(wall, cpu, watched, watched_cpu)


def _clocked(run: Callable[[], object]) -> tuple[float, float]:
    """Return what one run takes by the wall clock and in CPU time."""
    spent, begin = time.process_time(), time.perf_counter()
    run()
    end, done = time.perf_counter(), time.process_time()
    return end - begin, done - spent


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python from looking for circles of garbage: it would be charged to whoever runs just then."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
