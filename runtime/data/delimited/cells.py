"""Turn a column of text into numbers, truth values or text, and say which texts were read as missing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from titrant.runtime.data.columns import value_text
from titrant.runtime.data.delimited.notation import (
    Notation,
    TextColumn,
    are_numbers,
    are_some_numbers,
    as_programs_write,
    every,
)
from titrant.runtime.data.parameters import PlainValue
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import is_whole

# Texts that stand for a missing number. In a column of text they are texts: a class may be called NA.
MARKS = (
    "?", "-", "--", ".", "NA", "N/A", "na", "n/a", "#N/A", "#NA", "#N/A N/A", "<NA>", "NaN", "nan", "-nan", "-NaN",
    "NULL", "null", "None", "none", "nil", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "#VALUE!", "#DIV/0!", "#NUM!",
    "#REF!", "#NAME?", "#NULL!",
)  # fmt: skip
_TRUE, _FALSE = ("True", "TRUE", "true"), ("False", "FALSE", "false")
_CODE, _WHOLE = r"^[+-]?0[0-9]+$", r"^[+-]?[0-9]+$"
_SPACES = " \t\u00a0\u202f"


@dataclass(frozen=True)
class Read:
    """A column (rows,) as read: numbers, truth values or text, the marks read as missing, and a note, "" without."""

    values: np.ndarray
    marks: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Trimmed:
    """A column of text, the same without spaces around it, which rows have no value, and the values of the rest."""

    texts: TextColumn
    cells: TextColumn
    gaps: TextColumn
    filled: TextColumn


def trim(texts: TextColumn, missing: Sequence[PlainValue] | None) -> Trimmed:
    """Leave spaces out, and mark what is empty or one of the texts that stand for a missing value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = pc.utf8_trim(texts, _SPACES)
    marks = MARKS if missing is None else tuple(spelling for mark in missing for spelling in _spellings(mark))
    gaps = pc.is_in(cells, value_set=pa.array(["", *marks], pa.string()))
    filled = cells.filter(pc.invert(gaps)) if pc.any(gaps, min_count=0).as_py() else cells
    return Trimmed(texts, cells, gaps, filled)


def _spellings(mark: PlainValue) -> tuple[str, ...]:
    """Write a stated mark; a whole number also as writers of fractions do."""
    text = value_text(mark)
    return (text,) if isinstance(mark, (str, bool)) or not is_whole(text) else (text, f"{text}.0")


def read_column(name: str, column: Trimmed, notation: Notation, missing: Sequence[PlainValue] | None) -> Read:
    """Read a column as what all its values are; nothing that is written loses a digit or a sign."""
    import pyarrow.compute as pc

    filled, stated = column.filled, missing is not None
    if len(filled) and are_numbers(filled, notation):
        return _numbers(name, column, notation)
    truths = pc.is_in(filled, value_set=_array((*_TRUE, *_FALSE)))
    if len(filled) and pc.all(truths).as_py() and (stated or not _marks(column)):
        return _truths(column)
    if not len(filled) and (stated or not _marks(column)):
        return Read(np.full(len(column.cells), np.nan), _marks(column))
    if stated:
        return Read(_text(pc.if_else(column.gaps, "", column.texts)), _marks(column), _mixed(name, filled, ()))
    return Read(
        _text(pc.if_else(pc.equal(column.cells, ""), "", column.texts)), (), _mixed(name, filled, _marks(column))
    )


def _numbers(name: str, column: Trimmed, notation: Notation) -> Read:
    """Read whole numbers as int64 or uint64, others and those with gaps as float64.

    Codes with zeros in front stay text, and so do whole numbers that no float holds where a float is due.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    digits = as_programs_write(column.filled, notation)
    marks = _marks(column)
    whole = digits.filter(pc.invert(pc.match_substring(digits, ".")))
    if pc.any(pc.match_substring_regex(whole, _CODE)).as_py():
        return _codes(column, marks, f"{name} has whole numbers that begin with 0, which are codes and read as text")
    if len(whole) == len(column.cells) and every(whole, _WHOLE):
        for kind in (pa.int64(), pa.uint64()):
            try:
                return Read(pc.cast(digits, kind).to_numpy())
            except pa.ArrowInvalid:
                continue
    long = whole.filter(pc.match_substring_regex(whole, r"^[+-]?[0-9]{16,300}$")).to_pylist()
    if any(int(text) != float(text) for text in long):
        return _codes(column, marks, f"{name} has whole numbers beyond 2^53, which no float holds, and is read as text")
    values = np.full(len(column.cells), np.nan)
    values[~column.gaps.to_numpy()] = pc.cast(digits, pa.float64()).to_numpy()
    return Read(values, marks)


def _codes(column: Trimmed, marks: tuple[str, ...], note: str) -> Read:
    import pyarrow.compute as pc

    return Read(_text(pc.if_else(column.gaps, "", column.cells)), marks, note)


def _truths(column: Trimmed) -> Read:
    import pyarrow.compute as pc

    true = pc.is_in(column.cells, value_set=_array(_TRUE)).to_numpy()
    gaps = column.gaps.to_numpy()
    return Read(np.where(gaps, np.nan, true) if gaps.any() else true, _marks(column))


def _mixed(name: str, filled: TextColumn, marks: tuple[str, ...]) -> str:
    """Say of a text column which marks it holds as texts, or that most of its values are numbers."""
    import pyarrow.compute as pc

    if marks and len(filled):
        listed = ", ".join(f"`{mark}`" for mark in marks)
        kept = "it is a text" if len(marks) == 1 else "they are texts"
        return f"{name} has {listed}, and {kept} there as others: `missing: [{_flow(marks)}]` reads them as missing"
    numbers = int(pc.sum(are_some_numbers(filled)).as_py() or 0)
    others = len(filled) - numbers
    if not numbers or others > numbers:
        return ""
    why = f"{others:,} of its {len(filled):,} values are no numbers"
    return f"{name} is read as text: {why if others else 'its values are written otherwise than the other numbers'}"


def _flow(marks: Sequence[str]) -> str:
    return ", ".join(f'"{mark}"' for mark in marks)


def _marks(column: Trimmed) -> tuple[str, ...]:
    """Return the texts, but the empty one, that stand for a missing value in a column."""
    import pyarrow.compute as pc

    texts = pc.unique(column.cells.filter(column.gaps)).to_pylist()
    return tuple(sorted(text for text in texts if text))


def _array(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(texts, pa.string())


def _text(cells: TextColumn) -> np.ndarray:
    return np.array(cells.to_pylist(), dtype=str)
