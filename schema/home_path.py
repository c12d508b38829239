"""Where titrant keeps what it makes."""

import os
from contextlib import suppress
from pathlib import Path


def home_path() -> Path:
    """Return $TITRANT_HOME, or .titrant in the current folder, as an absolute path; it need not be there."""
    given = Path(os.environ.get("TITRANT_HOME") or ".titrant")
    with suppress(RuntimeError):  # `~somebody` where there is no such user
        given = given.expanduser()
    return given.absolute()
