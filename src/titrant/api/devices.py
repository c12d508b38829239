"""Devices in the user's own process: choose one, describe it, move values to it, wait for it.

Apple's MLX is a device too; on Linux it computes on the CPU.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from titrant.runtime.instruments.arrays.walk import changed

if TYPE_CHECKING:
    import torch

MLX = "mlx"
Value = TypeVar("Value")


@dataclass(frozen=True)
class DeviceInfo:
    """A device and its memory in bytes; None where a figure is unknown. `note` is a remark, or "".

    `active_bytes`, `peak_bytes` and `cached_bytes` are of this process: held by tensors, the most that was, and kept
    by the allocator. On the CPU, active is the process's resident memory and nothing is cached.
    """

    type: str  # cpu, cuda, mps, mlx
    index: int | None
    name: str
    total_bytes: int | None = None
    free_bytes: int | None = None
    active_bytes: int | None = None
    peak_bytes: int | None = None
    cached_bytes: int | None = None
    note: str = ""


def get_device(preferred: str = "auto") -> "torch.device":
    """Return the device to use: `preferred` where it works, and otherwise the CPU, with a warning that says why.

    "auto" is the first of cuda, mps and cpu that works. Others are cpu, cuda, cuda:N and mps. ValueError for a name
    that torch does not know.
    """
    import torch

    if preferred == "auto":
        return torch.device("cuda" if not why_not("cuda") else "mps" if not why_not("mps") else "cpu")
    reason = why_not(preferred)
    if reason:
        warnings.warn(f"using the CPU: {reason}", stacklevel=2)
        return torch.device("cpu")
    return torch.device(preferred)


def why_not(device: str) -> str:
    """Say why a device cannot be used here; "" where it can. ValueError for a name that torch does not know."""
    import torch

    try:
        torch_device = torch.device(device)
    except RuntimeError:
        raise ValueError(f"no device is called {device!r}; write auto, cpu, cuda, cuda:N or mps") from None
    if torch_device.type == "cpu":
        return ""
    if torch_device.type == "cuda":
        return _why_not_cuda(torch_device.index)
    if torch_device.type == "mps":
        built = torch.backends.mps.is_built()
        works = built and torch.backends.mps.is_available()
        return "" if works else "Metal does not work here" if built else "the installed torch is built without Metal"
    return f"titrant does not work on devices of type {torch_device.type}"


def _why_not_cuda(index: int | None) -> str:
    import torch

    if torch.version.cuda is None:
        return "the installed torch is built without CUDA"
    if not torch.cuda.is_available():
        return "CUDA finds no GPU that it can use"
    count = torch.cuda.device_count()
    if index is not None and index >= count:
        return f"there is no cuda:{index}, the last is cuda:{count - 1}"
    return ""


def get_device_info(device: "torch.device | str | None" = None) -> DeviceInfo:
    """Describe a device (default: the one that `get_device` chooses); where it does not work, the CPU, with a note.

    "mlx" describes what Apple's MLX computes on and holds.
    """
    if device == MLX:
        reason = why_not_mlx()
        return _in_place_of(MLX, reason) if reason else describe_mlx()
    import torch

    chosen = torch.device(device) if device is not None else get_device()
    reason = why_not(str(chosen))
    if reason:
        return _in_place_of(str(chosen), reason)
    describe = {"cuda": _cuda, "mps": _mps}.get(chosen.type)
    return _cpu() if describe is None else describe(chosen)


def _in_place_of(device: str, reason: str) -> DeviceInfo:
    return dataclasses.replace(_cpu(), note=f"described in place of {device}: {reason}")


def device_status() -> tuple[DeviceInfo, ...]:
    """Describe the CPU and every accelerator that works, as they are now."""
    import torch

    names = ["cpu"]
    names += [] if why_not("cuda") else [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    names += [] if why_not("mps") else ["mps"]
    names += [] if why_not_mlx() else [MLX]
    return tuple(get_device_info(name) for name in names)


def synchronize(device: "torch.device | str | None" = None) -> None:
    """Wait until a device (default: the one that `get_device` chooses) has done what it was given.

    The CPU works in step, so there is nothing to wait for. "mlx" waits for Apple's MLX. RuntimeError for a device that
    does not work here.
    """
    if device == MLX:
        if reason := why_not_mlx():
            raise RuntimeError(f"cannot wait for {MLX}: {reason}")
        wait_for_mlx()
        return
    import torch

    chosen = torch.device(device) if device is not None else get_device()
    reason = why_not(str(chosen))
    if reason:
        raise RuntimeError(f"cannot wait for {chosen}: {reason}")
    if chosen.type == "cuda":
        torch.cuda.synchronize(chosen)
    elif chosen.type == "mps":
        torch.mps.synchronize()


def move_to_device(value: Value, device: "torch.device | str") -> Value:
    """Return a value whose tensors are on a device: tensors, modules and whatever else has `.to`, at any depth.

    Looked into are the containers of `titrant.tree`, which are copied; anything else is passed through as it is, and
    what stands in several places is moved once. A module is moved in place, as torch does. Raises ValueError for a
    value that holds itself.
    """
    result: Value = changed(value, lambda leaf: leaf.to(device) if _can_move(leaf) else leaf, _can_move)
    return result


def _can_move(value: Any) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "to", None))


def _cpu() -> DeviceInfo:
    import platform

    import psutil

    from titrant.compiler.machine.limits import memory_available, memory_total
    from titrant.compiler.machine.processor import UNKNOWN, processor

    name, _ = processor(platform.system().lower())
    return DeviceInfo(
        type="cpu",
        index=None,
        name="CPU" if name == UNKNOWN else name,
        total_bytes=memory_total(),
        free_bytes=memory_available(),
        active_bytes=psutil.Process().memory_info().rss,
        peak_bytes=_peak_resident(),
        cached_bytes=None,
    )


def _peak_resident() -> int | None:
    import sys

    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cuda(device: "torch.device") -> DeviceInfo:
    import torch

    index = torch.cuda.current_device() if device.index is None else device.index
    free, total = torch.cuda.mem_get_info(index)
    return DeviceInfo(
        type="cuda",
        index=index,
        name=torch.cuda.get_device_name(index),
        total_bytes=total,
        free_bytes=free,
        active_bytes=torch.cuda.memory_allocated(index),
        peak_bytes=torch.cuda.max_memory_allocated(index),
        cached_bytes=torch.cuda.memory_reserved(index),
    )


def _mps(device: "torch.device") -> DeviceInfo:
    """Describe Apple's GPU; torch counts what it holds, and of the shared memory only what it recommends to use."""
    import torch

    total, held = torch.mps.recommended_max_memory(), torch.mps.driver_allocated_memory()
    active = torch.mps.current_allocated_memory()
    return DeviceInfo(
        type="mps",
        index=0,
        name="Apple GPU (Metal)",
        total_bytes=total,
        free_bytes=max(0, total - held),
        active_bytes=active,
        peak_bytes=None,
        cached_bytes=max(0, held - active),
        note="memory is shared with the CPU: total is what Metal recommends to use, and the peak is not counted",
    )


def why_not_mlx() -> str:
    """Say why MLX cannot be used here; "" where it can."""
    return "" if find_spec("mlx") else "mlx is not installed: pip install mlx"


def describe_mlx() -> DeviceInfo:
    """Describe MLX's default device; its counts of bytes are of this process."""
    import mlx.core as mlx

    metal = mlx.metal.is_available()
    # Where the facts stand has moved between versions.
    facts = (mlx.metal if metal and not hasattr(mlx, "device_info") else mlx).device_info()
    total = facts.get("max_recommended_working_set_size")
    active, cached = mlx.get_active_memory(), mlx.get_cache_memory()
    return DeviceInfo(
        type=MLX,
        index=0,
        name=str(facts.get("device_name") or facts.get("architecture") or "MLX"),
        total_bytes=total,
        free_bytes=None if total is None else max(0, total - active - cached),
        active_bytes=active,
        peak_bytes=mlx.get_peak_memory(),
        cached_bytes=cached,
        note="memory is shared with the CPU: total is what Metal recommends to use"
        if metal
        else "it uses the CPU here",
    )


def wait_for_mlx() -> None:
    """Wait until MLX has done what it was given."""
    import mlx.core as mlx

    mlx.synchronize()
