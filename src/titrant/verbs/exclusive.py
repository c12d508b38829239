"""Read a file and write it anew alone: of two who update it at one moment none undoes what the other wrote."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

_SECONDS = 60.0


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a file's own lock, a hidden file beside it that goes away again; it ends with the process that holds it.

    Raises OSError where the folder cannot be written, and TimeoutError when another process holds it for a minute.
    """
    from filelock import FileLock

    place = path.with_name(f".{path.name[:100]}.lock")
    lock = FileLock(place)
    lock.acquire(timeout=_SECONDS)
    try:
        yield
    finally:
        # Removed while held: whoever waits for it finds it unlinked and looks again.
        place.unlink(missing_ok=True)
        lock.release()
