"""One process at a time computes a step; the others wait for its result, and are told who has it."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from titrant.runtime.execution.home import Home, host

_LOOK_SECONDS = 0.2


@contextlib.contextmanager
def computing(home: Home, name: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a step key, waiting as long as another process has it.

    `waiting` is called once with a sentence that names the holder. The lock is the system's own, so that it ends with
    the process that holds it: there is nothing stale to remove.
    """
    from filelock import FileLock, Timeout

    place = home.locks / f"{name}.lock"
    holder = home.locks / f"{name}.json"
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting(_sentence(holder))
        lock.acquire(poll_interval=_LOOK_SECONDS)
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder.write_text(json.dumps({"pid": os.getpid(), "host": host(), "since": now}), "utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        # Removed while held: whoever waits for it finds it unlinked and looks again.
        place.unlink(missing_ok=True)
        lock.release()


def _sentence(holder: Path) -> str:
    try:
        who = json.loads(holder.read_text("utf-8"))
        return (
            f"process {who['pid']} on {who['host']} has been computing it since {who['since']}; waiting for its result"
        )
    except (OSError, ValueError, KeyError):
        return "another process is computing it; waiting for its result"
