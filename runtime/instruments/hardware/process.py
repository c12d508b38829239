"""Read what a process and its children use of the processors and of memory, and what the whole machine does."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from titrant.schema.values.frozen import dataclass

_PROC = Path("/proc")
# Where the columns of /proc/PID/stat begin, counted after the name: times in ticks, resident memory in pages.
_TIMES, _PAGES = slice(11, 15), 21


@dataclass(frozen=True)
class ProcessUse:
    """Seconds of CPU time since the processes began, and their resident bytes; shared pages count in each of them."""

    cpu_seconds: float
    resident_bytes: int


@dataclass(frozen=True)
class MachineUse:
    """Seconds that each logical core has worked and has existed so far, and the bytes of memory that are taken."""

    busy_seconds: tuple[float, ...]
    all_seconds: tuple[float, ...]
    taken_bytes: int


class ProcessTree:
    """A process and all that it has started; what ended and was waited for counts in its parent's time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._from_kernel = sys.platform.startswith("linux") and (_PROC / str(pid) / "stat").is_file()
        self._children_by_task = self._from_kernel and any((_PROC / str(pid) / "task").glob("*/children"))

    def read(self) -> ProcessUse | None:
        """Return what it uses now; None where it has ended, or may not be read."""
        own = self._of(self._pid)
        if own is None:
            return None
        if self._pid == os.getpid():
            # The kernel counts in ticks of 10 ms; of this process there is a finer count, without its children.
            own = ProcessUse(max(own.cpu_seconds, time.process_time()), own.resident_bytes)
        uses = [own, *(use for pid in self._children() if (use := self._of(pid)) is not None)]
        return ProcessUse(sum(use.cpu_seconds for use in uses), sum(use.resident_bytes for use in uses))

    def _of(self, pid: int) -> ProcessUse | None:
        return _from_kernel(pid) if self._from_kernel else _from_psutil(pid)

    def _children(self) -> list[int]:
        if self._children_by_task:
            return list(_below(self._pid))
        import psutil

        try:
            return [child.pid for child in psutil.Process(self._pid).children(recursive=True)]
        except psutil.Error:
            return []


def _below(pid: int) -> Iterator[int]:
    """Yield the children of a process and theirs, as the kernel lists them by thread."""
    try:
        for task in (_PROC / str(pid) / "task").iterdir():
            for child in (task / "children").read_text("ascii").split():
                yield int(child)
                yield from _below(int(child))
    except OSError:  # it ended meanwhile
        return


def _from_kernel(pid: int) -> ProcessUse | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name, in parentheses, may itself hold spaces and parentheses.
    columns = text[text.rfind(")") + 1 :].split()
    seconds = sum(map(int, columns[_TIMES])) / os.sysconf("SC_CLK_TCK")
    return ProcessUse(seconds, int(columns[_PAGES]) * os.sysconf("SC_PAGE_SIZE"))


def _from_psutil(pid: int) -> ProcessUse | None:
    import psutil

    try:
        process = psutil.Process(pid)
        times, memory = process.cpu_times(), process.memory_info()
    except psutil.Error:
        return None
    return ProcessUse(sum(times[:4]), memory.rss)


def machine_use() -> MachineUse:
    """Return what every logical core has done so far, and the memory that is taken; in a container, of its host."""
    import psutil

    times = psutil.cpu_times(percpu=True)
    # Time as a guest counts as a user's already, and waiting for a disk is no work.
    idle = [each.idle + getattr(each, "iowait", 0.0) for each in times]
    everything = [sum(each) - getattr(each, "guest", 0.0) - getattr(each, "guest_nice", 0.0) for each in times]
    memory = psutil.virtual_memory()
    busy = tuple(all_of - rest for all_of, rest in zip(everything, idle, strict=True))
    return MachineUse(busy, tuple(everything), memory.total - memory.available)


def machine_bytes() -> int:
    """Return the bytes of memory that the machine has."""
    import psutil

    return int(psutil.virtual_memory().total)
