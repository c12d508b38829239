"""Start a process for each tracker of a run, stop it while models are timed, and wait for it a while after the run."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from titrant.runtime.machine.processes import apart, end_whole, hold_process
from titrant.runtime.store.home import Home
from titrant.runtime.store.run_folder import TRACKING
from titrant.runtime.trackers.tracker import DIED, FOLDER, TOO_LATE
from titrant.runtime.worker.parent import Listen
from titrant.schema.config.sealed import KEY_VARIABLE
from titrant.schema.plan import Plan
from titrant.schema.record import TrackerRecord
from titrant.schema.values import files
from titrant.schema.values.canonical import WrongValueError, read_back
from titrant.schema.values.text import os_reason

# How long trackers may take once the run is over: MLflow's first database takes 8 s.
AFTER_SECONDS = 30.0
# Of a run that failed or was interrupted.
AFTER_FAILURE_SECONDS = 5.0
# After so long somebody is told what is waited for.
_TELL_SECONDS = 1.0
_MAIN = "titrant.runtime.trackers.feed"


class Followers:
    """The trackers of one run; without any it does nothing and loads nothing.

    Nothing here raises: what goes wrong with a tracker stands in its record.
    """

    def __init__(self, plan: Plan, home: Home) -> None:
        self._trackers = plan.tracking
        self._timing = {step.id for step in plan.steps if step.operator.startswith("profile.")}
        self._home = home
        self._folder: Path | None = None
        self._followers: list[_Follower] = []

    def heard_by(self, listen: Listen) -> Listen:
        """Return a listener that hears every event of the run and hands it on."""
        if not self._trackers:
            return listen

        def hear(event: Mapping[str, Any]) -> None:
            if event.get("step") in self._timing:
                self._hold(held=event["event"] == "started", ended=event["event"] in ("finished", "failed", "rejected"))
            listen(event)

        return hear

    def start(self, folder: Path) -> None:
        """Begin to follow the run in a folder, which has its plan and its journal."""
        self._folder = folder
        for name, options in self._trackers.items():
            asked = {
                "tracker": name,
                "folder": str(folder),
                "home": str(self._home.path),
                "options": options,
                "parent": os.getpid(),
            }
            self._followers.append(_Follower(name, asked, folder))

    def end(self, seconds: float, listen: Listen) -> tuple[TrackerRecord, ...]:
        """Wait for the trackers, no longer than some seconds for all of them, end those that are not done, and keep
        how each fared beside the record. An interrupt ends the waiting.
        """
        if self._folder is None or not self._followers:
            return ()
        self._hold(held=False, ended=True)
        until = time.monotonic() + seconds
        try:
            for follower in self._followers:
                if not follower.is_done(min(until, time.monotonic() + _TELL_SECONDS)):
                    listen({"event": "note", "text": f"waiting for {follower.name}, {seconds:g} s at most"})
                follower.is_done(until)
        except KeyboardInterrupt:
            until = time.monotonic()
        records = tuple(follower.end(seconds) for follower in self._followers)
        self._followers.clear()
        with contextlib.suppress(OSError):
            files.write_json(self._folder / TRACKING, {"tracking": records})
        return records

    def _hold(self, *, held: bool, ended: bool) -> None:
        """Stop the trackers where models are timed on the same cores, and let them go on after that."""
        for follower in self._followers if held or ended else ():
            follower.hold(held=held)


class _Follower:
    """The process of one tracker, in a session of its own, so that a key pressed ends the run and not it."""

    def __init__(self, name: str, asked: Mapping[str, Any], folder: Path) -> None:
        self.name = name
        self._said = TrackerRecord(name)
        self._process: subprocess.Popen[str] | None = None
        self._hearing: threading.Thread | None = None
        environment = {key: value for key, value in os.environ.items() if key != KEY_VARIABLE}
        try:
            with _log(folder / FOLDER / f"{name}.log") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MAIN],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=environment,
                    **apart(),
                )
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            self._hearing = threading.Thread(target=self._hear, args=(stdout,), daemon=True)
            self._hearing.start()
            stdin.write(json.dumps(asked))
            stdin.close()
        except OSError as error:
            self._said = replace(self._said, code=DIED, because=f"its process cannot be started: {os_reason(error)}")

    def _hear(self, answers: IO[str]) -> None:
        for line in answers:
            with contextlib.suppress(ValueError, WrongValueError):
                self._said = read_back(TrackerRecord, json.loads(line))

    def is_done(self, until: float) -> bool:
        """Wait for its end until a moment of the monotonic clock."""
        if self._process is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))
        return self._process.returncode is not None

    def end(self, seconds: float) -> TrackerRecord:
        """End it where it is not done, and return how it fared."""
        if self._process is None or self._hearing is None:
            return self._said
        code = self._process.poll()
        if code is None:
            self._kill()
            self._process.wait()
        self._hearing.join(_TELL_SECONDS)
        if code is None and not self._said.code:
            because = f"it had not ended {seconds:g} s after the run"
            remedy = "the run's record and report have it all"
            return replace(self._said, code=TOO_LATE, because=because, remedy=remedy)
        # One that ends in order says how it fared, also where it could not begin.
        if (code or not (self._said.mode or self._said.code)) and not self._said.code:
            because, log = f"its process ended with code {code}", f"{FOLDER}/{self.name}.log"
            return replace(self._said, code=DIED, because=because, remedy=f"{log} in the run folder says more")
        return self._said

    def hold(self, *, held: bool) -> None:
        """Stop it, or let it go on; what a library started has nothing to do without it."""
        if self._process is not None and self._process.poll() is None:
            hold_process(self._process.pid, held=held)

    def _kill(self) -> None:
        if self._process is not None:
            end_whole(self._process.pid)


def _log(path: Path) -> IO[bytes]:
    """Open a log, or nothing where there is no room for one: whoever follows says so itself."""
    try:
        path.parent.mkdir(exist_ok=True)
        return path.open("wb")
    except OSError:
        return Path(os.devnull).open("wb")
