"""Which accelerators there are, asked of the driver and not of torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from titrant.schema.facts import Gpu

# What a loaded NVIDIA driver leaves on Linux (the last one under WSL); without any, its library need not be imported.
_DRIVER_TRACES = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg")


def accelerators(system: str, machine: str, processor: str) -> tuple[Gpu, ...]:
    """List NVIDIA GPUs through the driver's library, or an Apple processor's own GPU; () without either.

    Whatever a driver answers, this does not raise: a GPU that cannot be asked is not there.
    """
    if system == "darwin":
        return (Gpu(0, processor, "mps"),) if machine == "arm64" else ()
    if system == "linux" and not any(Path(trace).exists() for trace in _DRIVER_TRACES):
        return ()
    return nvidia_gpus()


def nvidia_gpus() -> tuple[Gpu, ...]:
    """List NVIDIA GPUs in the driver's order, with what it says of each."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        driver = _asked(lambda: _text(pynvml.nvmlSystemGetDriverVersion()))
        return tuple(gpu for index in range(pynvml.nvmlDeviceGetCount()) if (gpu := _gpu(index, driver)) is not None)
    except pynvml.NVMLError:
        return ()
    finally:
        _asked(pynvml.nvmlShutdown)


def _gpu(index: int, driver: str | None) -> Gpu | None:
    import pynvml

    handle = _asked(lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
    if handle is None:
        return None
    capability = _asked(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    return Gpu(
        index=index,
        name=_asked(lambda: _text(pynvml.nvmlDeviceGetName(handle))) or "NVIDIA GPU",
        kind="cuda",
        memory_bytes=_asked(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)),
        capability=None if capability is None else ".".join(str(part) for part in capability),
        driver=driver,
    )


def _asked(question: Callable[[], Any]) -> Any:
    """Answer a question to the driver, or None when it refuses."""
    import pynvml

    try:
        return question()
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
