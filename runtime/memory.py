"""Measure the memory that a piece of work takes, in a forked child so that nothing measured before hides it."""

import os
import select
import signal
import sys
from collections.abc import Callable

_SECONDS = 60.0


def memory_of(work: Callable[[], object]) -> int | None:
    """Return the bytes that `work` makes this process touch beyond what it shares with it, or None if unknown.

    The child starts with every page shared; what it allocates or writes becomes its own and is counted after the work,
    while the result is still held. None where the system does not tell (anything but Linux), and when the work fails
    or does not end within a minute.
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
        answer = os.read(reader, 32) if ready else b""
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return int(answer) if answer else None


def _measure(work: Callable[[], object], writer: int) -> None:
    """Do the work in the child, write what it took, and leave without any of the parent's clean-up."""
    try:
        before = _own_bytes()
        held = work()
        taken = max(0, _own_bytes() - before)
        del held
        os.write(writer, str(taken).encode())
    finally:
        os._exit(0)


def _own_bytes() -> int:
    """Return the resident memory that is this process's alone."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:  # noqa: PTH123 - no path object in a forked child
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
