"""Read what a child process answers, line by line, and notice a signal also when it comes just before the waiting."""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator

_BLOCK = 1 << 16
_NONE = -1


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
    """Give an alarm for as long as it takes; None outside the main thread, where no signal is handled.

    Python calls a signal's handler between two of its own steps. A signal that comes after the last of them, or in
    another thread, does not end a read that waits: only this pipe tells of it.
    """
    if threading.current_thread() is not threading.main_thread():
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


class Answers:
    """The lines that come out of a pipe, which it closes."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._whole: list[bytes] = []  # the next one last
        self._begun: list[bytes] = []  # parts of a line that is not whole yet

    def next(self, alarm: Alarm | None = None) -> bytes | None:
        """Wait for the next line; None where the pipe ended, also in the middle of a line.

        When a signal comes, its handler is called at once, and may raise.
        """
        while not self._whole:
            if alarm is not None and not _readable(self._pipe, alarm):
                continue  # the signal's handler has its turn
            block = os.read(self._pipe, _BLOCK)
            if not block:
                return None
            self._add(block)
        return self._whole.pop()

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._pipe)

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
