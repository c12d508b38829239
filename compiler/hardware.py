"""Detect the machine at hand: identity facts apart from volatile ones."""

import platform
from pathlib import Path

from titrant.compiler.accelerators import accelerators
from titrant.compiler.bench_file import read_bench
from titrant.compiler.kernel_variables import kernel_variables
from titrant.compiler.limits import disk_free, memory_available, memory_total, usable_cores
from titrant.compiler.packages import installed
from titrant.compiler.processor import UNKNOWN, processor
from titrant.schema.facts import GpuState, Hardware, HardwareIdentity, HardwareVolatile
from titrant.schema.home_path import home_path

_MACHINES = {"amd64": "x86_64", "x64": "x86_64"}


def detect(home: Path | None = None) -> Hardware:
    """Describe this machine; `home` is where the store lives and what was measured is kept.

    Without one it is the folder that every verb takes: $TITRANT_HOME, or .titrant in the current folder. Reads the
    kernel's files, the GPU driver's library and package metadata; imports no engine, writes nothing and never raises.
    What cannot be found out is None, or "unknown" where text is due; `bench` holds nothing measured until
    `titrant hardware --bench` has run here, at most the published figures of accelerators that a shipped profile names.
    """
    home = home if home is not None else home_path()
    identity, gpus = _identity()
    volatile = HardwareVolatile(memory_available(), disk_free(home), gpus)
    bench = read_bench(home, identity)
    if identity.gpus:
        from titrant.compiler.published import with_published

        bench = with_published(bench, identity.gpus)
    return Hardware(identity=identity, volatile=volatile, bench=bench)


def detect_identity() -> HardwareIdentity:
    """Describe what stays the same from one moment to the next."""
    return _identity()[0]


def detect_volatile(home: Path) -> HardwareVolatile:
    """Describe what moves while one looks: free memory, free disk where `home` is, and what accelerators do."""
    _, states = accelerators(*_system(), UNKNOWN)
    return HardwareVolatile(memory_available(), disk_free(home), states)


def _identity() -> tuple[HardwareIdentity, tuple[GpuState, ...]]:
    """Describe what stays, and the accelerators' state: the driver answers both at once."""
    system, machine = _system()
    cpu, instructions = processor(system)
    gpus, states = accelerators(system, machine, cpu)
    identity = HardwareIdentity(
        system=system,
        machine=machine,
        cpu=cpu,
        instructions=(*instructions, *kernel_variables()),
        cores=usable_cores(),
        memory_bytes=memory_total(),
        gpus=gpus,
        python=platform.python_version(),
        packages=installed(),
    )
    return identity, states


def _system() -> tuple[str, str]:
    """Return the names of the operating system and of the machine's architecture."""
    machine = platform.machine().lower() or UNKNOWN
    return platform.system().lower() or UNKNOWN, _MACHINES.get(machine, machine)
