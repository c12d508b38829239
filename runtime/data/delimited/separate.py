"""Part a delimited text into rows and columns of text: find the separator, take the header, count what is ragged."""

import csv
import io
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from titrant.runtime.data.columns import HEADER, are_places, are_values, repeated_column
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import pyarrow as pa

# mark → its name
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE, _SAMPLE_ROWS = 1 << 20, 500
_BLOCK = 16 << 20
# The first line of a file that tells Excel how it is separated.
_TOLD = re.compile(r'"?sep=([^\r\n"])"?\r?\n|"?sep=([^\r\n"])"?\r', re.IGNORECASE)


@dataclass(frozen=True)
class Parted:
    """The columns of a file as text, name → pyarrow.ChunkedArray (rows,), how they were parted, and notes."""

    columns: "dict[str, pa.ChunkedArray]"
    separator: str
    notes: tuple[str, ...]


def part(text: str, name: str, stated: str | None) -> Parted:
    """Part a text at the `stated` separator, or the one that is found; its first line holds the names.

    StepError X100 for rows of another length than the first, X109 for names that do not tell columns apart, X234 where
    several separators fit, X235 where the stated one stands nowhere in the first line.
    """
    by_excel = _TOLD.match(text)
    if by_excel is not None:
        text = text[by_excel.end() :]
        stated = stated or by_excel[1] or by_excel[2]
    text = text.lstrip("\r\n")
    if not text or text.isspace():
        message = f"{name} cannot be read as csv: it is empty"
        raise StepError(Diagnostic("X100", message, help="check that it is whole and of that format"))
    separator = stated or _find_separator(text, name)
    header = _records(text, separator)[0]
    if (
        stated is not None
        and by_excel is None
        and len(header) == 1
        and (other := _find_separator(text, name)) in header[0]
    ):
        message = f"{name} has one column when it is separated at `{stated}`, and its first line holds `{other}`"
        advice = "take `separator` out, to have it found"
        raise StepError(Diagnostic("X235", message, help=advice))
    texts = _read(text, name, separator, len(header))
    if _spaced(header, texts):
        import pyarrow.compute as pc

        header = [header[0], *(field[1:] for field in header[1:])]
        texts = [texts[0], *(pc.utf8_slice_codeunits(column, 1) for column in texts[1:])]
        spaces: tuple[str, ...] = (f"a space stands behind each separator of {name}, and is left out",)
    else:
        spaces = ()
    kept, left_out = _named(header, texts, name)
    return Parted(kept, separator, (*spaces, *left_out, *_twins(tuple(kept), name)))


def _records(text: str, separator: str) -> list[list[str]]:
    """Return the first rows of a text; of a long one the last is left out, since it may be cut."""
    limit = csv.field_size_limit(_SAMPLE + 1)
    try:
        sample = text[:_SAMPLE]
        rows = []
        for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator):
            if row:
                rows.append(row)
            if len(rows) > _SAMPLE_ROWS:
                break
    finally:
        csv.field_size_limit(limit)
    cut = len(text) > _SAMPLE and len(rows) <= _SAMPLE_ROWS
    return rows[:-1] if cut and len(rows) > 1 else rows or [[""]]


def _find_separator(text: str, name: str) -> str:
    """Return the separator that parts every row of the first many alike; a comma where there is but one column."""
    widths = {mark: [len(row) for row in _records(text, mark)] for mark in SEPARATORS}
    several = [mark for mark, counts in widths.items() if counts[0] > 1]
    even = [mark for mark in several if len(set(widths[mark])) == 1]
    if len(even) > 1:
        fitting = " and ".join(f"`{mark}`" if mark != "\t" else "tabs" for mark in even)
        lines = " or ".join(f'`separator: "{_escaped(mark)}"`' for mark in even)
        message = f"{name} could be separated at {fitting}: each parts every row alike"
        raise StepError(Diagnostic("X234", message, help=f"write {lines} beside the `path` of the csv"))
    return even[0] if even else max(several, key=lambda mark: widths[mark][0], default=",")


def _escaped(mark: str) -> str:
    return "\\t" if mark == "\t" else mark


