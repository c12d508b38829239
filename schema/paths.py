"""Read a path of a recipe as a person writes it: `export[0].format`, `export.0.format`, `model.args."a.b"`."""

import re

Path = tuple[str | int, ...]

# A name, a name in quotes (which may hold dots), or a position in a list.
_PART = re.compile(r'\.?(?:"([^"]+)"|\[(\d{1,6})\]|([^."\[\]\s]+))')


def parse_path(text: str) -> Path:
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
