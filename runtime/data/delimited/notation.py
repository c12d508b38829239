"""Find out how a file writes its numbers: what stands for the decimal point, and what parts thousands."""

import re
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

# Text of a column (rows,): pyarrow.ChunkedArray, which has no types to check.
TextColumn = Any

# What `thousands` is where a recipe says that nothing parts them.
NO_MARK = "none"
# Spaces that writers part thousands with: plain, no-break, thin, narrow no-break.
_SPACES = " \u00a0\u2009\u202f"
_INFINITE = "(?i:inf|infinity)"


@dataclass(frozen=True)
class Notation:
    """How numbers are written: the decimal mark, and what parts thousands, "" where nothing does."""

    decimal: str = "."
    thousands: str = ""

    @property
    def pattern(self) -> str:
        """A regular expression for a whole cell that holds a number, without spaces around it."""
        decimal, thousands = re.escape(self.decimal), _class(self.thousands)
        forms = rf"[0-9]+({decimal}[0-9]*)?|{decimal}[0-9]+"
        if self.thousands:
            forms += rf"|[1-9][0-9]{{0,2}}({thousands}[0-9]{{3}})+({decimal}[0-9]*)?"
        return rf"^[+-]?(({forms})([eE][+-]?[0-9]+)?|{_INFINITE})$"

    def __str__(self) -> str:
        words = []
        if self.decimal == ",":
            words.append("decimal comma")
        if self.thousands:
            words.append(f"thousands parted by {_CALLED.get(self.thousands, f'`{self.thousands}`')}")
        return ", ".join(words)


PLAIN = Notation()
_CALLED = {" ": "spaces"}
_POINTS = (".", ",")
_FEW = 64
_MARKS = ("", ",", ".", " ", "'")
# What is a number in some notation: digits and marks.
_SOME = rf"^[+-]?([0-9.,][0-9.,'’{_SPACES}]*([eE][+-]?[0-9]+)?|{_INFINITE})$"
_WITH_POINT = r"^[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+$|^[+-]?[0-9]+$"


def _class(mark: str) -> str:
    return f"[{_SPACES}]" if mark == " " else "['’]" if mark == "'" else re.escape(mark)


def as_programs_write(cells: TextColumn, notation: Notation) -> TextColumn:
    """Return numbers (rows,) without marks of thousands and with a point before the decimals, as text."""
    import pyarrow.compute as pc

    if notation.thousands:
        cells = pc.replace_substring_regex(cells, _class(notation.thousands), "")
    return pc.replace_substring(cells, notation.decimal, ".") if notation.decimal != "." else cells


def find_notation(
    cells: Mapping[str, TextColumn], name: str, separator: str, decimal: str | None, thousands: str | None
) -> Notation:
    """Return the one notation in which every column that holds numbers, in whichever notation, does.

    `cells` are the values of each column, without spaces around them and without missing ones. What is stated is taken
    as it is. Raises StepError X234 where two notations give other numbers, or no single one fits.
    """
    possible = _possible(decimal, thousands)
    fits = {column: _fitting(values, possible) for column, values in cells.items()}
    telling = {column: fitting for column, fitting in fits.items() if fitting and fitting != possible}
    common = possible.intersection(*telling.values())
    if not common:
        raise StepError(_two_ways(telling, name))
    best = min(common, key=lambda notation: (notation.decimal != ".", _MARKS.index(notation.thousands)))
    doubtful = [
        column
        for column, fitting in telling.items()
        if len({notation.decimal for notation in fitting & common}) > 1 and _mark(cells[column])
    ]
    # What is separated at commas writes its decimals with a point, unless its own numbers contradict that.
    if doubtful and not (separator == "," and best == PLAIN):
        raise StepError(_either(doubtful, _mark(cells[doubtful[0]]), name))
    return best


def _possible(decimal: str | None, thousands: str | None) -> frozenset[Notation]:
    marks = _MARKS if thousands is None else ("",) if thousands == NO_MARK else (thousands,)
    points = _POINTS if decimal is None else (decimal,)
    return frozenset(Notation(point, mark) for point in points for mark in marks if mark != point)


def _fitting(cells: TextColumn, possible: frozenset[Notation]) -> frozenset[Notation]:
    """Return the notations in which every value is a number; the usual one is asked first, since it is most files'."""
    import pyarrow.compute as pc

    if not len(cells):
        return frozenset()
    if not are_numbers(cells, PLAIN):
        some = every(cells, _SOME)
        return frozenset(notation for notation in possible if every(cells, notation.pattern)) if some else frozenset()
    if not pc.any(pc.match_substring(cells, ".")).as_py():
        return possible
    grouped = every(cells, _WITH_POINT)
    return frozenset(
        notation for notation in possible if notation.decimal == "." or (grouped and notation.thousands == ".")
    )


def are_numbers(cells: TextColumn, notation: Notation) -> bool:
    """Tell whether every value is a number; in the usual notation a cast tells it, which is quicker by far."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if notation != PLAIN:
        return every(cells, notation.pattern)
    if not every(cells[:_FEW], notation.pattern):
        return False
    try:
        return not pc.any(pc.is_nan(pc.cast(cells, pa.float64()))).as_py()
    except pa.ArrowInvalid:
        return False


def every(cells: TextColumn, pattern: str) -> bool:
    """Tell whether a regular expression matches every value; the first few are asked first, which settles most."""
    import pyarrow.compute as pc

    parts = (cells[:_FEW], cells)
    return all(bool(pc.all(pc.match_substring_regex(part, pattern), min_count=0).as_py()) for part in parts)


def are_some_numbers(cells: TextColumn) -> TextColumn:
    """Tell of each value (rows,) whether it would be a number in one of the notations."""
    import pyarrow.compute as pc

    return pc.match_substring_regex(cells, _SOME)


def _mark(cells: TextColumn) -> str:
    """Return the mark, point or comma, in a column's numbers; "" without any."""
    import pyarrow.compute as pc

    return next((mark for mark in _POINTS if pc.any(pc.match_substring(cells, mark)).as_py()), "")


def _two_ways(telling: Mapping[str, frozenset[Notation]], name: str) -> Diagnostic:
    pairs = combinations(telling.items(), 2)
    # Without such a pair it takes three columns to contradict each other.
    first, second = next(((a, b) for (a, left), (b, right) in pairs if not left & right), tuple(telling)[:2])
    message = f"{name} writes numbers in two ways: those of `{first}` and of `{second}` do not go together"
    advice = 'write `decimal: "."` or `decimal: ","` beside the `path`: a column that is written otherwise is text then'
    return Diagnostic("X234", message, help=advice)


def _either(doubtful: list[str], mark: str, name: str) -> Diagnostic:
    more = f" and {len(doubtful) - 1} columns more" if len(doubtful) > 1 else ""
    message = f"{name}: `{mark}` in the numbers of `{doubtful[0]}`{more} could part thousands or begin the decimals"
    advice = f'write `csv: {{path: …, decimal: "{mark}"}}`, or `csv: {{path: …, thousands: "{mark}"}}`'
    return Diagnostic("X234", message, help=advice)
