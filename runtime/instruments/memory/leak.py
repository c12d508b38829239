"""Look for a leak: call something over and over, and see whether what is held goes on growing."""

import gc
import math
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from titrant.runtime.instruments.memory.log import signed
from titrant.runtime.instruments.memory.usage import usage
from titrant.runtime.instruments.refused.numbers import check_above, check_whole
from titrant.runtime.machine.peak_memory import hand_back
from titrant.runtime.user_code import call_in_parent
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted, format_size

# Memory is read so many times after the warm-up, at equal distances.
_READINGS = 4
# Less growth than this over all steps is no finding: of what is counted exactly, and of resident memory, which is not.
_LEAST_BYTES, _LEAST_RESIDENT_BYTES = 64 << 10, 4 << 20
# What still grows in its last quarter at this share of its average pace has not filled up.
_STILL = 0.5
# Of the sites of growth the largest are named, and none that is a small share of the first.
_MOST_SITES, _MINOR = 5, 0.05
PYTHON, TENSORS, RESIDENT = "Python objects", "torch tensors on the CPU", "resident memory"
# What resident memory also sees has a better name where something else sees it.
_ORDER = (PYTHON, TENSORS)

TensorKind = tuple[tuple[int, ...], Any]  # shape and dtype


@dataclass(frozen=True)
class GrowthSite:
    """Where memory grew: a line of code that allocated it, or a kind of tensor; bytes, and how many objects more."""

    where: str
    grown_bytes: int
    count: int


@dataclass(frozen=True)
class MemoryGrowth:
    """One kind of memory: bytes held after each reading's step, the first after the warm-up.

    `first_bytes` was held after the first call, which loads what it needs. `leaks` is whether it grew to `factor` times
    what the warm-up had left behind, and still grew at the end.
    """

    kind: str
    first_bytes: int
    steps: tuple[int, ...]
    held_bytes: tuple[int, ...]
    leaks: bool

    @property
    def grown_bytes(self) -> int:
        """Bytes held at the end beyond what was held after the warm-up."""
        return self.held_bytes[-1] - self.held_bytes[0]

    @property
    def bytes_per_step(self) -> float:
        """Bytes by which a step grows it, on average."""
        return self.grown_bytes / (self.steps[-1] or 1)


@dataclass(frozen=True)
class LeakCheck:
    """What grew while a callable was called `steps` times after a warm-up; `sites` are where most of it grew."""

    warmup: int
    steps: int
    factor: float
    growths: tuple[MemoryGrowth, ...]
    sites: tuple[GrowthSite, ...] = ()

    @property
    def leaks(self) -> bool:
        """Whether any kind of memory leaks."""
        return any(growth.leaks for growth in self.growths)

    def __str__(self) -> str:
        """Say whether there is a leak and of what, and list every kind of memory."""
        leaking = [growth for growth in self.growths if growth.leaks]
        over = f"over {counted(self.steps, 'step')} after {counted(self.warmup, 'warm-up step')}"
        if leaking:
            most = leaking[0]
            first = f"leak: {most.kind} grew by {format_size(most.bytes_per_step)} a step {over}, and did not stop"
        else:
            first = f"no leak: nothing kept growing {over}"
        lines = [first]
        for growth in self.growths:
            mark = "  leaks" if growth.leaks else ""
            held = f"{format_size(growth.held_bytes[0])} -> {format_size(growth.held_bytes[-1])}"
            lines.append(f"  {growth.kind}: {held} ({signed(growth.grown_bytes)}){mark}")
        if leaking:
            lines += [f"  {site.where}: {signed(site.grown_bytes)} in {site.count:+,} objects" for site in self.sites]
        return "\n".join(lines)


