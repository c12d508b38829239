"""A machine's facts as text for people."""

from titrant.schema.facts import Hardware
from titrant.schema.units import format_size


def hardware_text(hardware: Hardware) -> str:
    """Write the machine in a dozen lines; what is not known is said to be unknown."""
    identity, volatile = hardware.identity, hardware.volatile
    rows = [
        ("cpu", f"{identity.cpu or 'unknown'} ({identity.machine}, {identity.cores} usable cores)"),
        ("instructions", ", ".join(identity.instructions) or "unknown"),
        ("memory", f"{_size(identity.memory_bytes)}, {_size(volatile.memory_available_bytes)} available"),
        ("disk", f"{_size(volatile.disk_free_bytes)} free where the store lives"),
        ("system", f"{identity.system}, Python {identity.python}"),
    ]
    rows += [
        (f"gpu {gpu.index}", f"{gpu.name}, {_size(gpu.memory_bytes)}, capability {gpu.capability or 'unknown'}")
        for gpu in identity.gpus
    ] or [("gpu", "none found")]
    rows.append(("packages", ", ".join(f"{name} {version}" for name, version in identity.packages.items())))
    return "\n".join(f"{name:<14}{text}" for name, text in rows)


def _size(size: int | None) -> str:
    return "unknown" if size is None else format_size(size)
