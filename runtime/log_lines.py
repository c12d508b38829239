"""Log records as lines of JSON, without secrets."""

import json
import logging
from datetime import UTC, datetime

from titrant.schema.canonical import plain
from titrant.schema.config.secrets import redact


class LogLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, the `fields` of the record, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; what JSON cannot hold is written as text."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        shown, _ = redact({**line, **_json(getattr(record, "fields", {}))})
        return json.dumps(shown, ensure_ascii=False)


def _json(fields: object) -> dict[str, object]:
    try:
        return dict(plain(fields))
    except (TypeError, ValueError):
        return dict(json.loads(json.dumps(fields, default=str), parse_constant=str))


class WithoutSecrets(logging.Formatter):
    """A formatter for people: as the standard one, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        from titrant.schema.config.secrets import without_secrets

        return without_secrets(super().format(record))
