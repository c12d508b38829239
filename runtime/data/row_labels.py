"""Name rows in files that people get, and read back the labels that they wrote beside the names.

A name is the row's own, where a column has one, or a keyed digest of what stands in the row (see
docs/decisions/privacy.md).
"""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from titrant.runtime.data.columns import value_text
from titrant.runtime.data.content import row_names
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.frozen import dataclass

# The columns of a file of rows to be labeled; no column of people's data is called so.
ROW, LABEL = "titrant_row", "titrant_label"
_SEPARATORS = (",", ";", "\t")
_SHOWN = 5


def names_of(hashes: np.ndarray, key: bytes, own: np.ndarray | None = None) -> list[str]:
    """Name rows (rows,) outside the home, each differently.

    `hashes` are of their content, (rows,) uint64, `key` is the home's (`titrant.runtime.store.home.row_key`), `own` are
    the rows' own names, where they have any. A row with the content of an earlier one is numbered.
    """
    if own is not None:
        return [str(name) for name in own.tolist()]
    seen: Counter[str] = Counter()
    names = []
    for name in row_names(hashes, key):
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names


@dataclass(frozen=True)
class LabeledLine:
    """One line of a file that has a label: its number in the file, the row's name, and the label as text."""

    line: int
    name: str
    label: str


def read_labels(path: str) -> list[LabeledLine]:
    """Read the lines that have a label, in a file as `write_rows` writes it and as spreadsheets save it.

    RecipeError X227 for what is no such file.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise _unreadable("it is no text in UTF-8") from None
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = next(lines, [])
        missing = [name for name in (ROW, LABEL) if header.count(name) != 1]
        if missing:
            raise _unreadable(f"its first line does not name the column {missing[0]} once")
        row, label = header.index(ROW), header.index(LABEL)
        return [
            LabeledLine(lines.line_num, cells[row].strip(), cells[label].strip())
            for cells in lines
            if len(cells) > max(row, label) and cells[label].strip()
        ]
    except csv.Error:
        raise _unreadable(f"line {lines.line_num} is no line of a table") from None


def matched(lines: Sequence[LabeledLine], names: Sequence[str], classes: Sequence[str]) -> dict[int, int]:
    """Return the class of each labeled row by its place among `names`.

    RecipeError X227 where a line is about another row, X228 where a row is labeled twice, X229 where a label is none of
    the classes; labels and names are told to whoever asks for values only.
    """
    place = {name: number for number, name in enumerate(names)}
    spelled = {name: number for number, name in enumerate(classes)}
    others = [line for line in lines if line.name not in place]
    if others:
        message = f"{_lines(others)}, of {len(lines):,} with a label, about rows that are not in data.unlabeled"
        help = "give back what `titrant label` wrote for these rows, in the same home; or name rows by `data.id`"
        raise RecipeError(Diagnostic("X227", message, help=help, key="data.labels", said=others[0].name))
    counts = Counter(line.name for line in lines)
    twice = [line for line in lines if counts[line.name] > 1]
    if twice:
        message = f"{_lines(twice)} about {len({line.name for line in twice}):,} rows that are labeled more than once"
        help = "keep one line a row; where two people disagree, decide first"
        raise RecipeError(Diagnostic("X228", message, help=help, key="data.labels", said=twice[0].name))
    labels = {line.line: _spelled(line.label, spelled) for line in lines}
    wrong = [line for line in lines if labels[line.line] is None]
    if wrong:
        listed = ", ".join(classes[:10]) + (" …" if len(classes) > 10 else "")
        message = f"{_lines(wrong)} with a label that is no class of the model"
        raise RecipeError(
            Diagnostic("X229", message, help=f"the classes are {listed}", key="data.labels", said=wrong[0].label)
        )
    return {place[line.name]: number for line in lines if (number := labels[line.line]) is not None}


def _spelled(text: str, classes: Mapping[str, int]) -> int | None:
    """Return a class by its name, also where a spreadsheet wrote 1 as 1.0 or true as TRUE."""
    if text in classes:
        return classes[text]
    if text.lower() in classes:
        return classes[text.lower()]
    try:
        return classes.get(value_text(float(text)))
    except ValueError:
        return None


def _lines(lines: Sequence[LabeledLine]) -> str:
    numbers = ", ".join(str(line.line) for line in lines[:_SHOWN])
    more = f" and {len(lines) - _SHOWN:,} more" if len(lines) > _SHOWN else ""
    return f"the labels have {'line' if len(lines) == 1 else 'lines'} {numbers}{more}"


def _unreadable(why: str) -> RecipeError:
    help = f"give back the file that `titrant label` wrote, with {LABEL} filled in"
    return RecipeError(Diagnostic("X227", f"the labels cannot be read: {why}", help=help, key="data.labels"))


def write_rows(columns: Mapping[str, Sequence[str]], names: Sequence[str], labels: Sequence[str]) -> str:
    """Write rows to be labeled: their names, what is known of them by column, and their labels, "" for none yet."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([ROW, *columns, LABEL])
    for number, name in enumerate(names):
        writer.writerow([name, *(column[number] for column in columns.values()), labels[number]])
    return text.getvalue()
