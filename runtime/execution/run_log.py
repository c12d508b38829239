"""The log of a run: everything that titrant's loggers say while it goes on, as JSON lines beside its journal."""

import logging
from pathlib import Path

LOG = "log.jsonl"
# A library says nothing to anybody who did not ask.
logging.getLogger("titrant").addHandler(logging.NullHandler())


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


class RunLog:
    """A handler on the logger `titrant` from `open` to `close`; what other handlers show does not change."""

    def __init__(self) -> None:
        self._handler: logging.Handler | None = None
        self._level = logging.NOTSET
        self._filtered: list[logging.Handler] = []
        self._filter = _AsBefore(logging.NOTSET)

    def open(self, folder: Path) -> None:
        """Begin to write into a run's folder."""
        from titrant.runtime.log_lines import LogLines

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
