"""Accelerators that can be read without special rights: NVIDIA's by its driver, AMD's by Linux, Apple's by ioreg."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import os_reason

# What a loaded NVIDIA driver leaves on Linux (the last one under WSL); without any, its library need not be imported.
_NVIDIA_TRACES = ("dev/nvidiactl", "proc/driver/nvidia", "dev/dxg")
_APPLE = ("ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")
_APPLE_SECONDS = 5.0
_APPLE_BUSY = re.compile(r'"Device Utilization %"=(\d+)')
_APPLE_MEMORY = re.compile(r'"In use system memory"=(\d+)')
_APPLE_NAME = re.compile(r'"model" = "([^"]+)"')


class AcceleratorGoneError(Exception):
    """An accelerator no longer answers; the text says what was answered last."""


@dataclass(frozen=True)
class AcceleratorUse:
    """What an accelerator does at one moment: the share of the time that it worked, 0..1; None where nobody can say."""

    utilization: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Accelerator:
    """One accelerator: its name, the bytes of its memory (None: unknown, or it shares the machine's), how it is read.

    `read` raises AcceleratorGoneError; `asks_programs` where it starts a program, whose time the caller does not see.
    """

    name: str
    total_bytes: int | None
    read: Callable[[], AcceleratorUse]
    asks_programs: bool = False


def accelerators(root: Path = Path("/")) -> tuple[Accelerator, ...]:
    """List the accelerators that answer, in their vendors' order; those that a variable hides from CUDA too.

    Whatever a driver answers, this does not raise: what cannot be asked is not there.
    """
    if sys.platform == "darwin":
        return tuple(_apple())
    linux = sys.platform.startswith("linux")
    has_driver = not linux or any((root / trace).exists() for trace in _NVIDIA_TRACES)
    return (*(_nvidia() if has_driver else ()), *(_amd(root) if linux else ()))


def _nvidia() -> Iterator[Accelerator]:
    """Ask the driver's library, which stays loaded: to load it takes longer than to ask it."""
    try:
        import pynvml
    except ImportError:
        return
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:  # no library, no driver or one that is ill: there is no GPU to be read
        return
    for index, handle in enumerate(handles):
        read = partial(_nvidia_use, handle)
        try:
            read()
            name, total = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetMemoryInfo(handle).total
        except (AcceleratorGoneError, pynvml.NVMLError):
            continue
        said = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        yield Accelerator(f"GPU {index} ({said})", int(total), read)


def _nvidia_use(handle: Any) -> AcceleratorUse:
    """Ask one GPU; what it does not offer, as one that is divided (MIG) does not tell its utilization, is None."""
    import pynvml

    def asked(question: Callable[[Any], Any]) -> Any:
        try:
            return question(handle)
        except pynvml.NVMLError_NotSupported:
            return None
        except (pynvml.NVMLError, OSError) as error:
            raise AcceleratorGoneError(str(error)) from None

    rates, memory = asked(pynvml.nvmlDeviceGetUtilizationRates), asked(pynvml.nvmlDeviceGetMemoryInfo)
    busy = None if rates is None else min(1.0, rates.gpu / 100)
    return AcceleratorUse(busy, None if memory is None else int(memory.used))


def _amd(root: Path) -> Iterator[Accelerator]:
    """Read the files that Linux's amdgpu keeps for everyone."""
    for folder in sorted(root.glob("sys/class/drm/card*/device")):
        if not (folder / "gpu_busy_percent").is_file():
            continue
        read = partial(_amd_use, folder)
        try:
            read()
        except AcceleratorGoneError:
            continue
        name = _line(folder / "product_name") or "AMD"
        total = _line(folder / "mem_info_vram_total")
        yield Accelerator(f"{folder.parent.name} ({name})", int(total) if total.isdigit() else None, read)


def _amd_use(folder: Path) -> AcceleratorUse:
    try:
        busy = (folder / "gpu_busy_percent").read_text("ascii").strip()
    except OSError as error:
        raise AcceleratorGoneError(os_reason(error)) from None
    memory = _line(folder / "mem_info_vram_used")
    return AcceleratorUse(
        min(1.0, int(busy) / 100) if busy.isdigit() else None, int(memory) if memory.isdigit() else None
    )


def _line(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _apple() -> Iterator[Accelerator]:
    """Ask the registry of drivers, which needs no root; memory is what the GPU holds of the machine's own."""
    try:
        said = _ask_apple()
    except AcceleratorGoneError:
        return
    if apple_use(said) != AcceleratorUse():
        name = _APPLE_NAME.search(said)
        title = f"GPU ({name[1] if name else 'Apple'})"
        yield Accelerator(title, None, lambda: apple_use(_ask_apple()), asks_programs=True)


def _ask_apple() -> str:
    try:
        done = subprocess.run(_APPLE, capture_output=True, text=True, timeout=_APPLE_SECONDS, check=True)
    except OSError as error:
        raise AcceleratorGoneError(os_reason(error)) from None
    except subprocess.SubprocessError as error:
        raise AcceleratorGoneError(f"ioreg failed: {type(error).__name__}") from None
    return done.stdout


def apple_use(said: str) -> AcceleratorUse:
    """Read what ioreg says of IOAccelerator; what it does not say is None."""
    busy, memory = _APPLE_BUSY.search(said), _APPLE_MEMORY.search(said)
    return AcceleratorUse(
        None if busy is None else min(1.0, int(busy[1]) / 100), None if memory is None else int(memory[1])
    )
