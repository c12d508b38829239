"""Write a file so that it is there whole, or as it was before."""

import os
import stat
from pathlib import Path


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write beside the target, flush to disk, rename.

    What need not survive a power cut, such as a cache, is not `durable`: the disk is not waited for. A link is
    followed, so that it still leads to the file. A file that is there keeps its permissions; a new one has those of the
    umask. Raises OSError; the file is then as it was.
    """
    try:
        target = path.resolve()
    except (RuntimeError, ValueError) as error:  # links in a ring; a null character
        raise OSError(str(error)) from None
    unfinished = target.with_name(f".{target.name[:100]}.{os.getpid()}")
    try:
        with unfinished.open("wb") as handle:
            handle.write(data)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
        if target.exists():
            unfinished.chmod(stat.S_IMODE(target.stat().st_mode))
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
