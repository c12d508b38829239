"""List the accelerators of this machine and their state: NVIDIA's as the driver's library (NVML) says, or Apple's."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from titrant.schema.facts import Gpu, GpuState
from titrant.schema.values.frozen import dataclass

Reply = TypeVar("Reply")

# What a loaded NVIDIA driver leaves on Linux (the last one under WSL); without any, its library need not be imported.
_DRIVER_TRACES = ("dev/nvidiactl", "proc/driver/nvidia", "dev/dxg")


@dataclass(frozen=True)
class GpuAnswers:
    """What the driver said of one GPU, or of one slice of a divided one; None where it refused to answer."""

    name: str | None = None
    uuid: str | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    capability: str | None = None
    utilization: float | None = None  # 0..1
    mig: bool | None = None
    slices: "tuple[GpuAnswers, ...]" = ()


@dataclass(frozen=True)
class DriverAnswers:
    """The driver's version and every GPU, in the driver's order."""

    driver: str | None = None
    gpus: tuple[GpuAnswers, ...] = ()


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
            name=gpu.name or "NVIDIA GPU",
            kind="cuda",
            memory_bytes=gpu.memory_bytes,
            capability=gpu.capability,
            driver=answers.driver,
            mig=gpu.mig,
        )
        for index, gpu in enumerate(shown)
    )
    states = tuple(GpuState(index, gpu.memory_free_bytes, gpu.utilization) for index, gpu in enumerate(shown))
    return gpus, states


def visible(gpus: Sequence[GpuAnswers], chosen: str | None) -> list[GpuAnswers]:
    """Return the GPUs that CUDA shows, in its order, for a value of CUDA_VISIBLE_DEVICES (None: not set).

    As CUDA reads it: numbers or unique beginnings of UUIDs, and the first that names no GPU, or one named before, ends
    the list. Of slices only the first that is shown can be used by a process.
    """
    shown: list[GpuAnswers] = []
    if chosen is None:
        shown = list(gpus)
    else:
        for word in chosen.split(","):
            gpu = _named(gpus, word.strip())
            if gpu is None or gpu in shown:
                break
            shown.append(gpu)
    first = next((gpu for gpu in shown if gpu.mig), None)
    return [gpu for gpu in shown if not gpu.mig or gpu is first]


def _named(gpus: Sequence[GpuAnswers], word: str) -> GpuAnswers | None:
    if word.isascii() and word.isdigit():
        return gpus[int(word)] if len(word) < 5 and int(word) < len(gpus) else None
    matching = [gpu for gpu in gpus if word.startswith(("GPU-", "MIG-")) and (gpu.uuid or "").startswith(word)]
    return matching[0] if len(matching) == 1 else None


def ask_driver() -> DriverAnswers:
    """Ask for every GPU; no answers at all without a driver."""
    try:
        import pynvml
    except ImportError:
        return DriverAnswers()
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError, OSError):
        return DriverAnswers()
    try:
        count = _asked(lambda: int(pynvml.nvmlDeviceGetCount())) or 0
        handles = [_asked(partial(pynvml.nvmlDeviceGetHandleByIndex, index)) for index in range(count)]
        gpus = tuple(_whole(handle) for handle in handles if handle is not None)
        return DriverAnswers(_asked(lambda: _text(pynvml.nvmlSystemGetDriverVersion())), gpus)
    finally:
        _asked(pynvml.nvmlShutdown)


def _whole(handle: Any) -> GpuAnswers:
    import pynvml

    mode = _asked(lambda: pynvml.nvmlDeviceGetMigMode(handle))  # (now, after the next reset)
    busy = _asked(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
    capability = _asked(lambda: ".".join(str(part) for part in pynvml.nvmlDeviceGetCudaComputeCapability(handle)))
    divided = None if mode is None else bool(mode[0])
    answers = replace(_answers(handle), capability=capability, utilization=busy, mig=divided)
    return replace(answers, slices=_slices(handle, capability)) if divided else answers


def _slices(handle: Any, capability: str | None) -> tuple[GpuAnswers, ...]:
    import pynvml

    most = _asked(lambda: int(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))) or 0
    parts = [_asked(partial(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)) for index in range(most)]
    return tuple(replace(_answers(part), capability=capability) for part in parts if part is not None)


def _answers(handle: Any) -> GpuAnswers:
    """Ask what a whole GPU and a slice of one both answer."""
    import pynvml

    memory = _asked(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    return GpuAnswers(
        name=_asked(lambda: _text(pynvml.nvmlDeviceGetName(handle))),
        uuid=_asked(lambda: _text(pynvml.nvmlDeviceGetUUID(handle))),
        memory_bytes=None if memory is None else int(memory.total),
        memory_free_bytes=None if memory is None else int(memory.free),
    )


def _asked(question: Callable[[], Reply]) -> Reply | None:
    """Answer a question to the driver, or None when it refuses or its library is too old to be asked."""
    import pynvml

    try:
        return question()
    except (pynvml.NVMLError, AttributeError, OSError, ValueError, TypeError):
        return None


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
