"""Per-class changes: which classes gained and lost right decisions, and the confusion tables before and after."""

from dataclasses import dataclass

from titrant.runtime.report.answers import Answers, Cells

# Past this a table of every class by every class says nothing to a reader; the changes by class still do.
MOST_CLASSES = 12
MOST_ROWS = 24


@dataclass(frozen=True)
class ClassRow:
    """One actual class: its cases, how many each model decided rightly, and what changed hands."""

    name: str
    cases: int
    before: int
    after: int
    gained: int
    lost: int


@dataclass(frozen=True)
class Matrix:
    """Cases by row class and column class; `weights` are the cells' share of their row, for the tint."""

    title: str
    rows: str
    columns: str
    cells: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ClassChanges:
    """What a page shows of one candidate's changed decisions; `hidden` counts classes without a row of their own."""

    candidate: str
    classes: tuple[str, ...]
    cases: int
    moved: int  # decisions that differ between the models
    labelled: bool
    rows: tuple[ClassRow, ...]
    hidden: int
    matrices: tuple[Matrix, ...]
    sentence: str


def class_changes(candidate: str, answers: Answers) -> ClassChanges:
    """Turn counted decisions into tables; with many classes only those that changed most have a row."""
    labelled = bool(answers.original)
    moved = sum(count for before, after, count in answers.moved if before != after)
    rows = _rows(answers) if labelled else ()
    shown = sorted(rows, key=lambda row: -(row.gained + row.lost))[:MOST_ROWS] if len(rows) > MOST_ROWS else list(rows)
    return ClassChanges(
        candidate, answers.classes, answers.cases, moved, labelled, tuple(shown), len(rows) - len(shown),
        _matrices(answers), _sentence(answers, moved, labelled),
    )  # fmt: skip


def _rows(answers: Answers) -> tuple[ClassRow, ...]:
    before, after = _diagonal(answers.original), _diagonal(answers.candidate)
    return tuple(
        ClassRow(
            name,
            sum(count for row, _, count in answers.original if row == index),
            before.get(index, 0),
            after.get(index, 0),
            answers.gained[index],
            answers.lost[index],
        )
        for index, name in enumerate(answers.classes)
    )


def _diagonal(cells: Cells) -> dict[int, int]:
    return {row: count for row, column, count in cells if row == column}


def _matrices(answers: Answers) -> tuple[Matrix, ...]:
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
    found = {(row, column): count for row, column, count in cells}
    table = tuple(tuple(found.get((row, column), 0) for column in range(size)) for row in range(size))
    weights = tuple(tuple(round(count / (sum(line) or 1), 3) for count in line) for line in table)
    return Matrix(title, rows, columns, table, weights)


def _sentence(answers: Answers, moved: int, labelled: bool) -> str:
    if not moved:
        return f"Both models decide every one of {answers.cases:,} evaluation cases alike."
    text = f"The models decide {moved:,} of {answers.cases:,} evaluation cases differently"
    if not labelled:
        return text + "; without labels nobody can say which of the two is right."
    gained, lost = sum(answers.gained), sum(answers.lost)
    neither = moved - gained - lost
    tail = f", {neither:,} changed from one wrong decision to another" if neither else ""
    return f"{text}: {gained:,} became right, {lost:,} became wrong{tail}."
