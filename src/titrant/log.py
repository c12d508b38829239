"""Logging to the console and to a file of JSON lines."""

import logging
import sys
from pathlib import Path

from titrant.runtime.log_lines import LogLines, WithoutSecrets

LEVELS = ("debug", "info", "warning", "error")


def get_logger(name: str = "titrant") -> logging.Logger:
    """Return the logger of that name below `titrant`."""
    return logging.getLogger(name if name.partition(".")[0] == "titrant" else f"titrant.{name}")


def setup_logging(level: str = "warning", file: Path | None = None) -> logging.Logger:
    """Send titrant's log to stderr from `level` on, and, where `file` is given, everything as JSON lines into it.

    Parent folders of `file` are made. Calling it again replaces what was set up before. Raises ValueError for an
    unknown level and OSError, naming the path, where the file cannot be written.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown log level {level!r}: one of {', '.join(LEVELS)}")
    logger = logging.getLogger("titrant")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(level.upper())
    console.setFormatter(WithoutSecrets("%(levelname).1s %(name)s: %(message)s"))
    logger.addHandler(console)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = logging.FileHandler(file, encoding="utf-8")
        lines.setFormatter(LogLines())
        logger.addHandler(lines)
    logger.setLevel(logging.DEBUG if file is not None else level.upper())
    logger.propagate = False
    return logger
