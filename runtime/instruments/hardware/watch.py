"""Watch the hardware while a callable runs."""

import asyncio
import inspect
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from titrant.runtime.instruments.hardware.process import machine_bytes
from titrant.runtime.instruments.hardware.sampler import Sampler
from titrant.runtime.instruments.hardware.utilization import Utilization, WatchedDevice
from titrant.runtime.instruments.refused.numbers import check_above
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError


def watch(
    callable: Callable[[], Any],
    seconds: float = 60.0,
    interval: float = 0.5,
    *,
    cores: bool = False,
) -> Utilization:
    """Call a callable without arguments, sample the hardware meanwhile, and return what was seen and what it returned.

    Sampled are CPU and memory of this process with its children and of the machine, and the accelerators that answer;
    with `cores` every logical core as well. A sample is taken every `interval` seconds in a thread, more rarely where
    samples would cost more than a hundredth of the time, and one at the end, so that there is always one. `seconds` is
    the longest that is sampled: the callable goes on after it, and its whole time is in the result. Code that lets no
    other thread run is sampled before and after it only.

    The callable's own error is raised as it is; what was sampled until then is its attribute `utilization`. Raises
    TypeError for what cannot be called, RecipeError X671 for times that are not above 0, and X701 where a generator or
    a coroutine is returned: it would work only after the watch.
    """
    if not hasattr(callable, "__call__"):  # noqa: B004 - the name of the builtin is the parameter's
        raise TypeError(f"watch takes what can be called, not {type(callable).__name__}: titrant.watch(lambda: f(x))")
    for name, given in (("seconds", seconds), ("interval", interval)):
        check_above(name, given, 0, "seconds")
    sampler = Sampler(interval=interval, limit_seconds=seconds, cores=cores)
    sampler.start()
    begun = time.monotonic()
    try:
        result = callable()
    except BaseException as error:
        sampler.stop()
        # An exception of a class with slots takes no attribute.
        with suppress(AttributeError, TypeError):
            error.utilization = utilization(sampler, time.monotonic() - begun, interval)  # type: ignore[attr-defined]
        raise
    took = time.monotonic() - begun
    sampler.stop()
    _refuse_unfinished(result)
    return replace(utilization(sampler, took, interval), result=result)


def utilization(sampler: Sampler, seconds: float, interval: float) -> Utilization:
    """Return what a sampler that has stopped saw."""
    samples = tuple(sampler.samples)
    with_machine = any(sample.machine_bytes is not None for sample in samples)
    return Utilization(
        seconds=seconds,
        interval=interval,
        samples=samples,
        devices=tuple(WatchedDevice(device.name, device.total_bytes) for device in sampler.devices),
        logical_cores=sampler.logical_cores,
        machine_total_bytes=machine_bytes() if with_machine else None,
        notes=tuple(sampler.notes),
    )


def _refuse_unfinished(result: Any) -> None:
    """Refuse what has done nothing yet."""
    if inspect.iscoroutine(result) or inspect.isasyncgen(result) or asyncio.isfuture(result):
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that nobody awaited it
        what, advice = "a coroutine", "watch it run: titrant.watch(lambda: asyncio.run(work()))"
    elif inspect.isgenerator(result):
        what, advice = "a generator", "watch it being used up: titrant.watch(lambda: list(work()))"
    else:
        return
    raise RecipeError(Diagnostic("X701", f"the callable returned {what}, which has not worked yet", help=advice))
