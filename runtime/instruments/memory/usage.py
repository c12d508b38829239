"""What memory a process holds, on the machine and on its accelerators."""

from collections.abc import Iterator

from titrant.runtime.machine.devices import libraries_in_use
from titrant.runtime.machine.peak_memory import peak_resident_bytes, resident_bytes
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import format_size


@dataclass(frozen=True)
class HeldMemory:
    """Bytes in one place; None where nobody can say.

    `in_use_bytes` is held now, `peak_bytes` the most that was, never less, `cached_bytes` kept by the allocator beyond
    what is in use, and `total_bytes` all that there is.
    """

    name: str
    in_use_bytes: int
    peak_bytes: int | None = None
    cached_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True)
class MemoryUsage:
    """The resident memory of a process, and of each accelerator what the process holds there."""

    process: HeldMemory
    devices: tuple[HeldMemory, ...] = ()

    @property
    def places(self) -> tuple[HeldMemory, ...]:
        """The process, then its accelerators."""
        return (self.process, *self.devices)

    def __str__(self) -> str:
        """Write it as a table."""
        rows: list[tuple[str, ...]] = [("", "in use", "peak", "cached", "total")]
        rows += [
            (place.name, *(_words(size) for size in (place.in_use_bytes, place.peak_bytes, place.cached_bytes)),
             _words(place.total_bytes))
            for place in self.places
        ]  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        )


def _words(size: int | None) -> str:
    return "–" if size is None else format_size(size)


def usage(total_bytes: int | None) -> MemoryUsage:
    """Return what this process holds; `total_bytes` is the memory that it can ever have, which the caller knows."""
    held = resident_bytes()
    process = HeldMemory("process", held, not_below(peak_resident_bytes(), held), None, total_bytes)
    return MemoryUsage(process, tuple(_devices()))


def _devices() -> Iterator[HeldMemory]:
    cuda, mps, mlx = libraries_in_use()
    if cuda is not None:
        for index in range(cuda.device_count()):
            active, reserved = cuda.memory_allocated(index), cuda.memory_reserved(index)
            peak = not_below(cuda.max_memory_allocated(index), active)
            total = cuda.get_device_properties(index).total_memory
            yield HeldMemory(f"cuda:{index}", active, peak, max(0, reserved - active), total)
    if mps is not None:
        active, held = mps.current_allocated_memory(), mps.driver_allocated_memory()
        yield HeldMemory("mps", active, None, max(0, held - active), mps.recommended_max_memory())
    if mlx is not None:
        active = mlx.get_active_memory()
        yield HeldMemory("mlx", active, not_below(mlx.get_peak_memory(), active), mlx.get_cache_memory(), None)


def not_below(peak: int | None, active: int) -> int | None:
    """Return a peak that is at least what is held now: counters are reset, rounded, and read one after the other."""
    return None if peak is None else max(peak, active)
