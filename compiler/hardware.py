"""Detect the machine at hand: identity facts apart from volatile ones."""

import platform
from pathlib import Path

from titrant.compiler.accelerators import accelerators
from titrant.compiler.limits import disk_free, memory_available, memory_total, usable_cores
from titrant.compiler.packages import installed
from titrant.compiler.processor import processor
from titrant.schema.facts import Hardware, HardwareIdentity, HardwareVolatile

_MACHINES = {"amd64": "x86_64", "x64": "x86_64"}


def detect(store: Path | None = None) -> Hardware:
    """Describe this machine; `store` is the folder whose disk will hold artifacts (the working folder without one).

    Reads the kernel's files, the GPU driver's library and package metadata; imports no engine and never raises.
    What cannot be found out is None, or "unknown" where text is due.
    """
    return Hardware(identity=detect_identity(), volatile=detect_volatile(store))


def detect_identity() -> HardwareIdentity:
    """Describe what stays the same from one moment to the next."""
    system = platform.system().lower() or "unknown"
    machine = platform.machine().lower() or "unknown"
    machine = _MACHINES.get(machine, machine)
    cpu, instructions = processor(system)
    return HardwareIdentity(
        system=system,
        machine=machine,
        cpu=cpu,
        instructions=instructions,
        cores=usable_cores(),
        memory_bytes=memory_total(),
        gpus=accelerators(system, machine, cpu),
        python=platform.python_version(),
        packages=installed(),
    )


def detect_volatile(store: Path | None = None) -> HardwareVolatile:
    """Describe what moves while one looks: free memory, and free disk where `store` is."""
    return HardwareVolatile(memory_available(), disk_free(store if store is not None else Path.cwd()))
