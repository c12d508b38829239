"""The decisions that a candidate changed, by class: a row a class and tables of classes, without small cells."""

from dataclasses import dataclass

from titrant.runtime.contract.answers import CaseCount, Cells, DecisionCounts
from titrant.runtime.report.small_cells import ShownTables, number, without_small_cells
from titrant.schema.values.units import is_small

# Past this a table of every class by every class says nothing to a reader; the changes by class still do.
MOST_CLASSES = 12
MOST_ROWS = 24


@dataclass(frozen=True)
class ClassRow:
    """One actual class: its cases, how many each model decided rightly, and what changed hands.

    Every number is written out; `changed` says whether any case changed hands, as far as that may be shown.
    """

    name: str
    cases: str
    before: str
    after: str
    gained: str
    lost: str
    changed: int


@dataclass(frozen=True)
class Matrix:
    """Cases by row class and column class, written out; `weights` are the cells' share of their row, for the tint."""

    title: str
    rows: str
    columns: str
    cells: tuple[tuple[str, ...], ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ClassChanges:
    """What a page shows of one candidate's changed decisions; `hidden` counts classes without a row of their own."""

    candidate: str
    classes: tuple[str, ...]
    labelled: bool
    rows: tuple[ClassRow, ...]
    hidden: int
    matrices: tuple[Matrix, ...]
    sentence: str


def class_changes(candidate: str, answers: DecisionCounts, least: int) -> ClassChanges:
    """Turn counted decisions into tables; with many classes only those that changed most have a row.

    No table shows a cell of fewer than `least` cases, nor does the sentence.
    """
    labelled = bool(answers.original)
    shown = without_small_cells(answers, least)
    rows = _class_rows(shown) if labelled else ()
    most = sorted(rows, key=lambda row: -row.changed)[:MOST_ROWS] if len(rows) > MOST_ROWS else list(rows)
    return ClassChanges(
        candidate, answers.classes, labelled, tuple(most), len(rows) - len(most), _matrices(shown.answers),
        _changes_sentence(answers, least),
    )  # fmt: skip


def _class_rows(shown: ShownTables) -> tuple[ClassRow, ...]:
    answers = shown.answers
    before, after = _diagonal(answers.original), _diagonal(answers.candidate)
    return tuple(
        ClassRow(
            name,
            number(shown.totals[index]),
            number(before.get(index, 0)),
            number(after.get(index, 0)),
            number(answers.gained[index]),
            number(answers.lost[index]),
            sum(count if isinstance(count, int) else 1 for count in (answers.gained[index], answers.lost[index])),
        )
        for index, name in enumerate(answers.classes)
    )


def _diagonal(cells: Cells) -> dict[int, CaseCount]:
    return {row: count for row, column, count in cells if row == column}


def _matrices(answers: DecisionCounts) -> tuple[Matrix, ...]:
    if len(answers.classes) > MOST_CLASSES:
        return ()
    tables = (
        ("before: the original", "actual", "decided", answers.original),
        ("after: the candidate", "actual", "decided", answers.candidate),
        ("what moved", "original decided", "candidate decided", () if answers.original else answers.moved),
    )
    size = len(answers.classes)
    return tuple(_matrix(title, rows, columns, cells, size) for title, rows, columns, cells in tables if cells)


def _matrix(title: str, rows: str, columns: str, cells: Cells, size: int) -> Matrix:
    counts = {(row, column): count for row, column, count in cells}
    table = [[counts.get((row, column), 0) for column in range(size)] for row in range(size)]
    written = tuple(tuple(number(count) for count in line) for line in table)
    return Matrix(title, rows, columns, written, tuple(_weights(line) for line in table))


def _weights(line: list[CaseCount]) -> tuple[float, ...]:
    """Return each cell's share of its row; none where a cell is not shown, which the others' shares would give away."""
    whole = [count for count in line if isinstance(count, int)]
    if len(whole) < len(line):
        return (0.0,) * len(line)
    return tuple(round(count / (sum(whole) or 1), 3) for count in whole)


def _changes_sentence(answers: DecisionCounts, least: int) -> str:
    changed = sum(count for before, after, count in answers.moved if before != after and isinstance(count, int))
    if not changed:
        return f"Both models decide every one of {answers.cases:,} evaluation cases alike."
    if is_small(changed, least):
        return f"The models decide fewer than {least} of {answers.cases:,} evaluation cases differently."
    text = f"The models decide {changed:,} of {answers.cases:,} evaluation cases differently"
    if not answers.original:
        return text + "; without labels nobody can say which of the two is right."
    gained, lost = (sum(count for count in side if isinstance(count, int)) for side in (answers.gained, answers.lost))
    neither = changed - gained - lost
    if any(is_small(count, least) for count in (gained, lost, neither)):
        return f"{text}; how many became right or wrong is not shown, as one of these is fewer than {least}."
    tail = f", {neither:,} changed from one wrong decision to another" if neither else ""
    return f"{text}: {gained:,} became right, {lost:,} became wrong{tail}."