def find_leak(
    callable: Callable[[], Any],
    *,
    warmup: int = 10,
    steps: int = 100,
    factor: float = 2.0,
) -> LeakCheck:
    """Call a callable `warmup` and then `steps` times, and say whether the memory that it holds goes on growing.

    Read are Python's own allocations, NumPy's with them (tracemalloc), torch's tensors on the CPU, what torch and MLX
    hold on accelerators, and resident memory, which also holds what C code keeps. A leak grows by 64 KiB at least
    (resident memory by 4 MiB), to `factor` times what the warm-up left behind, counted from the end of the first call,
    and in the last quarter of the steps still at half its average pace: a cache that fills and stops is none. One that
    is still being filled at the end looks like a leak: ask for more steps.

    Tracing makes Python code a few times slower here. The callable's own error passes through. RecipeError
    X671 where `warmup` is below 1, `steps` below 4 or `factor` not above 1, TypeError for what cannot be called.
    """
    if not hasattr(callable, "__call__"):  # noqa: B004 - the parameter hides the built-in function
        what = type(callable).__name__
        raise TypeError(f"find_leak takes what can be called, not {what}: titrant.find_leak(lambda: f(x))")
    check_whole("warmup", warmup, 1)
    check_whole("steps", steps, _READINGS)
    check_above("factor", factor, 1)
    was_tracing, was_frozen = tracemalloc.is_tracing(), gc.get_freeze_count()
    # What is there already is no leak of the callable's, and would be gone through at each reading.
    gc.collect()
    if not was_frozen:
        gc.freeze()
    if not was_tracing:
        tracemalloc.start()
    try:
        call_in_parent(callable)
        first = _held()
        for _ in range(warmup - 1):
            call_in_parent(callable)
        readings, places = [_held()], [0]
        before, tensors_before = tracemalloc.take_snapshot(), _tensors()[1]
        for reading in range(1, _READINGS + 1):
            places.append(round(steps * reading / _READINGS))
            for _ in range(places[-1] - places[-2]):
                call_in_parent(callable)
            readings.append(_held())
        sites = (*_lines(before), *_shapes(tensors_before))
    finally:
        if not was_tracing:
            tracemalloc.stop()
        if not was_frozen:
            gc.unfreeze()
    kinds = [kind for kind in readings[-1] if all(kind in reading for reading in readings)]
    growths = tuple(
        _growth(kind, first.get(kind, 0), places, [reading[kind] for reading in readings], factor)
        for kind in (*_ORDER, *(kind for kind in kinds if kind not in _ORDER))
        if kind in kinds
    )
    largest = _largest(sites)
    return LeakCheck(warmup, steps, factor, growths, largest)


def _largest(sites: Iterable[GrowthSite]) -> tuple[GrowthSite, ...]:
    """Return the sites with most growth, without what is small beside the first."""
    ordered = sorted(sites, key=lambda site: -site.grown_bytes)[:_MOST_SITES]
    return tuple(site for site in ordered if site.grown_bytes >= _MINOR * ordered[0].grown_bytes)


def _growth(kind: str, first: int, steps: Sequence[int], held: Sequence[int], factor: float) -> MemoryGrowth:
    base, last = held[0], held[-1]
    grown, left_by_warmup = last - base, max(0, base - first)
    least = _LEAST_RESIDENT_BYTES if kind == RESIDENT else _LEAST_BYTES
    still_grows = last - held[-2] >= _STILL * grown / _READINGS
    leaks = grown >= least and left_by_warmup + grown >= factor * left_by_warmup and still_grows
    return MemoryGrowth(kind, first, tuple(steps), tuple(held), leaks)


def _held() -> dict[str, int]:
    """Return the bytes that are held now, by kind, once what nobody can reach any more is collected."""
    gc.collect()
    hand_back()
    now = usage(None)
    traced = tracemalloc.get_traced_memory()[0]
    held = {PYTHON: traced, RESIDENT: now.process.in_use_bytes - tracemalloc.get_tracemalloc_memory()}
    if "torch" in sys.modules:
        held[TENSORS] = _tensors()[0]
    return {**held, **{place.name: place.in_use_bytes for place in now.devices}}


def _tensors() -> tuple[int, Counter[TensorKind]]:
    """Return the bytes of all torch tensors on the CPU, each storage once, and how many there are of each kind."""
    torch = sys.modules.get("torch")
    storages: dict[int, int] = {}
    kinds: Counter[TensorKind] = Counter()
    for tensor in _live_tensors(torch) if torch is not None else ():
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in storages:
            storages[storage.data_ptr()] = storage.nbytes()
            kinds[tuple(tensor.shape), tensor.dtype] += 1
    return sum(storages.values()), kinds


def _live_tensors(torch: Any) -> Iterator[Any]:
    for live in gc.get_objects():
        # The very type is asked: other objects may answer for what they stand for.
        if issubclass(type(live), torch.Tensor) and live.layout == torch.strided and live.device.type == "cpu":
            try:
                live.untyped_storage().data_ptr()
            except (RuntimeError, NotImplementedError):  # one without memory of its own
                continue
            yield live


def _lines(before: tracemalloc.Snapshot) -> Iterator[GrowthSite]:
    """Yield the lines of code whose memory grew, without what this search itself allocates."""
    own = (tracemalloc.Filter(False, __file__), tracemalloc.Filter(False, tracemalloc.__file__))
    after = tracemalloc.take_snapshot().filter_traces(own)
    for difference in after.compare_to(before.filter_traces(own), "lineno")[:_MOST_SITES]:
        if difference.size_diff > 0:
            frame = difference.traceback[0]
            yield GrowthSite(f"{frame.filename}:{frame.lineno}", difference.size_diff, difference.count_diff)


def _shapes(before: Mapping[TensorKind, int]) -> Iterator[GrowthSite]:
    """Yield the kinds of tensors of which there are more than before."""
    for (shape, dtype), count in (_tensors()[1] - Counter(before)).most_common(_MOST_SITES):
        words = f"torch tensors {'×'.join(map(str, shape)) or 'scalar'} {dtype}"
        yield GrowthSite(words, math.prod(shape) * dtype.itemsize * count, count)
