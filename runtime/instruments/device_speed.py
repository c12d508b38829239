"""Measure an accelerator: matrix products, memory and transfer bandwidth, launch and call latency."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ROUNDS = 5
# Rows and columns of the square products: 17 GFLOP each, which fill a large accelerator and take a small one 10 ms.
SIZE = 2048
# Copied within the accelerator's memory, larger than its caches; and brought there from the machine's.
_COPIED_BYTES, _BROUGHT_BYTES = 256 << 20, 32 << 20
_LAUNCHES, _CALLS, _REPEATS = 500, 50, 8

Call = Callable[[], object]


def device_speeds() -> dict[str, dict[str, float | None]]:
    """Return the figures of `titrant.schema.facts.GpuSpeed` of every accelerator that torch can use, by its name.

    One that fails on the way, for lack of memory or because its driver and torch do not fit together, is left out.
    """
    found = {}
    for device in devices():
        try:
            found[device] = device_speed(device)
        except RuntimeError:  # what torch raises for all of these
            continue
    return found


def devices() -> list[str]:
    """List the accelerators that torch can use: cuda:0, cuda:1, mps:0."""
    import torch

    if torch.cuda.is_available():
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["mps:0"] if torch.backends.mps.is_available() else []


def device_speed(device: str, size: int = SIZE, copied: int = _COPIED_BYTES) -> dict[str, float | None]:
    """Measure one device, "cpu" included; RuntimeError where it fails.

    `size` is that of the square products, `copied` the bytes that are copied within its memory.
    """
    import torch

    wait = partial(_wait, device)
    flops = 2 * size**3
    products = {name: _product(size, getattr(torch, name), device) for name in ("float32", "float16")}
    source, target = (torch.zeros(copied // 4, device=device) for _ in range(2))
    own = torch.zeros(_BROUGHT_BYTES // 4)
    few, small = torch.zeros(64), torch.zeros(64, device=device)
    return {
        "fp32_flops_per_second": flops / _seconds(products["float32"], wait),
        "half_flops_per_second": flops / _seconds(products["float16"], wait),
        "memory_bytes_per_second": 2 * copied / _seconds(partial(target.copy_, source), wait),
        "transfer_bytes_per_second": _BROUGHT_BYTES / _seconds(partial(own.to, device, copy=True), wait),
        "launch_seconds": _seconds(partial(small.add_, 1), wait, _LAUNCHES),
        "call_seconds": _seconds(partial(_there_and_back, few, device), wait, _CALLS),
    }


def _product(size: int, dtype: "torch.dtype", device: str) -> Call:
    import torch

    left, right, result = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(3))
    return partial(torch.mm, left, right, out=result)


def _there_and_back(numbers: "torch.Tensor", device: str) -> Any:
    return numbers.to(device).add_(1).to("cpu")


def _seconds(call: Call, wait: Callable[[], None], repeats: int = _REPEATS) -> float:
    """Return the median over rounds of what one of several calls in a row takes, the waiting at the end included."""
    call()
    wait()
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        found.append((time.perf_counter() - start) / repeats)
    return statistics.median(found)


def _wait(device: str) -> None:
    """Wait until a device has done everything that was queued on it."""
    import torch

    kind = device.partition(":")[0]
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()
