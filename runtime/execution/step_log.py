"""Take secrets out of what a step prints."""

import re

from titrant.schema.config.secret_lines import without_secret_lines

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")


class Cleaner:
    """Cleans a text that comes in parts; a private key may begin in one and end in another."""

    def __init__(self) -> None:
        self._in_key = False

    def clean(self, part: bytes) -> bytes:
        """Return a part without secrets; it ends where a line does, or the text. What is not UTF-8 stays as it is."""
        if not part:
            return part
        text = part.decode("utf-8", "surrogateescape")
        if self._in_key:
            end = _KEY_ENDS.search(text)
            if end is None:
                return b""
            self._in_key, text = False, text[end.end() :]
        begins = [match.end() for match in _KEY_BEGINS.finditer(text)]
        self._in_key = bool(begins) and _KEY_ENDS.search(text, begins[-1]) is None
        return without_secret_lines(text).encode("utf-8", "surrogateescape")
