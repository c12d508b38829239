"""Measure the peak memory of work, in a forked child so that nothing before hides it, or in this process."""

import contextlib
import ctypes
import gc
import json
import os
import re
import select
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NoReturn

from titrant.runtime.user_code import describe, said_by
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError, TitrantError

_SECONDS = 30.0
_TEXT = 4000
# The option of mallopt(3), and glibc's own default of it.
_MMAP_THRESHOLD, _LARGE = -3, 128 << 10
# The bit of a piece's size that says that it came from the system by itself; and pieces that are taken at most.
_IS_MAPPED, _MOST_PIECES = 2, 4096
_STATUS = Path("/proc/self/status")
# A size as Linux writes it under /proc.
_SIZE = re.compile(r"^(\w+):\s+(\d+) kB$", re.M)
_CLEAR = Path("/proc/self/clear_refs")


class ChildKilledError(Exception):
    """The child was killed from outside before it could say anything, as the system does when memory runs out."""


def memory_of(work: Callable[[], object]) -> int | None:
    """Return the most bytes that `work` makes this process hold beyond what it shares with it, or None if unknown.

    The child starts with every page shared; what it allocates or writes becomes its own. What is its own after the
    work, while the result is still held, is counted, and by how much the resident memory was higher at its highest is
    added, so that buffers that come and go count too. The work must not use a thread pool of the parent: threads do
    not survive a fork. None where the system does not tell (anything but Linux), and when the child is not done within
    half a minute. Raises StepError with the work's own code, or X431, when the work fails, and ChildKilledError.
    """
    if not sys.platform.startswith("linux"):
        return None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _measure(work, writer)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], _SECONDS)
        answer = os.read(reader, 1 << 16) if ready else None
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return _read(answer)


def _read(answer: bytes | None) -> int | None:
    if answer is None:
        return None
    if not answer:
        raise ChildKilledError
    said = json.loads(answer)
    if "error" in said:
        raise StepError(Diagnostic(**said["error"]))
    return int(said["bytes"]) if said["bytes"] is not None else None


def _measure(work: Callable[[], object], writer: int) -> NoReturn:
    """Do the work in the child, write what it took, and leave without any of the parent's clean-up."""
    # A collection would write to the parent's objects, and so make their pages this process's own; what it writes
    # nevertheless, to give back the free objects that Python keeps for reuse, comes before the work.
    gc.freeze()
    gc.collect()
    process = os.getpid()
    said: dict[str, object] = {}
    try:
        said = {"bytes": _peak_of(work)}
    except TitrantError as error:
        first = error.diagnostics[0]
        texts = {"message": first.message[:_TEXT], "help": first.help, "said": first.said[:_TEXT]}
        said = {"error": {"code": first.code, **texts}}
    except BaseException as error:  # noqa: BLE001 - a forked child must not unwind into its parent's stack
        message = f"measuring the memory failed: {describe(error)}"
        texts = {"help": "see whether the model answers by itself", "said": said_by(error)[:_TEXT]}
        said = {"error": {"code": "X431", "message": message, **texts}}
    finally:
        if os.getpid() == process:  # work that forks comes back in its copies too, which have nothing to say
            os.write(writer, json.dumps(said).encode())
        os._exit(0)


def _peak_of(work: Callable[[], object]) -> int | None:
    # What is used again would be counted twice: as this process's own, and as never having been held.
    hand_back()
    _take_anew()
    _forget_peak()
    before = _own_bytes()
    held = work()
    after = _own_bytes()
    status = _status()
    del held
    if "VmHWM" not in status:
        return None
    return max(0, after - before) + max(0, status["VmHWM"] - status["VmRSS"])


def _forget_peak() -> None:
    """Let the highest resident memory begin at what it is now."""
    _CLEAR.write_text("5", "ascii")


def _own_bytes() -> int:
    """Return the resident memory that is this process's alone."""
    sizes = _SIZE.findall(Path("/proc/self/smaps_rollup").read_text("ascii"))
    return sum(int(size) * 1024 for name, size in sizes if name.startswith("Private_"))


def _status() -> dict[str, int]:
    """Return the sizes in /proc/self/status, in bytes."""
    return {name: int(size) * 1024 for name, size in _SIZE.findall(_STATUS.read_text("utf-8"))}


class PeakMemory:
    """Begins to measure when made.

    What earlier work freed is handed back first, where the C library can: it would be used again unseen, and the same
    work would seem to need less the later it is done.
    """

    def __init__(self) -> None:
        hand_back()
        status = _status() if _reset() else {}
        self._begun = status.get("VmRSS") if "VmHWM" in status else None
        # Asked where it counts alone: it takes half a millisecond.
        self._highest = _highest_ever() if self._begun is None else 0

    def grown_bytes(self) -> int:
        """Return by how much memory rose above where it was at its highest since the beginning.

        Where the kernel's mark cannot be reset, only growth beyond the process's highest so far is seen.
        """
        if self._begun is not None:
            return max(0, _status()["VmHWM"] - self._begun)
        return max(0, _highest_ever() - self._highest)


def hand_back() -> None:
    """Give memory that was freed back to the system, where the C library does not by itself: glibc alone."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # Windows has no library of the whole process
        _library().malloc_trim(0)


@cache
def _library() -> ctypes.CDLL:
    """Return the C library. OSError where there is none of the whole process."""
    return ctypes.CDLL(None)


def map_large_pieces() -> None:
    """Let pieces of memory from 128 KiB on come from the system, and go back to it; glibc alone.

    By itself it raises this limit up to 32 MiB as such pieces are freed, and keeps what is smaller.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        _library().mallopt(_MMAP_THRESHOLD, _LARGE)


def _take_anew() -> None:
    """Let large pieces of memory come from the system, not out of what was freed before and is not handed back.

    glibc keeps the end of every thread's arena. It is taken in pieces that nobody touches, until the next one comes
    from the system, as its size field says. For a child that only measures.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version()  # AttributeError elsewhere, where a piece has no such field
        map_large_pieces()
        library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        for size in (16 * _LARGE, _LARGE):
            for _ in range(_MOST_PIECES):
                piece = library.malloc(size)
                if not piece or ctypes.c_size_t.from_address(piece - ctypes.sizeof(ctypes.c_size_t)).value & _IS_MAPPED:
                    break


def _reset() -> bool:
    try:
        _forget_peak()
    except OSError:
        return False
    return True


def resident_bytes() -> int:
    """Return the memory of this process that is in the machine's memory now."""
    if sys.platform.startswith("linux"):
        try:
            with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a step's memory is read between timings
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            pass
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int | None:
    """Return the most that `resident_bytes` ever was; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return getattr(psutil.Process().memory_info(), "peak_wset", None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _highest_ever() -> int:
    return peak_resident_bytes() or 0