def _read(text: str, name: str, separator: str, width: int) -> "list[pa.ChunkedArray]":
    """Return the columns (rows,) without the header; StepError X100 where a row has not as many values."""
    import pyarrow as pa
    import pyarrow.csv

    ragged: list[tuple[int, int]] = []

    def refuse(row: "pa.csv.InvalidRow") -> str:
        ragged.append((row.number or 0, row.actual_columns))
        return "skip"

    odd_quotes = text.count('"') % 2
    buffer = pa.py_buffer(text.encode())
    types = {f"f{place}": pa.string() for place in range(width)}
    try:
        table = pyarrow.csv.read_csv(
            buffer,
            read_options=pyarrow.csv.ReadOptions(
                autogenerate_column_names=True, use_threads=False, block_size=min(max(buffer.size, 1), _BLOCK)
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False, null_values=[]),
        )
    except pa.ArrowInvalid as error:
        message = f"{name} cannot be read as csv: a quote is not closed, or a row is longer than {_BLOCK >> 20} MiB"
        advice = "check that it is whole and of that format"
        raise StepError(Diagnostic("X100", message, help=advice, said=str(error))) from None
    if ragged:
        raise StepError(_ragged(ragged, name, separator, width, table.num_rows))
    columns: list[pa.ChunkedArray] = [table.column(place).slice(1) for place in range(width)]
    last = columns[-1][-1].as_py() if len(columns[-1]) else ""
    if odd_quotes and "\n" in last.rstrip():
        message = f"{name} cannot be read as csv: a quote is not closed, and what follows it runs to the end"
        raise StepError(Diagnostic("X100", message, help='close it; a quote inside of a quoted value is written `""`'))
    return columns


def _ragged(rows: list[tuple[int, int]], name: str, separator: str, width: int, even: int) -> Diagnostic:
    number, count = rows[0]
    called = SEPARATORS.get(separator, f"`{separator}`")
    if even <= 1 and {count for _, count in rows} == {width + 1}:
        message = f"{name} cannot be read as csv: its rows have more values than its header has names"
        return Diagnostic("X100", message, help="give every column a name in the first line")
    few = "1 row has" if len(rows) == 1 else f"{len(rows):,} rows have"
    message = (
        f"{name} cannot be read as csv: its header has {width} names, and {few} another number of values; "
        f"the first is row {number - 1:,} below the header, with {count}, separated at each {called}"
    )
    return Diagnostic("X100", message, help="mend these rows, quote values that hold the separator, or write another")


def _spaced(header: list[str], texts: "list[pa.ChunkedArray]") -> bool:
    """Tell whether every name and value but the first of a row begins with a space, as in `a, b, c`."""
    import pyarrow.compute as pc

    if len(header) < 2 or not len(texts[0]) or not all(field.startswith(" ") for field in header[1:]):
        return False
    return all(pc.all(pc.starts_with(column, " ")).as_py() for column in texts[1:])


def _named(
    header: list[str], texts: "list[pa.ChunkedArray]", name: str
) -> "tuple[dict[str, pa.ChunkedArray], tuple[str, ...]]":
    """Give each column its name; an index that some writer added has none and is left out, so is an empty last one."""
    import pyarrow.compute as pc

    notes = []
    names = [column or f"Unnamed: {place}" for place, column in enumerate(header)]
    named = list(zip(names, texts, strict=True))
    empty = [place for place, column in enumerate(header) if not column]
    while len(named) > 1 and len(named) - 1 in empty and pc.all(pc.equal(named[-1][1], ""), min_count=0).as_py():
        empty.remove(len(named) - 1)
        named.pop()
        notes.append(f"the last column of {name} has neither a name nor a value, and is left out")
    if named[0][0].startswith("Unnamed:") and len(named) > 1:
        named.pop(0)
        notes.append(f"the first column of {name} has no name and is left out as an index")
    notes += [f"column {place + 1} of {name} has no name, and is called `Unnamed: {place}`" for place in empty if place]
    names = [column for column, _ in named]
    if twice := [column for column, count in Counter(names).items() if count > 1]:
        raise StepError(repeated_column(name, twice[0], names))
    if _are_row(names):
        raise StepError(Diagnostic("X100", f"{name} seems to have no header line", help=HEADER))
    return dict(named), tuple(notes)


def _are_row(names: list[str]) -> bool:
    """Tell whether names seem to be a row of quantities; those that rise or fall throughout are names: wavelengths."""
    numbers = [column for column in names if are_values([column])]
    return len(numbers) * 2 > len(names) and not are_places(numbers)


def _twins(names: tuple[str, ...], file: str) -> tuple[str, ...]:
    """Refuse names that look the same (X109), and name those that differ by case alone."""
    by_form: dict[str, str] = {}
    by_case: dict[str, str] = {}
    notes = []
    for column in names:
        form = " ".join(unicodedata.normalize("NFC", column).split())
        if form in by_form:
            message = f"{file}: two columns look the same, `{form}`, and differ in spaces or in Unicode form only"
            raise StepError(Diagnostic("X109", message, help="give each column a name of its own"))
        by_form[form] = column
        other = by_case.setdefault(form.casefold(), column)
        if other != column:
            notes.append(f"the columns `{other}` and `{column}` of {file} differ by case only")
    return tuple(notes)
