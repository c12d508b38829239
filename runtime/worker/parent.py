"""The parent's side of the worker: one child process that holds torch, live models and the user's code."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from titrant.runtime.machine.processes import apart, end_whole, handed_over
from titrant.runtime.store.home import Home, refuse_few_files
from titrant.runtime.store.locks import unfinished_folder
from titrant.runtime.worker.messages import (
    CRASH,
    LOADED,
    WorkerDiedError,
    WorkerExit,
    exit_cause,
    out_of_memory_kills,
    raise_answer,
)
from titrant.runtime.worker.output import OutputPipe, Printed, write_log
from titrant.runtime.worker.pipe import PipeLines, alarmed
from titrant.runtime.worker.step_context import at_work

Listen = Callable[[Mapping[str, Any]], None]
_MAIN = "titrant.runtime.worker.child"
_CLOSE_SECONDS = 2.0


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
        self._loading = Printed()  # while data were loaded that a step may take over: it is of that step

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
        "look" or "power", see `titrant.runtime.worker.child`. Raises the TitrantError that the child met,
        WorkerDiedError when it died, DamagedArtifactError when a stored input is not intact.
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
                if message.pop(LOADED, False):
                    said = self._loading.then(said)
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
            end_whole(process.pid)

    def kill(self) -> None:
        """End the child and everything that it started, at once."""
        if self._process is not None:
            end_whole(self._process.pid)
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
            passing, (requests, answers) = handed_over((theirs_in, theirs_out))
            self._process = subprocess.Popen(
                # -P: the current folder is not the user's code; the recipe's folder is.
                [sys.executable, "-P", "-m", _MAIN, requests, answers, str(scratch)],
                stdin=subprocess.DEVNULL,
                stdout=self._printed.end,
                stderr=self._printed.end,
                env=os.environ | environment(self._home, self._folder, self._threads, self._seed),
                **passing,
                **apart(),
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
                if message["event"] == LOADED:
                    assert self._printed is not None
                    self._loading = self._printed.take()
                    continue
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
        end_whole(self._process.pid)  # what it started
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
