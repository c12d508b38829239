"""Write diagnostics as text for a person, or as JSON for editors and CI."""

import unicodedata
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, Place

COLUMNS = 100
LONGEST_LINE = 2000  # in JSON; a longer one says nothing to an editor that has the file open


def render(diagnostic: Diagnostic, *, show_data: bool = False) -> str:
    """Write one diagnostic: code and message, place, source line with a caret under the token, help.

    With `show_data` also what may hold values of the data.
    """
    head = f"{diagnostic.severity}[{diagnostic.code}]: "
    lines = _wrapped(diagnostic.message, head, " " * 2)
    if diagnostic.said and show_data:
        lines += _wrapped(diagnostic.said, "  said: ", " " * 8)
    if diagnostic.where is not None:
        lines += _source(diagnostic.where)
    if diagnostic.help:
        lines += _wrapped(diagnostic.help, "  help: ", " " * 8)
    return "\n".join(lines)


def render_all(diagnostics: Iterable[Diagnostic], *, show_data: bool = False) -> str:
    """Write several diagnostics, one blank line between two."""
    return "\n\n".join(render(diagnostic, show_data=show_data) for diagnostic in diagnostics)


def as_json(diagnostic: Diagnostic, *, show_data: bool = False) -> Mapping[str, Any]:
    """Return one diagnostic as JSON types: code, severity, message, help, and its place or None.

    With `show_data` also `said`, which may hold values of the data.
    """
    where = diagnostic.where
    place = where and {
        "file": where.file,
        "line": where.line,
        "column": where.column,
        "width": where.width,
        "key": where.key,
        "text": where.text if len(where.text) <= LONGEST_LINE else "",
    }
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "help": diagnostic.help,
        "where": place,
        **({"said": diagnostic.said} if show_data and diagnostic.said else {}),
    }


def _source(where: Place) -> list[str]:
    key = f" ({where.key})" if where.key else ""
    lines = [f"  --> {visible(f'{where}{key}')}"]
    number = "" if where.file == "--set" else str(where.line)
    margin = " " * (len(number) + 2)
    text, before, token = _window(where, COLUMNS - len(margin) - 2)
    caret = " " * _cells(before) + "^" * max(_cells(token), 1)
    return [*lines, f"{margin}|", f" {number} | {text}".rstrip(), f"{margin}| {caret}"]


def _window(where: Place, width: int) -> tuple[str, str, str]:
    """Cut the part of a line out that shows the token: the text, what stands before the token in it, the token."""
    start, end = where.column - 1, where.column - 1 + where.width
    if len(where.text) <= 2 * width:
        line = visible(where.text).rstrip()
        if _cells(line) <= width:
            return line, line[:start].ljust(start), line[start:end]
    # Only a stretch around the token is looked at: a line may be a megabyte long.
    left = max(0, start - width // 2)
    stretch = visible(where.text[left : left + 2 * width])
    shown = ""
    for sign in stretch:
        if _cells(shown) >= width - 3:
            break
        shown += sign
    head, tail = ("…" if left else ""), ("…" if left + len(shown) < len(where.text.rstrip()) else "")
    before = head + shown[: start - left].ljust(start - left)
    return head + shown.rstrip() + tail, before, shown[start - left : end - left]


def visible(text: str) -> str:
    """Show tabs as one space and characters that cannot be printed as `·`, so that columns keep their places."""
    return "".join(" " if sign == "\t" else sign if sign.isprintable() else "·" for sign in text)


def _cells(text: str) -> int:
    """Count the columns that a text takes in a terminal: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def _wrapped(text: str, head: str, indent: str) -> list[str]:
    return wrap(visible(text), COLUMNS, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False) or [
        head.rstrip()
    ]
