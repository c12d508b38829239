"""Which accelerators there are, and what they are doing now."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from titrant.compiler.nvidia import DriverAnswers, GpuAnswers, ask_driver, visible
from titrant.schema.facts import Gpu, GpuState

# What a loaded NVIDIA driver leaves on Linux (the last one under WSL); without any, its library need not be imported.
_DRIVER_TRACES = ("dev/nvidiactl", "proc/driver/nvidia", "dev/dxg")


def accelerators(
    system: str, machine: str, processor: str, root: Path = Path("/")
) -> tuple[tuple[Gpu, ...], tuple[GpuState, ...]]:
    """List NVIDIA GPUs through the driver's library, or an Apple processor's own GPU, each with its state now.

    Whatever a driver answers, this does not raise: a GPU that cannot be asked is not there. Numbers are those that
    torch gives: what $CUDA_VISIBLE_DEVICES hides is left out.
    """
    if system == "darwin":
        # It shares the machine's memory, so it has none of its own to state.
        return ((Gpu(0, processor, "mps"),), (GpuState(0),)) if machine == "arm64" else ((), ())
    if system == "linux" and not any((root / trace).exists() for trace in _DRIVER_TRACES):
        return (), ()
    return nvidia(ask_driver(), os.environ)


def nvidia(answers: DriverAnswers, environment: Mapping[str, str]) -> tuple[tuple[Gpu, ...], tuple[GpuState, ...]]:
    """Make facts of what the driver answered; `environment` may hold CUDA_VISIBLE_DEVICES."""
    usable: list[GpuAnswers] = []
    for whole in answers.gpus:
        # A divided GPU cannot be used whole, and CUDA shows a process one slice of it.
        usable += [replace(part, mig=True) for part in whole.slices] if whole.mig else [whole]
    shown = visible(usable, environment.get("CUDA_VISIBLE_DEVICES"))
    gpus = tuple(
        Gpu(
            index=index,
            name=one.name or "NVIDIA GPU",
            kind="cuda",
            memory_bytes=one.memory_bytes,
            capability=one.capability,
            driver=answers.driver,
            mig=one.mig,
        )
        for index, one in enumerate(shown)
    )
    states = tuple(GpuState(index, one.memory_free_bytes, one.utilization) for index, one in enumerate(shown))
    return gpus, states
