"""Peak resident memory of this process over a stretch of work."""

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Begins to measure when made.

    What earlier work freed is handed back first, where the C library can: it would be used again unseen, and the same
    work would seem to need less the later it is done.
    """

    def __init__(self) -> None:
        _hand_back()
        self._begun = _line("VmRSS") if _reset() else None
        self._highest = _highest_ever()

    def grown_bytes(self) -> int:
        """Return by how much memory rose above where it was at its highest since the beginning.

        Where the kernel's mark cannot be reset, only growth beyond the process's highest so far is seen.
        """
        if self._begun is not None:
            now = _line("VmHWM")
            if now is not None:
                return max(0, now - self._begun)
        return max(0, _highest_ever() - self._highest)


def _hand_back() -> None:
    # Only glibc has it; others hand back by themselves.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _reset() -> bool:
    try:
        _CLEAR.write_text("5", "ascii")
    except OSError:
        return False
    return True


def _line(name: str) -> int | None:
    for line in _STATUS.read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _highest_ever() -> int:
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024
