"""Lay text out for a person: lines filled to the width, rows in columns."""

import re
import sys
import textwrap
from collections.abc import Sequence

WIDTH = 100
# In a terminal that is narrower than this, the terminal itself breaks lines.
_NARROWEST = 60
# The last column of a table is filled from this width on; with less room it runs on.
_ROOM = 24
# A no-break space: it keeps a number and its unit in one line while a text is filled.
TIED = "\u00a0"
_QUANTITY = re.compile(r"(?<=\d) (?=(?:B|[KMGT]iB|ns|µs|ms|s|min|h|%|[kMGT]?B/s|[GT]FLOP/s|cases/s)(?![\w/]))")


def width() -> int:
    """Return how many columns text is filled to: 100, or those of a narrower terminal on stdout."""
    if sys.stdout is None or not sys.stdout.isatty():
        return WIDTH
    import shutil

    return max(_NARROWEST, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def wrapped(text: str, first: str = "", rest: str = "", *, columns: int | None = None) -> str:
    """Fill a text to the width, or to `columns`; `first` and `rest` are the indents.

    Words are kept whole, so that paths and commands can be copied, and so are quantities.
    """
    filled = textwrap.fill(
        _QUANTITY.sub(TIED, text), columns or width(), initial_indent=first, subsequent_indent=rest,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    return filled.replace(TIED, " ")


def table(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> str:
    """Lay rows out in columns; the last one is filled to the width where there is room for it."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    heads = [indent + "".join(f"{cell:<{wide}}  " for cell, wide in zip(row, widths, strict=False)) for row in rows]
    room = width() - len(heads[0])
    if room < _ROOM:
        return "\n".join(f"{head}{row[-1]}".rstrip() for head, row in zip(heads, rows, strict=True))
    hang = " " * len(heads[0])
    return "\n".join(_row(head, row[-1], hang) for head, row in zip(heads, rows, strict=True))


def _row(head: str, last: str, hang: str) -> str:
    return wrapped(last, head, hang).rstrip() if last else head.rstrip()
