"""When a result was last used: the modification time of its key's folder."""

import contextlib
import os
import time
from pathlib import Path

# A use within this time of the one before is not written down again.
SLACK_SECONDS = 600.0


def used(folder: Path) -> None:
    """Write down that a result is used now; a folder that just went away is nothing to write down."""
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime > SLACK_SECONDS:
            os.utime(folder)


def last_use(folder: Path) -> float:
    """Return when a result was last used or made, in seconds since 1970, as exactly as SLACK_SECONDS."""
    return folder.stat().st_mtime
