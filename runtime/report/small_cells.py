"""Tables of decisions as a report shows them: no cell of very few cases, and none that it could be told from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from titrant.runtime.contract.answers import CaseCount, Cells, DecisionCounts
from titrant.schema.values.units import few, is_small

_Table = Mapping[tuple[int, int], int]


@dataclass(frozen=True)
class ShownTables:
    """Decisions with small cells taken out, and the cases of each class, () without labels."""

    answers: DecisionCounts
    totals: tuple[CaseCount, ...] = ()


def number(count: CaseCount) -> str:
    """Write a count that is shown, or what is said instead of it."""
    return f"{count:,}" if isinstance(count, int) else count


def without_small_cells(answers: DecisionCounts, least: int) -> ShownTables:
    """Replace every count below `least` but zero, and what it could be worked out from, by "<5" or "≥5".

    In a row or column whose total is known a second cell goes with a small one (complementary suppression). Where a
    class has too few cases, so does a second class, whose total would give the first one's away.
    """
    totals = _totals(answers)
    hidden = _hidden_totals(totals, least)
    forced = {(place, place) for place in hidden}
    gained, lost = _changes(answers, least)
    return ShownTables(
        replace(
            answers,
            moved=_shown(answers.moved, least),
            original=_shown(answers.original, least, forced),
            candidate=_shown(answers.candidate, least, forced),
            gained=gained,
            lost=lost,
        ),
        tuple(_instead(count, least) if place in hidden else count for place, count in enumerate(totals)),
    )


def _counts(cells: Cells) -> dict[tuple[int, int], int]:
    return {(row, column): count for row, column, count in cells if isinstance(count, int)}


def _totals(answers: DecisionCounts) -> tuple[int, ...]:
    if not answers.original:
        return ()
    counts = _counts(answers.original)
    return tuple(
        sum(count for (row, _), count in counts.items() if row == place) for place in range(len(answers.classes))
    )


def _hidden_totals(totals: tuple[int, ...], least: int) -> set[int]:
    hidden = {place for place, count in enumerate(totals) if is_small(count, least)}
    others = [place for place, count in enumerate(totals) if count and place not in hidden]
    if len(hidden) == 1 and others:
        hidden.add(min(others, key=lambda place: totals[place]))
    return hidden


def _shown(cells: Cells, least: int, forced: set[tuple[int, int]] = frozenset()) -> Cells:  # type: ignore[assignment]
    counts = _counts(cells)
    hidden = {place for place, count in counts.items() if is_small(count, least)} | (forced & counts.keys())
    while (more := _second(counts, hidden)) is not None:
        hidden.add(more)
    return tuple(
        (row, column, _instead(count, least) if (row, column) in hidden else count)
        for (row, column), count in counts.items()
    )


def _second(counts: _Table, hidden: set[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the smallest cell beside one that is hidden alone in its row or column; None where there is none such."""
    for axis in (0, 1):
        for line in {place[axis] for place in hidden}:
            of_line = [place for place in counts if place[axis] == line]
            left = [place for place in of_line if place not in hidden]
            if len(of_line) - len(left) == 1 and left:
                return min(left, key=lambda place: (counts[place], place))
    return None


def _changes(answers: DecisionCounts, least: int) -> tuple[tuple[CaseCount, ...], tuple[CaseCount, ...]]:
    """Hide small changes of a class with the other direction: right before and after tell the difference of the two."""
    gained: list[CaseCount] = []
    lost: list[CaseCount] = []
    for won, gone in zip(answers.gained, answers.lost, strict=True):
        hide = any(isinstance(count, int) and is_small(count, least) for count in (won, gone))
        gained.append(_instead(won, least) if hide else won)
        lost.append(_instead(gone, least) if hide else gone)
    return tuple(gained), tuple(lost)


def _instead(count: CaseCount, least: int) -> CaseCount:
    if not isinstance(count, int):
        return count
    return few(least) if count < least else f"≥{least}"
