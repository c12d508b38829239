"""Time a stretch of code, with the device's work in it."""

import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from titrant.runtime.machine.devices import MLX, synchronize, wait_for_used, why_not, why_not_mlx
from titrant.schema.values.units import format_time

if TYPE_CHECKING:
    import torch

Forced = TypeVar("Forced")
# How many timers that print are open around the next one, in each thread.
_open = threading.local()


class Timer:
    """Measure the wall time of a `with` block in seconds.

    The clock starts and stops once every device has done what it was given: `device` where one is named, else each that
    torch (CUDA, Metal) or MLX has begun to use in this process; nothing is imported to find out. MLX computes what is
    asked of it only when somebody looks: hand what the block makes to `force`, and it is computed before the clock
    stops.

    `elapsed` is the latest block's time, also while it runs and after an exception, which passes through. One timer may
    be entered again inside its own block: the outermost counts. With a name and `silent=False` it prints its time on
    stderr, inner timers indented. Raises ValueError for a timer that would print without a name, or a device that torch
    does not know, RuntimeError for one that does not work here.
    """

    __slots__ = ("_begun", "_depth", "_elapsed", "_forced", "device", "name", "silent")

    def __init__(self, name: str = "", *, silent: bool = True, device: "torch.device | str | None" = None) -> None:
        if not silent and not name:
            raise ValueError("a timer that prints needs a name: titrant.Timer('load', silent=False)")
        if device is not None:
            reason = why_not_mlx() if device == MLX else why_not(str(device))
            if reason:
                raise RuntimeError(f"cannot time {device}: {reason}")
        self.name, self.silent, self.device = name, silent, device
        self._begun = self._elapsed = 0.0
        self._depth = 0
        self._forced: list[Any] = []

    def __repr__(self) -> str:
        """Say its name, and how long the latest block took or has taken."""
        name = f"{self.name!r}, " if self.name else ""
        state = "running for " if self._depth else ""
        return f"Timer({name}{state}{format_time(self.elapsed) if self._begun else 'not started'})"

    @property
    def elapsed(self) -> float:
        """Seconds of the latest block, until now where it still runs; 0 before the first."""
        return time.perf_counter() - self._begun if self._depth else self._elapsed

    def force(self, value: Forced) -> Forced:
        """Return a value, and have the MLX arrays in it computed before the clock stops; others are left alone."""
        if "mlx.core" in sys.modules:
            self._forced.append(value)
        return value

    def __enter__(self) -> "Timer":
        if self._depth == 0:
            _wait(self.device)
            if not self.silent:
                _open.count = getattr(_open, "count", 0) + 1
            self._begun = time.perf_counter()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, calls: TracebackType | None
    ) -> None:
        if self._depth > 1:
            self._depth -= 1
            return
        try:
            if kind is None:
                if self._forced:
                    _force(self._forced)
                _wait(self.device)
            else:
                # The error that is under way says more than what a device has to say after it.
                with suppress(Exception):
                    _wait(self.device)
        finally:
            self._elapsed = time.perf_counter() - self._begun
            self._depth = 0
            self._forced.clear()
            if not self.silent:
                _open.count -= 1
                say(self.name, self._elapsed, kind, "  " * _open.count)


def _wait(device: "torch.device | str | None") -> None:
    if device is None:
        wait_for_used()
    else:
        synchronize(device)


def _force(values: list[Any]) -> None:
    """Compute the MLX arrays in values: in mappings, sequences and dataclasses, at any depth."""
    import dataclasses

    import mlx.core as mlx

    def opened(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return [opened(getattr(value, field.name)) for field in dataclasses.fields(value)]
        if isinstance(value, (list, tuple)):
            return [opened(item) for item in value]
        if isinstance(value, dict):
            return [opened(item) for item in value.values()]
        return value if isinstance(value, mlx.array) else None

    mlx.eval(*(opened(value) for value in values))


def say(name: str, seconds: float, error: type[BaseException] | None, indent: str = "") -> None:
    """Print a time on stderr, where there is one; never raises."""
    ended = "" if error is None else f" (ended by {error.__name__})"
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{indent}{name}: {format_time(seconds)}{ended}\n")
