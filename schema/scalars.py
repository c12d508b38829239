"""What plain text means in a recipe: true, false, null and numbers as in YAML 1.2; everything else is text."""

import math
import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,400}|(0|[1-9][0-9]{0,399})(\.[0-9]{0,400})?)([eE][-+]?[0-9]{1,4})?")


def resolve(text: str) -> Scalar:
    """Return the value of an unquoted scalar.

    `no`, `on`, dates, `0x10`, `0o17`, `010` and `1_000` stay text, and so do infinity, NaN, numbers too large to hold
    and whole numbers of more than 40 digits, so that none of them turns into something else unseen.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit() and math.isfinite(number := float(text)):
        return number
    return text
