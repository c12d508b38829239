"""Count and time the calls of a function, for as long as the process lives."""

import functools
import inspect
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, overload

from titrant.runtime.instruments.clock.timer import Timer
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted, format_time

if TYPE_CHECKING:
    import torch

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_CALLS = "__titrant_calls__"


@dataclass(frozen=True)
class CallTimes:
    """The calls of a function so far: how many, how many of them raised, and seconds in all and at worst.

    A call inside another one of the same function is counted, and its time is the outer one's. Calls that run at once,
    in threads or as coroutines, each count with their whole time, waiting included.
    """

    name: str
    calls: int
    failed: int
    total_seconds: float
    worst_seconds: float
    outermost: int

    @property
    def mean_seconds(self) -> float:
        """Seconds of a call that is not inside another one; 0 without any."""
        return self.total_seconds / self.outermost if self.outermost else 0.0

    def __str__(self) -> str:
        """Say it in a line."""
        if not self.calls:
            return f"{self.name}: not called"
        failed = f", {self.failed:,} failed" if self.failed else ""
        inner = f", {self.calls - self.outermost:,} inside others" if self.outermost < self.calls else ""
        return (
            f"{self.name}: {counted(self.calls, 'call')}{failed}{inner}, {format_time(self.total_seconds)} in all, "
            f"{format_time(self.mean_seconds)} each, {format_time(self.worst_seconds)} at worst"
        )


class _Calls:
    """Counts the calls of one function, from any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inside: ContextVar[bool] = ContextVar(f"inside {name}", default=False)
        self._lock = threading.Lock()
        self._calls = self._failed = self._outermost = 0
        self._total = self._worst = 0.0

    def add(self, seconds: float, *, failed: bool, outermost: bool) -> None:
        with self._lock:
            self._calls += 1
            self._failed += failed
            self._worst = max(self._worst, seconds)
            if outermost:
                self._outermost += 1
                self._total += seconds

    @property
    def seen(self) -> CallTimes:
        with self._lock:
            return CallTimes(self.name, self._calls, self._failed, self._total, self._worst, self._outermost)


@overload
def profile(function: Decorated) -> Decorated: ...
@overload
def profile(
    *, name: str = "", silent: bool = True, device: "torch.device | str | None" = None
) -> Callable[[Decorated], Decorated]: ...
def profile(
    function: Decorated | None = None,
    *,
    name: str = "",
    silent: bool = True,
    device: "torch.device | str | None" = None,
) -> Any:
    """Count and time every call of a function or method, also an `async` one; `titrant.call_times` reads the counts.

    Used as `@titrant.profile` or `@titrant.profile(name="encode", silent=False)`. The function keeps its signature,
    name and docstring. Each call is timed as `titrant.Timer` does, devices waited for, and the MLX arrays that it
    returns are computed first; an `async` function's time includes what it waits for. Unless `silent`, each call prints
    its time on stderr. TypeError for a generator function, whose work is done by whoever uses it up, for a class, and
    for a `classmethod` or `staticmethod`, which belongs above this one.
    """
    if function is None:
        return functools.partial(_profiled, name=name, silent=silent, device=device)
    return _profiled(function, name=name, silent=silent, device=device)


def call_times(function: Callable[..., Any]) -> CallTimes:
    """Return what is counted of a function that `titrant.profile` decorates; TypeError for any other."""
    calls = getattr(function, _CALLS, None)
    if not isinstance(calls, _Calls):
        raise TypeError(f"{_name(function)} is not decorated: write @titrant.profile above it")
    return calls.seen


def _profiled(function: Any, *, name: str, silent: bool, device: "torch.device | str | None") -> Any:
    _refuse(function)
    calls = _Calls(name or _name(function))

    def timer() -> Timer:
        return Timer(calls.name, silent=silent, device=device)

    timer()  # a device that does not work is said now, not at the first call
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def called(*args: Any, **kwargs: Any) -> Any:
            outermost, clock, failed = not calls.inside.get(), timer(), True
            token = calls.inside.set(True)
            try:
                with clock:
                    result = clock.force(await function(*args, **kwargs))
                failed = False
                return result
            finally:
                calls.inside.reset(token)
                calls.add(clock.elapsed, failed=failed, outermost=outermost)

    else:

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            outermost, clock, failed = not calls.inside.get(), timer(), True
            token = calls.inside.set(True)
            try:
                with clock:
                    result = clock.force(function(*args, **kwargs))
                failed = False
                return result
            finally:
                calls.inside.reset(token)
                calls.add(clock.elapsed, failed=failed, outermost=outermost)

    setattr(called, _CALLS, calls)
    return called


def _refuse(function: Any) -> None:
    """Refuse what a call of would not time."""
    if isinstance(function, (classmethod, staticmethod)):
        raise TypeError(f"write @{type(function).__name__} above @titrant.profile, not below it")
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"titrant.profile takes a function or a method, not {_name(function)}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{_name(function)} is a generator: calling it does no work yet; time what uses it up, with titrant.Timer"
        )


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__name__)
