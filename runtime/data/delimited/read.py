"""Read a delimited text file into a table as it was written, and say what was found; what is in doubt is refused."""

from pathlib import Path

import numpy as np

from titrant.runtime.data.delimited.cells import read_column, trim
from titrant.runtime.data.delimited.decode import UTF8, decode, unpacked
from titrant.runtime.data.delimited.notation import find_notation
from titrant.runtime.data.delimited.separate import SEPARATORS, part
from titrant.runtime.data.parameters import CsvOptions
from titrant.runtime.data.readers import existing, refuse_too_large, unreadable
from titrant.runtime.values import Table
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.values.archives import DAMAGED, is_packed_stream, measure_stream, measure_zip

_AS_IT_SHOWS = CsvOptions()
# So many columns are named in one note.
_NAMED = 6


def read_csv(path: str, options: CsvOptions = _AS_IT_SHOWS) -> Table:
    """Read a file with a header line, in the encoding, with the separator and the notation of numbers that it shows.

    What `options` state is not looked for. Whole numbers are int64, numbers float64 with NaN for missing, other columns
    text with "" for missing. Raises StepError X100 for what is no such file, X109 for names that do not tell columns
    apart, X112 for a packed file that would fill the memory, X234 where several readings are possible, with the line
    that decides, X235 where the file is not as stated.
    """
    file = existing(path)
    try:
        if is_packed_stream(file):
            refuse_too_large(file, measure_stream(file))
        elif file.suffix.lower() == ".zip":
            refuse_too_large(file, measure_zip(file))
        raw = unpacked(file)
    except DAMAGED as error:
        raise StepError(unreadable(file, error, "csv")) from None
    text, encoding = decode(raw, file.name, options.encoding)
    del raw
    parted = part(text, file.name, options.separator)
    del text
    trimmed = {name: trim(texts, options.missing) for name, texts in parted.columns.items()}
    cells = {name: column.filled for name, column in trimmed.items()}
    notation = find_notation(cells, file.name, parted.separator, options.decimal, options.thousands)
    columns: dict[str, np.ndarray] = {}
    marks: dict[str, tuple[str, ...]] = {}
    notes = []
    for name in parted.columns:
        read = read_column(name, trimmed.pop(name), notation, options.missing)
        columns[name] = read.values
        marks |= {name: read.marks} if read.marks else {}
        notes += [read.note] if read.note else []
    how = _words(file, encoding, parted.separator, str(notation))
    return Table(columns, notes=(*how, *parted.notes, *notes, *_missing_words(marks)), marks=marks)


def _words(file: Path, encoding: str, separator: str, notation: str) -> tuple[str, ...]:
    """Say how a file was read, where that is not what its name says: UTF-8, commas, decimal points."""
    words = [] if encoding in UTF8 else [encoding]
    words += [] if separator == "," else [f"separator {SEPARATORS.get(separator, separator)}"]
    words += [notation] if notation else []
    return (f"{file.name} is read as {', '.join(words)}",) if words else ()


def _missing_words(marks: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Say which texts were read as missing, and in which columns."""
    by_marks: dict[tuple[str, ...], list[str]] = {}
    for name, texts in marks.items():
        by_marks.setdefault(texts, []).append(name)
    lines = []
    for texts, names in by_marks.items():
        more = f" and {len(names) - _NAMED} columns more" if len(names) > _NAMED else ""
        listed = " and ".join(f"`{text}`" for text in texts)
        lines.append(f"{listed} in {', '.join(names[:_NAMED])}{more} is read as missing")
    return tuple(lines)
