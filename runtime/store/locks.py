"""Locks of the system's own, each with its holder: who computes a step, uses a home, cleans it, writes in a folder.

A lock ends with the process that holds it. The file beside it only says who that is, so one that was left behind holds
nobody up.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from titrant.runtime.store.home import Home, host
from titrant.schema.values.frozen import dataclass

_POLL_SECONDS = 0.2
_STORE = "store"
_RUN = "run-"
_FOLDER = "folder-"


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: a process of a machine, what it does, and since when (UTC, ISO 8601)."""

    pid: int
    host: str
    since: str
    doing: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} has been {self.doing} since {self.since}"


@contextlib.contextmanager
def computing(home: Home, name: str, waiting: Callable[[str], None], *, seconds: float | None = None) -> Iterator[None]:
    """Hold the lock of a step key, waiting as long as another process has it.

    `waiting` is called once with a sentence that names the holder. Raises TimeoutError after `seconds` of waiting.
    """
    with _held(home, name, "computing it", lambda who: waiting(f"{who}; waiting for its result"), seconds):
        yield


@contextlib.contextmanager
def cleaning(home: Home, waiting: Callable[[str], None]) -> Iterator[list[Holder]]:
    """Hold the lock of the store, and give the runs that use it: none begins until the lock is let go."""
    with _held(home, _STORE, "cleaning the store", lambda who: waiting(f"{who}; waiting for it to end")):
        yield users(home)


@contextlib.contextmanager
def using(home: Home, doing: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Announce a run for as long as it uses the home; begins once nobody cleans the store."""
    with contextlib.ExitStack() as stack:
        with _held(home, _STORE, f"starting to be {doing}", lambda who: waiting(f"{who}; waiting for it to end")):
            users(home)  # what killed runs left goes away
            stack.enter_context(_held(home, f"{_RUN}{os.urandom(8).hex()}", doing, waiting))
        yield


@contextlib.contextmanager
def unfinished_folder(home: Home, purpose: str) -> Iterator[Path]:
    """Give an empty folder to write in, held by a lock for as long as it is used, and remove it then.

    What a killed process left is told by its lock, which nobody holds: by no clock, and by no number of a process.
    """
    name = f"{purpose}-{host()}-{os.getpid()}-{os.urandom(8).hex()}"
    folder = home.unfinished / name
    # Locked before it is there: nobody ever sees it without.
    with _held(home, f"{_FOLDER}{name}", f"writing in {name}", lambda _: None):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            try:
                folder.rmdir()  # what was written is mostly moved away by now
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)


def sweep(home: Home) -> None:
    """Remove what processes of this machine that are gone left unfinished."""
    for folder in home.unfinished.iterdir():
        parts = folder.name.split("-")
        # Of another machine nobody knows here whether its locks reach this one.
        if len(parts) == 4 and parts[1] == host() and remove_if_stale(home.locks / f"{_FOLDER}{folder.name}.lock"):
            shutil.rmtree(folder, ignore_errors=True)


def users(home: Home) -> list[Holder]:
    """List the runs in progress; what runs that were killed left behind is removed."""
    holders = []
    for place in sorted(home.locks.glob(f"{_RUN}*.lock")):
        if not remove_if_stale(place):
            holders.append(_holder(place) or Holder(0, "unknown", "", "running"))
    return holders


def remove_if_stale(place: Path) -> bool:
    """Remove a lock file that no process holds; answers False for one that is held."""
    from filelock import FileLock, Timeout

    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        _beside(place).unlink(missing_ok=True)
        place.unlink(missing_ok=True)
    finally:
        lock.release()
    return True


@contextlib.contextmanager
def _held(
    home: Home, name: str, doing: str, waiting: Callable[[str], None], seconds: float | None = None
) -> Iterator[None]:
    from filelock import FileLock, Timeout

    place = home.locks / f"{name}.lock"
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting(str(_holder(place) or "another process is at work on it"))
        lock.acquire(timeout=-1 if seconds is None else max(seconds, 0), poll_interval=_POLL_SECONDS)
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"pid": os.getpid(), "host": host(), "since": now, "doing": doing}
        _beside(place).write_text(json.dumps(about), "utf-8")
        yield
    finally:
        _beside(place).unlink(missing_ok=True)
        # Removed while held: whoever waits for it finds it unlinked and looks again.
        place.unlink(missing_ok=True)
        lock.release()


def _beside(place: Path) -> Path:
    return place.with_suffix(".json")


def _holder(place: Path) -> Holder | None:
    try:
        return Holder(**json.loads(_beside(place).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
