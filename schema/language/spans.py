"""Places in a source text, and paths of a recipe as a person writes them.

A path is written `export[0].format`, `export.0.format` or `model.args."a.b"`.
"""

import re
from pathlib import Path

from titrant.schema.diagnostics.diagnostics import Place
from titrant.schema.values.frozen import dataclass

KeyPath = tuple[str | int, ...]

LONGEST_KEY = 300  # a longer path is cut where it is shown
# A name, a name in quotes (which may hold dots), or a position in a list.
_PART = re.compile(r'\.?(?:"([^"]+)"|\[(\d{1,6})\]|([^."\[\]\s]+))')


@dataclass(frozen=True)
class Origin:
    """One source text: a recipe file, the file that it extends, or one `--set` flag.

    `folder` is what relative paths in it start from. `rank` orders texts in a list of errors.
    """

    file: str
    folder: Path
    lines: tuple[str, ...]
    rank: int = 0


@dataclass(frozen=True)
class Span:
    """A stretch of one source text; lines and columns count from 0, the end is exclusive."""

    origin: Origin
    line: int
    column: int
    end_line: int
    end_column: int

    def place(self, key: str = "") -> Place:
        """Return the first line of this stretch as a place; a token of no width is one character wide."""
        lines = self.origin.lines
        text = lines[self.line] if self.line < len(lines) else ""
        end = self.end_column if self.end_line == self.line else len(text.rstrip())
        key = key if len(key) <= LONGEST_KEY else key[: LONGEST_KEY - 1] + "…"
        return Place(self.origin.file, self.line + 1, self.column + 1, max(end - self.column, 1), text, key)


def dotted(path: tuple[str | int, ...]) -> str:
    """Write a path as a person reads it: `export[0].format`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def parse_path(text: str) -> KeyPath:
    """Return the parts of a path; a number alone is a position. Raises ValueError for what is not a path."""
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        # A dot stands between two parts, and nowhere else but left out before `[0]`.
        misplaced = match is not None and match[2] is None and (text[position] == ".") == (position == 0)
        if match is None or misplaced:
            raise ValueError(f"`{text}` is not a path of a recipe")
        quoted, index, name = match.groups()
        parts.append(int(index) if index else int(name) if name and _is_position(name) else quoted or name)
        position = match.end()
    if not parts:
        raise ValueError("an empty text is not a path of a recipe")
    return tuple(parts)


def _is_position(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 6
