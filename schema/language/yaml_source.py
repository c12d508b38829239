"""Read a recipe's text, refusing what is too large, not UTF-8 or invisible, and word the errors of its YAML syntax."""

import re
import stat
from pathlib import Path
from typing import Any

import yaml

from titrant.schema.diagnostics.diagnostics import Diagnostic, Place, RecipeError
from titrant.schema.language.spans import Origin, Span
from titrant.schema.values.files import YAML_SUFFIXES
from titrant.schema.values.text import os_reason

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
    from titrant.schema.language.nearest import nearest

    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in YAML_SUFFIXES)
    except (OSError, ValueError):
        return "check the path"
    if near := nearest(path.name, names):
        return f"did you mean `{path.parent / near}`?"
    return f"recipes in {path.parent}: {', '.join(names[:8])}" if names else "check the path"


def syntax_error(error: yaml.MarkedYAMLError, origin: Origin, inside: Span | None = None) -> Diagnostic:
    """Turn a libyaml error into a diagnostic, with the caret where the mistake was made rather than where it showed.

    `inside` is the first token of the innermost list or mapping that was still open.
    """
    problem, context = error.problem or "", error.context or ""
    at = _mark(error.problem_mark, origin)
    begin = _mark(error.context_mark, origin) if error.context_mark else at
    line = origin.lines[at.line] if at.line < len(origin.lines) else ""
    if _tab_indents(line, at.column):
        return _tab(origin, at.line, line)
    if "unexpected end of stream" in problem and "quoted" in context:
        return _diagnostic("R026", "this quote is never closed", begin, "add the closing quote on the same line")
    if "while parsing a flow node" in context:
        return _flow_value(origin, at, line, inside)
    if "while parsing a flow" in context:
        closing = "]" if "sequence" in context else "}"
        advice = f"add `,` or `{closing}` before line {at.line + 1}, column {at.column + 1}"
        return _diagnostic("R026", f"this bracket is not closed with `{closing}`", begin, advice)
    if "mapping values are not allowed" in problem:
        return _colon(origin, at, line)
    if "could not find expected ':'" in problem:
        end = len(origin.lines[begin.line].rstrip()) if begin.line < len(origin.lines) else begin.column + 1
        whole = Span(origin, begin.line, begin.column, begin.line, end)
        return _diagnostic("R005", "this line is not `key: value`", whole, "put a `:` and a space after the key")
    return _diagnostic(*_other(problem, context, line, at))


def _flow_value(origin: Origin, at: Span, line: str, inside: Span | None) -> Diagnostic:
    """Word what is wrong where a value is due between brackets."""
    sign = line[at.column : at.column + 1]
    if sign in ("]", "}"):
        return _diagnostic(*_other("", "", line, at))
    if sign == ",":
        return _diagnostic("R005", "a value is missing before this comma", at, "write the value, or take the comma out")
    ends = not "".join((line[at.column :], *origin.lines[at.line + 1 :])).strip()
    if ends and inside is not None:
        closing = "]" if origin.lines[inside.line][inside.column : inside.column + 1] == "[" else "}"
        advice = f"add `{closing}` at the end, or take the bracket out"
        return _diagnostic("R026", f"this bracket is not closed with `{closing}`", inside, advice)
    return _diagnostic("R005", "this cannot be a value between brackets", at, "put the value in quotes")


def _other(problem: str, context: str, line: str, at: Span) -> tuple[str, str, Span, str]:
    """Word the errors that only need their own sentence."""
    sign = line[at.column : at.column + 1]
    if "cannot start any token" in problem:
        if sign == "\t":
            return "R006", "a value cannot begin with a tab", at, "take the tab out, or put a space in its place"
        return "R005", f"a value cannot begin with `{sign}`", at, "put the value in quotes"
    if sign in ("]", "}"):
        return "R026", f"`{sign}` closes nothing", at, "take it out, or add the opening bracket"
    if "block sequence entries are not allowed" in problem:
        return "R005", "a list cannot begin here", at, "begin each `- item` on a line of its own, or write `[a, b]`"
    if "did not find expected '-'" in problem:
        return (
            "R005",
            "a list ends here without a reason",
            at,
            "begin the line with `- ` or indent it like its neighbours",
        )
    if "expected key" in problem and (line[: at.column].rstrip().endswith(("'", '"'))):
        advice = "quote the whole value; inside single quotes, `'` is written twice"
        return "R005", "text goes on after the closing quote", at, advice
    if "expected key" in problem:
        advice = "indent the line exactly like the keys above it"
        return "R005", "this line fits neither the keys above it nor a new level", at, advice
    if "escape" in problem:
        return "R005", "`\\` begins an escape that YAML does not know", at, "use single quotes, or write `\\\\`"
    if "document start" in problem:
        return "R009", "text follows the end of the document", at, "take out the line `...`"
    reason = f"{problem} {context}".strip()
    return "R005", f"this is not YAML: {reason}", at, "look for a missing quote, bracket, colon or space nearby"


def _colon(origin: Origin, at: Span, line: str) -> Diagnostic:
    before = line[: at.column]
    if ":" in before.strip():
        advice = "put the value in quotes if the `:` belongs to it, or begin a new line for the inner key"
        return _diagnostic("R005", "a second `key:` stands in one line", at, advice)
    key = before.strip()
    start = len(before) - len(before.lstrip())
    span = Span(origin, at.line, start, at.line, at.column) if key else at
    return _diagnostic(
        "R005", "this key stands inside the value of the line above", span, "indent it like the keys above it"
    )


def _tab_indents(line: str, column: int) -> bool:
    indent = line[: len(line) - len(line.lstrip())]
    return "\t" in indent and column <= len(indent)


def _tab(origin: Origin, number: int, line: str) -> Diagnostic:
    column = line.index("\t")
    width = len(line) - len(line.lstrip()) - column
    span = Span(origin, number, column, number, column + width)
    return _diagnostic("R006", "a tab indents this line", span, "indent with spaces, two for each level")


def _mark(mark: Any, origin: Origin) -> Span:
    line = min(mark.line, len(origin.lines) - 1)
    column = mark.column if line == mark.line else len(origin.lines[line])
    return Span(origin, line, column, line, column + 1)


def _diagnostic(code: str, message: str, span: Span, advice: str) -> Diagnostic:
    return Diagnostic(code, message, span.place(), advice)
