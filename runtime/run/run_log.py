"""The log of titrant's loggers: JSON lines without secrets beside a run's journal, and on the console or in a file."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from titrant.schema.config.secrets import redact, without_secrets
from titrant.schema.values.canonical import plain
from titrant.schema.values.text import printable

LOG = "log.jsonl"
LEVELS = ("debug", "info", "warning", "error")
# A library says nothing to anybody who did not ask.
logging.getLogger("titrant").addHandler(logging.NullHandler())


class RunLog:
    """A handler on the logger `titrant` from `open` to `close`; what other handlers show does not change."""

    def __init__(self) -> None:
        self._handler: logging.Handler | None = None
        self._level = logging.NOTSET
        self._filtered: list[logging.Handler] = []
        self._filter = _AsBefore(logging.NOTSET)

    def open(self, folder: Path) -> None:
        """Begin to write into a run's folder."""
        logger = logging.getLogger("titrant")
        self._handler = _QuietHandler(folder / LOG, encoding="utf-8")
        self._handler.setFormatter(LogLines())
        self._level, self._filter = logger.level, _AsBefore(logger.getEffectiveLevel())
        self._filtered = [*logger.handlers, *(logging.getLogger().handlers if logger.propagate else ())]
        for handler in self._filtered:
            handler.addFilter(self._filter)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self._handler)

    def close(self) -> None:
        """End; the logger is as it was."""
        if self._handler is None:
            return
        logger = logging.getLogger("titrant")
        logger.removeHandler(self._handler)
        for handler in self._filtered:
            handler.removeFilter(self._filter)
        logger.setLevel(self._level)
        self._handler.close()
        self._handler = None


class _QuietHandler(logging.FileHandler):
    """A log that cannot be written, as on a full disk, must not end a run or print tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Leave the record out."""


class _AsBefore(logging.Filter):
    """Keeps from other handlers what the logger's own level kept from them before this log wanted everything."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is shown."""
        return record.levelno >= self._level or record.name.partition(".")[0] != "titrant"


class LogLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, the `fields` of the record, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; what JSON cannot hold is written as text."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        shown, _ = redact({**line, **_json(getattr(record, "fields", {}))})
        return printable(json.dumps(shown, ensure_ascii=False))


def _json(fields: object) -> dict[str, object]:
    try:
        return dict(plain(fields))
    except (TypeError, ValueError):
        return dict(json.loads(json.dumps(fields, default=str), parse_constant=str))


class WithoutSecrets(logging.Formatter):
    """A formatter for people: as the standard one, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        return printable(without_secrets(super().format(record)))


def get_logger(name: str = "titrant") -> logging.Logger:
    """Return the logger of that name below `titrant`."""
    return logging.getLogger(name if name.partition(".")[0] == "titrant" else f"titrant.{name}")


def setup_logging(level: str = "warning", log_file: str | os.PathLike[str] | None = None) -> logging.Logger:
    """Send titrant's log to stderr from `level` on, and, where `log_file` is given, everything as JSON lines into it.

    `level` is debug, info, warning or error, in any case. Parent folders of the file are made. Calling it again
    replaces what was set up before. Raises ValueError for an unknown level and OSError, naming the path, where the
    file cannot be written.
    """
    level = level.lower()
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
    if log_file is not None:
        file = Path(log_file)
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = logging.FileHandler(file, encoding="utf-8")
        lines.setFormatter(LogLines())
        logger.addHandler(lines)
    logger.setLevel(logging.DEBUG if log_file is not None else level.upper())
    logger.propagate = False
    return logger
