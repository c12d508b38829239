"""Write text so that nothing in it is read as a command: by a terminal, or as Markdown; and say what an error is."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

# What a terminal obeys rather than shows: control characters but tab and line feed, what turns the direction of writing
# or ends a line unseen; and halves of characters, which no file in UTF-8 can hold.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Write what a terminal would obey as an escape, such as `\\u001b`, which is one of JSON's too.

    Everything that is printed, and every file that shows names of the data or of files, goes through here.
    """
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def is_text(name: str) -> bool:
    """Tell whether UTF-8 can hold a name: Python reads one of a disk that is not UTF-8 with halves of characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


# An absolute path, wherever one begins in a text; names of a graph's nodes look the same (`/features/0/Conv`).
_PATH = re.compile(r"(?<![\w.~-])(?:/[^\s/'\"`:;,()\[\]{}<>|]+)+")


def without_places(text: str, folders: Iterable[str]) -> str:
    """Leave of every path of this machine its last part, `…/model.onnx`: a text that others read holds none.

    `folders` are the machine's, which may have spaces in their names. What begins in no folder of the root is no path.
    """
    for folder in sorted(folders, key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(folder, f"/{folder.strip('/').split('/')[0]}")
    return _PATH.sub(_last_part, text)


def _last_part(match: re.Match[str]) -> str:
    path = match[0]
    root, name = path.split("/")[1], path.rpartition("/")[2]
    return f"…/{name}" if Path("/", root).is_dir() else path


SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&!$@])")


def inline(text: object) -> str:
    """Make any text safe inside a line or a table cell: one line, nothing in it means Markdown or HTML.

    An invisible space parts `@` from the name behind it, so that a recipe cannot notify people in a pull request.
    """
    flat = " ".join(str(text).split())
    return SPECIAL.sub(lambda match: "@&#8203;" if match[0] == "@" else "\\" + match[0], flat)


def code(text: object) -> str:
    """Write a name as inline code, with a fence longer than any run of backticks in it."""
    flat = " ".join(str(text).split()).replace("|", "\\|")
    runs = [len(run) for run in re.findall(r"`+", flat)]
    fence = "`" * (max(runs, default=0) + 1)
    pad = " " if runs else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def block(text: str, language: str = "") -> str:
    """Write a block of code, with a fence longer than any in it."""
    runs = [len(run) for run in re.findall(r"`{3,}", text)]
    fence = "`" * max(3, max(runs, default=0) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def row(cells: Iterable[object]) -> str:
    """Write one table row of cells that are Markdown already."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


# A line of a library may hold a whole shape or file.
MOST = 200


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that says anything, at most 200 characters; else the error's type."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:MOST]


def os_reason(error: OSError | ValueError) -> str:
    """Say why the system refused: `permission denied`; Python raises ValueError for a path with a null character."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def is_whole(text: str) -> bool:
    """Whether a text is a whole number as one writes it, without leading zeros."""
    digits = text.removeprefix("-")
    return digits.isdecimal() and (digits == "0" or not digits.startswith("0"))


def device_title(kind: str) -> str:
    """Call a kind of device (cpu, cuda, mps) as people do."""
    return {"cpu": "CPU", "cuda": "CUDA", "mps": "Metal"}.get(kind, kind)


def covered(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of some patterns covers a module: by its own name, or by that of a module that it lies in."""
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*") for pattern in patterns)


def covers_module(pattern: str, name: str) -> bool:
    """Whether a pattern covers a module's name part by part: `blocks.*` is each block, and nothing inside of one."""
    parts, steps = pattern.split("."), name.split(".")
    return len(parts) == len(steps) and all(map(fnmatchcase, steps, parts))


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Write rows (all of one length) one under the other, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
