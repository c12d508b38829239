"""Take a recipe's bytes in: refuse what is too large, not UTF-8, or holds characters that nobody can see."""

import re
import stat
from pathlib import Path

from titrant.schema.diagnostics import Diagnostic, Place, RecipeError
from titrant.schema.os_reason import os_reason

MOST_BYTES = 2**20
# Control characters but tab, line feed and carriage return; line breaks that editors do not show as such; marks that
# reverse the direction of text, so that it reads differently from what it says.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
LINE_BREAK = re.compile("\r\n|\n|\r")


def hidden(text: str) -> str:
    """Describe the first character of a text that nobody can see; "" where there is none."""
    match = _HIDDEN.search(text)
    return f"the invisible character U+{ord(match[0]):04X}" if match else ""


def split_lines(text: str) -> tuple[str, ...]:
    """Split a text at the line breaks that YAML knows."""
    return tuple(LINE_BREAK.split(text))


def read_text(path: Path, file: str) -> str:
    """Read a recipe file; RecipeError for anything but a regular file of at most 1 MiB of UTF-8 text."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise RecipeError(Diagnostic("R001", f"{file} is {kind}", help="give the path of a file"))
        if status.st_size > MOST_BYTES:
            raise RecipeError(_too_large(file))
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RecipeError(Diagnostic("R001", f"{file} cannot be read: {_reason(error)}", help=_nearby(path))) from None
    if len(content) > MOST_BYTES:
        raise RecipeError(_too_large(file))
    return decode(content, file)


def decode(content: bytes, file: str) -> str:
    """Decode a recipe's bytes; RecipeError, at the first wrong byte, when they are not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        lines = split_lines(before)
        rest = LINE_BREAK.split(content[error.start :].decode("utf-8", "replace"), maxsplit=1)[0]
        place = Place(file, len(lines), len(lines[-1]) + 1, 1, lines[-1] + rest)
        guess = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding, such as Latin-1"
        message = f"byte 0x{content[error.start]:02X} is not UTF-8; the file may be in {guess}"
        raise RecipeError(Diagnostic("R002", message, place, "save the file as UTF-8")) from None


def check_text(text: str, file: str) -> None:
    """Raise RecipeError when a text is too large or holds an invisible character."""
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise RecipeError(_too_large(file))
    match = _HIDDEN.search(text)
    if match:
        lines = split_lines(text[: match.start()])
        whole = split_lines(text)[len(lines) - 1]
        place = Place(file, len(lines), len(lines[-1]) + 1, 1, whole)
        message = f"here stands {hidden(match[0])}, which nobody can see"
        raise RecipeError(Diagnostic("R004", message, place, "delete it and type the line again"))


def _too_large(file: str) -> Diagnostic:
    advice = "a recipe is a page or two of text; data and weights belong in files that it names"
    return Diagnostic("R003", f"{file} is larger than 1 MiB", help=advice)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return os_reason(error)


def _nearby(path: Path) -> str:
    from titrant.schema.nearest import nearest

    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml"))
    except (OSError, ValueError):
        return "check the path"
    if near := nearest(path.name, names):
        return f"did you mean `{path.parent / near}`?"
    return f"recipes in {path.parent}: {', '.join(names[:8])}" if names else "check the path"
