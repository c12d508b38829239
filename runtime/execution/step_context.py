"""What an operator may use besides its arguments, as the worker gives it."""

import math
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from titrant.schema.record import Measurement

_TOLD_SECONDS = 0.1


class StepContext:
    """One step's seed, threads, scratch folder, generator, measurements and progress."""

    def __init__(self, seed: int, threads: int, scratch: Path, send: Callable[[Mapping[str, Any]], None]) -> None:
        self.seed = seed
        self.threads = threads
        self.scratch = scratch
        self.measurements: dict[str, Measurement] = {}
        self.not_reused = ""
        self._send = send
        self._told = 0.0

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
        if now - self._told < _TOLD_SECONDS and done < total:
            return
        self._told = now
        self._send({"event": "progress", "done": float(done), "total": float(total), "note": note})

    def do_not_reuse(self, because: str) -> None:
        """Let the result count for this run only; the first reason is told."""
        self.not_reused = self.not_reused or because
