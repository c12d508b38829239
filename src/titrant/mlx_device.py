"""Apple's MLX as a device: what its allocator says, and waiting for it. On Linux it computes on the CPU."""

from importlib.util import find_spec

from titrant.device_info import DeviceInfo

MLX = "mlx"


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
