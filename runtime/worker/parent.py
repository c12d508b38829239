"""The parent's side of the worker: one child process that holds torch, live models and the user's code.

Its answers are read line by line; a signal is noticed also when it comes just before the waiting for one.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from titrant.runtime.store.home import Home, refuse_few_files
from titrant.runtime.store.locks import unfinished_folder
from titrant.runtime.worker.messages import (
    CRASH,
    WorkerDiedError,
    WorkerExit,
    exit_cause,
    out_of_memory_kills,
    raise_answer,
)
from titrant.runtime.worker.output import OutputPipe, Printed, write_log
from titrant.runtime.worker.step_context import at_work

Listen = Callable[[Mapping[str, Any]], None]
_MAIN = "titrant.runtime.worker.child"
_CLOSE_SECONDS = 2.0
_BLOCK = 1 << 16
_NONE = -1


class Worker:
    """A child process that answers one request at a time; started at the first, and again after it died.

    `folder` is the recipe's: it comes first on the child's `sys.path`. What the child prints is told to whoever listens
    and kept nowhere; the log file that a request names says how much it was, and where the child failed. The child ends
    when this process does, however that happens. Use as a context manager, or call `close`.
    """

    def __init__(self, home: Home, folder: Path, threads: int, seed: int) -> None:
        self._home = home
        self._folder = folder.absolute()
        self._threads = threads
        self._seed = seed
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: IO[bytes] | None = None
        self._answers: PipeLines | None = None
        self._holding = contextlib.ExitStack()  # the child's scratch folder, and its lock
        self._scratch = Path()
        self._printed: OutputPipe | None = None
        self._answering = False

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serves(self, folder: Path, threads: int, seed: int) -> bool:
        """Whether it is as one that would be made of these, so that it can be taken in its place."""
        return (self._folder, self._threads, self._seed) == (folder.absolute(), threads, seed)

    @property
    def started(self) -> bool:
        """Whether the child runs."""
        return self._process is not None

    def ask(self, request: Mapping[str, Any], listen: Listen | None = None) -> dict[str, Any]:
        """Send a request and return its answer; `listen` is told of progress, measurements and what was printed.

        `request["do"]` is "run", "inspect" (also where it is left out), "describe", "ask_operator", "compare", "bench",
        "look" or "power", see `titrant.runtime.worker.child`. Raises the TitrantError that the child met, WorkerDiedError when
        it died, DamagedArtifactError when a stored input is not intact.
        """
        message = self.message(request, listen)
        raise_answer(message)
        return {key: value for key, value in message.items() if key != "event"}

    def message(self, request: Mapping[str, Any], listen: Listen | None = None) -> dict[str, Any]:
        """Send a request and return the message that ends it, also one that says what went wrong.

        Raises WorkerDiedError only. When this is interrupted the child is killed.
        """
        self._answering = True
        try:
            printed = self._start()
            kills = out_of_memory_kills()
            log = str(request.get("log") or "")
            printed.take()
            message = self._exchange(request, listen)
            said = printed.take() if message is not None else Printed()
            if message is None:
                crashed, said, calls = self._end(kills)
            else:
                calls = message.pop("calls", [])
            if log:
                write_log(Path(log), said, calls)
            if said.text and listen is not None:
                listen({"event": "printed", "text": said.text})
            if message is None:
                raise WorkerDiedError(crashed, log)
        except WorkerDiedError:
            raise
        except BaseException:
            self.kill()
            raise
        finally:
            self._answering = False
        return message

    def close(self) -> None:
        """Let the child end, and end it if it does not."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            if self._requests is not None:
                self._requests.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        else:
            self._forget()

    def interrupt(self) -> None:
        """End the child in the middle of a request, from another thread: whoever waits is told that it died.

        A child that answers nobody is let be.
        """
        process = self._process
        if process is not None and self._answering:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the child and everything that it started, at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._forget()

    def _start(self) -> OutputPipe:
        if self._process is not None and self._printed is not None:
            return self._printed
        refuse_few_files()
        self._scratch = scratch = self._holding.enter_context(unfinished_folder(self._home, "worker"))
        self._printed = OutputPipe()
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        try:
            self._process = subprocess.Popen(
                # -P: the current folder is not the user's code; the recipe's folder is.
                [sys.executable, "-P", "-m", _MAIN, str(theirs_in), str(theirs_out), str(scratch)],
                stdin=subprocess.DEVNULL,
                stdout=self._printed.end,
                stderr=self._printed.end,
                env=os.environ | environment(self._home, self._folder, self._threads, self._seed),
                pass_fds=(theirs_in, theirs_out),
                start_new_session=True,
            )
        except BaseException:
            os.close(ours_in)
            os.close(ours_out)
            self._forget()
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._requests = os.fdopen(ours_out, "wb")
        self._answers = PipeLines(ours_in)
        return self._printed

    def _exchange(self, request: Mapping[str, Any], listen: Listen | None) -> dict[str, Any] | None:
        """Return the answer, or None when the child ended before it gave one."""
        assert self._requests is not None
        assert self._answers is not None
        try:
            self._requests.write(json.dumps(request, allow_nan=False).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            return None
        with alarmed() as alarm:
            while (line := self._answers.next(alarm)) is not None:
                message: dict[str, Any] = json.loads(line)
                if message["event"] in ("done", "error", "damaged"):
                    return message
                if listen is not None:
                    listen(message)
        return None

    def _end(self, kills: int | None) -> tuple[WorkerExit, Printed, list[str]]:
        """Tell why the child ended, what it had printed, and what it was doing where the interpreter could say."""
        assert self._process is not None
        assert self._printed is not None
        code = self._process.wait()
        printed = self._printed.take()
        worker_exit = replace(exit_cause(code, kills, printed.last), at_work=at_work(self._scratch))
        calls: list[str] = []
        with contextlib.suppress(OSError):
            calls = (self._scratch / CRASH).read_text("utf-8", "replace").splitlines()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it started
        self._forget()
        return worker_exit, printed, calls

    def _forget(self) -> None:
        for pipe in (self._requests, self._answers, self._printed):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        with contextlib.suppress(OSError):
            self._holding.close()
        self._process = self._requests = self._answers = self._printed = None


def environment(home: Home, folder: Path, threads: int, seed: int) -> dict[str, str]:
    """Return what is set for a worker before it starts, because it cannot be set later."""
    count = str(threads)
    return {
        "PYTHONHASHSEED": str(seed % 2**32),
        "PYTHONUTF8": "1",  # what the user's code reads without naming an encoding must not depend on the locale
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "NUMEXPR_NUM_THREADS": count,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "TITRANT_HOME": str(home.path),
        "TITRANT_RECIPE_FOLDER": str(folder),
    }


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


class PipeLines:
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
