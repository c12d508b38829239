"""Detect the machine at hand: identity facts apart from volatile ones."""

import os
import platform
from pathlib import Path

from titrant.compiler.accelerators import accelerators
from titrant.compiler.bench_file import read_bench
from titrant.compiler.limits import disk_free, memory_available, memory_total, usable_cores
from titrant.compiler.packages import installed
from titrant.compiler.processor import UNKNOWN, processor
from titrant.schema.facts import GpuState, Hardware, HardwareIdentity, HardwareVolatile

_MACHINES = {"amd64": "x86_64", "x64": "x86_64"}


def detect(home: Path | None = None) -> Hardware:
    """Describe this machine; `home` is where the store lives and what was measured is kept.

    Without one it is the folder that every verb takes: $TITRANT_HOME, or .titrant in the current folder. Reads the
    kernel's files, the GPU driver's library and package metadata; imports no engine, writes nothing and never raises.
    What cannot be found out is None, or "unknown" where text is due; `bench` is None until `titrant hardware --bench`
    has run here.
    """
    home = home if home is not None else default_home()
    identity, gpus = _identity()
    volatile = HardwareVolatile(memory_available(), disk_free(home), gpus)
    return Hardware(identity=identity, volatile=volatile, bench=read_bench(home, identity))


def default_home() -> Path:
    """Return the folder that verbs keep their files in, made or not: $TITRANT_HOME, or .titrant in the current one."""
    given = Path(os.environ.get("TITRANT_HOME") or ".titrant")
    try:
        return given.expanduser()
    except RuntimeError:  # the user has no home folder
        return given


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
        instructions=instructions,
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
