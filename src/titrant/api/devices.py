"""Devices in the user's own process and the memory that they hold: describe them, move values to one."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from titrant.runtime.arrays.walk import changed
from titrant.runtime.instruments.memory.usage import MemoryUsage, not_below, usage
from titrant.runtime.machine.devices import MLX, get_device, named_device, why_not, why_not_mlx
from titrant.runtime.machine.peak_memory import peak_resident_bytes, resident_bytes

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")


@dataclass(frozen=True)
class DeviceInfo:
    """A device and its memory in bytes; None where a figure is unknown. `note` is a remark, or "".

    `active_bytes`, `peak_bytes` and `cached_bytes` are of this process: held by tensors, the most that was (never below
    what is held now, also after a library's peak was reset), and kept by the allocator. On the CPU, active is the
    process's resident memory and nothing is cached.
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


def get_device_info(device: "torch.device | str | None" = None) -> DeviceInfo:
    """Describe a device (default: the one that `get_device` chooses); where it does not work, the CPU, with a note.

    "mlx" describes what Apple's MLX computes on and holds. ValueError for a name that torch does not know.
    """
    if device == MLX:
        reason = why_not_mlx()
        return _in_place_of(MLX, reason) if reason else describe_mlx()
    chosen = get_device() if device in (None, "auto") else named_device(device)
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


def memory_usage() -> MemoryUsage:
    """Return the memory that this process holds, and that each accelerator which it has begun to use holds for it.

    Nothing is loaded to find out: a library that was not imported holds nothing.
    """
    from titrant.compiler.machine.limits import memory_total

    return usage(memory_total())


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

    from titrant.compiler.machine.limits import memory_available, memory_total
    from titrant.compiler.machine.processor import UNKNOWN, processor

    name, _ = processor(platform.system().lower())
    active = resident_bytes()
    return DeviceInfo(
        type="cpu",
        index=None,
        name="CPU" if name == UNKNOWN else name,
        total_bytes=memory_total(),
        free_bytes=memory_available(),
        active_bytes=active,
        peak_bytes=not_below(peak_resident_bytes(), active),
        cached_bytes=None,
    )


def _cuda(device: "torch.device") -> DeviceInfo:
    import torch

    index = torch.cuda.current_device() if device.index is None else device.index
    free, total = torch.cuda.mem_get_info(index)
    active = torch.cuda.memory_allocated(index)
    return DeviceInfo(
        type="cuda",
        index=index,
        name=torch.cuda.get_device_name(index),
        total_bytes=total,
        free_bytes=free,
        active_bytes=active,
        peak_bytes=not_below(torch.cuda.max_memory_allocated(index), active),
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
        peak_bytes=not_below(mlx.get_peak_memory(), active),
        cached_bytes=cached,
        note="memory is shared with the CPU: total is what Metal recommends to use"
        if metal
        else "it uses the CPU here",
    )
