"""What one step of the worker may use besides its arguments, and which model it is busy with."""

import math
import mmap
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from titrant.schema.record import Measurement

Send = Callable[[Mapping[str, Any]], None]
_PROGRESS_SECONDS = 0.1
# The file that names the model which a step is busy with, and how much of its name is kept.
_AT_WORK, _NAME_BYTES = "at-work", 256


class AtWork:
    """Which of several models a step is busy with, in memory that outlives the process: a crash is put down to it.

    Naming one takes less than a microsecond, so that it can be done before every run.
    """

    def __init__(self, folder: Path) -> None:
        file = folder / _AT_WORK
        file.write_bytes(bytes(_NAME_BYTES))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), _NAME_BYTES)

    def name(self, name: str) -> None:
        """Say which model is at work from now on, "" for none."""
        self._shared[:] = name.encode()[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0")


def at_work(folder: Path) -> str:
    """Return which model the worker of a folder was busy with when it ended; "" where it did not say."""
    try:
        return (folder / _AT_WORK).read_bytes().rstrip(b"\0").decode("utf-8", "replace")
    except OSError:
        return ""


class StepContext:
    """One step's seed, threads, scratch folder, key of row names, generator, measurements and progress."""

    row_key: Callable[[], bytes]
    attend: Callable[[str], None]
    checkpoints: Path | None = None
    code: Mapping[str, str] = MappingProxyType({})

    def __init__(self, seed: int, threads: int, scratch: Path, send: Callable[[Mapping[str, Any]], None]) -> None:
        self.seed = seed
        self.threads = threads
        self.scratch = scratch
        self.measurements: dict[str, Measurement] = {}
        self.not_reused = ""
        self._send = send
        self._said_at = 0.0

    @cached_property
    def generator(self) -> Any:
        """A `numpy.random.Generator` seeded for this step."""
        import numpy as np

        return np.random.default_rng(self.seed)

    def measure(self, name: str, value: float, unit: str = "") -> None:
        """Keep a number in the step's result; ValueError for NaN and infinity. The last one of a name counts."""
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"the measurement {name} is {number}")
        self.measurements[name] = Measurement(name, number, unit)
        self._send({"event": "measured", "name": name, "value": number, "unit": unit})

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far the step is; told on at most ten times a second, and at the end."""
        now = time.monotonic()
        if now - self._said_at < _PROGRESS_SECONDS and done < total:
            return
        self._said_at = now
        self._send({"event": "progress", "done": float(done), "total": float(total), "note": note})

    def curve(self, place: int, figures: Mapping[str, float]) -> None:
        """Tell a point of a learning curve, by its place from 1; what is not finite is left out."""
        finite = {name: float(value) for name, value in figures.items() if math.isfinite(value)}
        self._send({"event": "curve", "place": place, "figures": finite})

    def note(self, text: str) -> None:
        """Tell whoever follows the run something that matters to them."""
        self._send({"event": "note", "text": text})

    def do_not_reuse(self, because: str) -> None:
        """Let the result count for this run only; the first reason is told."""
        self.not_reused = self.not_reused or because
