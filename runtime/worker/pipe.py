"""The lines that a worker answers, read one by one; a signal is noticed also when it comes just before the waiting."""

import contextlib
import os
import queue
import select
import signal
import threading
from collections.abc import Iterator

_BLOCK = 1 << 16
_NONE = -1
# Whether the system waits for several pipes at once; on Windows it does so for sockets alone.
_POLLS = hasattr(select, "poll")
# How often a signal's handler gets its turn where it does not.
_TURN_SECONDS = 0.1


class Alarm:
    """The end of a pipe into which the system's own handler writes when a signal comes; `pass_on` is whose it was."""

    def __init__(self, end: int, pass_on: int) -> None:
        self.end = end
        self._pass_on = pass_on

    def take(self) -> None:
        """Empty the pipe."""
        with contextlib.suppress(BlockingIOError):
            came = os.read(self.end, _BLOCK)
            if self._pass_on != _NONE:
                os.write(self._pass_on, came)


@contextlib.contextmanager
def alarmed() -> Iterator[Alarm | None]:
    """Give an alarm for as long as it takes; None outside the main thread, where no signal is handled, and on Windows.

    Python calls a signal's handler between two of its own steps. A signal that comes after the last of them, or in
    another thread, does not end a read that waits: only this pipe tells of it.
    """
    if threading.current_thread() is not threading.main_thread() or not _POLLS:
        yield None
        return
    end, written = os.pipe()
    os.set_blocking(end, False)
    os.set_blocking(written, False)
    before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    alarm = Alarm(end, before)
    try:
        yield alarm
    finally:
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        alarm.take()
        os.close(end)
        os.close(written)


class PipeLines:
    """The lines that come out of a pipe, which it closes."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._whole: list[bytes] = []  # the next one last
        self._begun: list[bytes] = []  # parts of a line that is not whole yet
        self._blocks: queue.SimpleQueue[bytes] | None = None

    def next(self, alarm: Alarm | None = None) -> bytes | None:
        """Wait for the next line; None where the pipe ended, also in the middle of a line.

        When a signal comes, its handler is called at once, and may raise.
        """
        while not self._whole:
            block = self._read(alarm)
            if block is None:
                continue  # a signal's handler has its turn
            if not block:
                return None
            self._add(block)
        return self._whole.pop()

    def close(self) -> None:
        """Close the pipe; one that a thread still reads is closed by that, when the child is gone."""
        if self._blocks is None:
            os.close(self._pipe)

    def _read(self, alarm: Alarm | None) -> bytes | None:
        """Return what came, b"" at the end; None where a signal came first."""
        if _POLLS:
            waits = alarm is not None and not _readable(self._pipe, alarm)
            return None if waits else os.read(self._pipe, _BLOCK)
        if self._blocks is None:
            self._blocks = queue.SimpleQueue()
            threading.Thread(target=self._copy, args=(self._blocks,), daemon=True).start()
        try:
            return self._blocks.get(timeout=_TURN_SECONDS)
        except queue.Empty:
            return None

    def _copy(self, blocks: "queue.SimpleQueue[bytes]") -> None:
        """Read in a thread, where nothing waits for a pipe and a signal at once."""
        while block := os.read(self._pipe, _BLOCK):
            blocks.put(block)
        os.close(self._pipe)
        blocks.put(b"")

    def _add(self, block: bytes) -> None:
        *whole, rest = block.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._begun, whole[0]))
            self._begun = []
            self._whole = whole[::-1]
        self._begun.append(rest)


def _readable(pipe: int, alarm: Alarm) -> bool:
    """Wait until something can be read; False where that is the alarm."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    poll.register(alarm.end, select.POLLIN)
    ready = {end for end, _ in poll.poll()}
    if alarm.end in ready:
        alarm.take()
        return False
    return True
