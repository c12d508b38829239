"""Read a configuration's JSON: nothing that a reader could take in two ways, or that could not be saved again."""

import json
import math
from collections import Counter
from typing import Any

from titrant.schema.config.values import MOST_DIGITS
from titrant.schema.diagnostics import Diagnostic, Place, RecipeError
from titrant.schema.intake import split_lines


def read_json(text: str, file: str) -> Any:
    """Return a JSON text's value; RecipeError for what is no JSON.

    Refused too: duplicate keys (R007), numbers that cannot be held (`1e999`, `NaN`, more than 40 digits), half
    characters and levels without end (R031).
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: _once(pairs, file),
            parse_constant=_no_constant,
            parse_int=_whole_number,
            parse_float=_fraction,
        )
        _check_characters(text, value)
    except json.JSONDecodeError as error:
        lines = split_lines(text)
        line = lines[min(error.lineno, len(lines)) - 1]
        place = Place(file, error.lineno, error.colno, 1, line)
        message = f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise RecipeError(Diagnostic("R031", message, place, "look for a missing quote, comma or bracket")) from None
    except (RecursionError, ValueError) as error:
        what = "too many levels lie inside each other" if isinstance(error, RecursionError) else str(error)
        raise RecipeError(Diagnostic("R031", f"{file} cannot be read: {what}", help="mend the file")) from None
    return value


def _once(pairs: list[tuple[str, Any]], file: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise RecipeError(Diagnostic("R007", f"`{twice[:40]}` stands twice in one mapping of {file}", help="keep one"))
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def _whole_number(digits: str) -> int:
    if len(digits.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a number in it has more than {MOST_DIGITS} digits")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"`{digits[:40]}` is too large a number to hold")
    return number


def _check_characters(text: str, value: Any) -> None:
    """Raise ValueError for an escape that is half a character: nothing could write it again."""
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(error.object[error.start]):04X}"
            raise ValueError(f"a text in it holds half a character ({half})") from None
