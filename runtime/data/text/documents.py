"""Read plain text in UTF-8: a file, whose documents lines or blank lines part, or a folder of files."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from titrant.runtime.values import Table
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.files import files_below
from titrant.schema.values.text import os_reason
from titrant.schema.values.units import counted, format_size

# The column of the documents, and of a folder those of each one's file and subfolder, for whoever names them.
TEXT, FILE, FOLDER = "text", "file", "folder"
PLACES = (FILE, FOLDER)
_SUFFIX = ".txt"
_BLANK_LINES = re.compile(r"\n[ \t\f\v]*(?:\n[ \t\f\v]*)+")
# A column of text takes the room of its longest one in every row, four bytes a character.
_CHARACTER_BYTES, _MOST_BYTES = 4, 2 << 30


def read_text(path: str, *, documents: str | None = None, separator: str | None = None) -> Table:
    """Read the documents of a file, or of every .txt file below a folder, as the column `text`; no document is empty.

    What stands between two `separator` is one, or `documents` says what is: "line", "paragraph" or "file"; else it is
    found: a file of a folder, in a file what blank lines part, or else a line.
    Of a folder the columns `file` and `folder` say where each stands, as paths within it, "." for the folder itself.
    Raises StepError X608 for what is no text in UTF-8, with its first line that is none, X609 where there is no
    document, X610 for documents that together would fill the memory.
    """
    place = Path(path)
    if not place.is_dir():
        name = place.name
        parts, what = _parted(_text(place, name, ""), documents, separator)
        notes = [f"{name} is read as {counted(len(parts), 'document')}: {what}"]
        return Table({TEXT: _column(parts, name)}, notes=tuple(notes))
    files, passed = _files(place)
    texts, named, empty = [], [], 0
    for number, file in enumerate(files, 1):
        name = file.relative_to(place).as_posix()
        # The name of a file may be a person's.
        text = _text(file, f"{place.name}, file {number:,} by name", name)
        parts, _ = _parted(text, documents or "file", separator)
        texts += parts
        named += [name] * len(parts)
        empty += not parts
    folders = [str(Path(name).parent) for name in named]
    notes = [f"{place.name} is read as {counted(len(texts), 'document')} of {counted(len(files), 'file')}"]
    notes += [f"{counted(empty, 'file')} without any text {'is' if empty == 1 else 'are'} passed over"] if empty else []
    kinds = ", ".join(f"{count:,} {kind or 'without an ending'}" for kind, count in sorted(passed.items()))
    notes += [f"of {place.name} only {_SUFFIX} files are read, and passed over are {kinds}"] if passed else []
    columns = {TEXT: _column(texts, place.name), FILE: np.array(named, str), FOLDER: np.array(folders, str)}
    return Table(columns, notes=tuple(notes))


def _files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Return the texts of a folder in the order of their paths, and count by ending what is none; hidden ones aside."""
    files, passed = [], Counter[str]()
    for file in sorted(files_below(folder)):
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        if not file.exists():
            passed["linked to nothing"] += 1
        elif file.suffix.lower() == _SUFFIX and file.is_file():  # a pipe never ends
            files.append(file)
        else:
            # The ending of a name that has another one could be part of a person's name.
            passed[file.suffix.lower() if len(file.suffix) <= len(_SUFFIX) + 1 else "of another kind"] += 1
    if not files:
        raise StepError(
            Diagnostic("X609", f"{folder.name} has no {_SUFFIX} file", help="name a folder that has some, or a file")
        )
    return files, passed


def _text(file: Path, name: str, said: str) -> str:
    """Return a file's text with the ends of its lines as `\\n`; errors call it `name`, and `said` if asked."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise StepError(
            Diagnostic(
                "X100", f"{name} cannot be read as text: {os_reason(error)}", help="check the path in `data`", said=said
            )
        ) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The mark in front is no byte of the text that is decoded.
        start = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
        raise _no_text(raw, start, name, f"byte {raw[start]:#04x} at byte {start:,} is not UTF-8", said) from None
    if "\0" in text:
        start = raw.index(0)
        raise _no_text(raw, start, name, f"byte 0x00 at byte {start:,} is in no text", said)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _no_text(raw: bytes, start: int, name: str, why: str, said: str) -> StepError:
    line = raw.count(b"\n", 0, start) + 1
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    advice = "UTF-16" if wide else "another encoding, or is no text"
    help = f"it seems to be in {advice}: save it as UTF-8, such as by `iconv -t UTF-8`"
    return StepError(Diagnostic("X608", f"{name}, line {line:,}: {why}", help=help, said=said))


def _parted(text: str, documents: str | None, separator: str | None) -> tuple[list[str], str]:
    """Return the documents of a file, none empty, and what each is."""
    text = text.strip("\n")
    if separator is not None:
        return _filled(text.split(separator)), f"what stands between two {separator}"
    unit = documents or ("paragraph" if _BLANK_LINES.search(text) else "line")
    if unit == "file":
        return _filled([text]), "the file"
    if unit == "paragraph":
        return _filled(_BLANK_LINES.split(text)), "what stands between blank lines"
    return _filled(text.split("\n")), "each line"


def _filled(parts: Sequence[str]) -> list[str]:
    return [part for part in (part.strip("\n") for part in parts) if part.strip()]


def _column(documents: list[str], name: str) -> np.ndarray:
    if not documents:
        raise StepError(Diagnostic("X609", f"{name} holds no text", help="name a file that has some"))
    longest = max(map(len, documents))
    size = _CHARACTER_BYTES * longest * len(documents)
    if size > _MOST_BYTES and len(documents) > 1:
        message = (
            f"{name} has {len(documents):,} documents and one of {longest:,} characters, and each takes the room of "
            f"the longest: {format_size(size)}"
        )
        help = "let paragraphs be documents, `text: {path: …, documents: paragraph}`, or part the longest in the file"
        raise StepError(Diagnostic("X610", message, help=help))
    return np.array(documents, dtype=str)
