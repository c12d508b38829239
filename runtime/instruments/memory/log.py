"""Memory step by step: what each step of a user's own code left behind."""

import gc

from titrant.runtime.instruments.memory.usage import MemoryUsage, usage
from titrant.runtime.machine.peak_memory import hand_back
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import format_size


@dataclass(frozen=True)
class MemoryStep:
    """What was held when a step had ended, and by how much each place (the process, then devices) grew in it."""

    label: str
    usage: MemoryUsage
    grown_bytes: tuple[int, ...]


class MemoryLog:
    """Note what is held after each step of your own code; printed, it is a table.

    The first step is compared with what was held when the log was made. Objects that only point at each other are
    collected before each note, and freed memory is handed back where the C library can (glibc), so that neither counts
    as held. Libraries with pools of their own may keep what they free.
    """

    def __init__(self) -> None:
        self._steps: list[MemoryStep] = []
        self._before = _now()

    def add(self, label: str) -> MemoryStep:
        """Note what is held now, under a label, and return it."""
        now = _now()
        earlier = {place.name: place.in_use_bytes for place in self._before.places}
        grown = tuple(place.in_use_bytes - earlier.get(place.name, 0) for place in now.places)
        self._before = now
        self._steps.append(MemoryStep(label, now, grown))
        return self._steps[-1]

    @property
    def steps(self) -> tuple[MemoryStep, ...]:
        """Every note, in order."""
        return tuple(self._steps)

    def __str__(self) -> str:
        """Write a table: label, and for each place what is held and by how much that is more than before."""
        if not self._steps:
            return "no step was noted: log.add('load')"
        names = list(dict.fromkeys(place.name for step in self._steps for place in step.usage.places))
        rows = [["step", *(cell for name in names for cell in (name, "grown"))]]
        for step in self._steps:
            held = dict(zip((place.name for place in step.usage.places), step.grown_bytes, strict=True))
            sizes = {place.name: place.in_use_bytes for place in step.usage.places}
            cells = [(format_size(sizes[n]), signed(held[n])) if n in sizes else ("–", "–") for n in names]
            rows.append([step.label, *(cell for pair in cells for cell in pair)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        )


def signed(size: int) -> str:
    """Write a difference in bytes with its sign: "+1.5 MiB", "-3 B", "0 B"."""
    return f"+{format_size(size)}" if size > 0 else format_size(size)


def _now() -> MemoryUsage:
    gc.collect()
    hand_back()
    return usage(None)
