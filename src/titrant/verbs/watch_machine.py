"""Follow what moves on this machine: cores, memory, disk, accelerators."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from titrant.schema.facts import HardwareVolatile


@dataclass(frozen=True)
class Sample:
    """What was seen `seconds` after the watch began; `cores` is how busy each core of the machine was since, 0..1."""

    seconds: float
    cores: tuple[float, ...]
    volatile: HardwareVolatile


def watch_machine(home: Path, seconds: float = float("inf"), every: float = 1.0) -> Iterator[Sample]:
    """Yield a sample `every` so many seconds, for `seconds`; the first comes after the first interval."""
    import psutil

    from titrant.compiler.hardware import detect_volatile

    start = time.monotonic()
    psutil.cpu_percent(percpu=True)  # what is counted from
    count = 0
    while count == 0 or (count + 1) * every <= seconds + every / 2:
        count += 1
        time.sleep(max(0.0, start + count * every - time.monotonic()))
        busy = tuple(percent / 100 for percent in psutil.cpu_percent(percpu=True))
        yield Sample(round(time.monotonic() - start, 1), busy, detect_volatile(home))
