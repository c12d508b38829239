"""What an operator may use besides its arguments, in its plain form."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from titrant.schema.record import Measurement

Listener = Callable[[float, float, str], None]


def silent(done: float, total: float, note: str) -> None:
    """Hear progress and say nothing."""


@dataclass
class PlainContext:
    """A context that keeps measurements in a list and hands progress to a listener.

    `scratch` is an empty folder that outlives the call, as output values may refer to files in it.
    """

    seed: int
    threads: int
    scratch: Path
    listen: Listener = silent
    measurements: list[Measurement] = field(default_factory=list)
    not_reused: list[str] = field(default_factory=list)

    @cached_property
    def generator(self) -> np.random.Generator:
        """The step's one source of randomness; each call of it goes on where the last one ended."""
        return np.random.default_rng(self.seed)

    def measure(self, name: str, value: float, unit: str = "") -> None:
        """Keep a number in the step's result; ValueError for NaN and infinity."""
        if not math.isfinite(value):
            raise ValueError(f"the measurement {name} is {value}")
        self.measurements.append(Measurement(name, float(value), unit))

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far the step is."""
        self.listen(done, total, note)

    def do_not_reuse(self, because: str) -> None:
        """Remember why the result counts for this call only."""
        self.not_reused.append(because)
