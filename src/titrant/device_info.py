"""A device and its memory, as `titrant.get_device_info` describes them."""

from dataclasses import dataclass


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
