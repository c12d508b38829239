"""Both models' metrics by subgroup as a report shows them: a table, without what it would tell of very few cases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from titrant.runtime.contract.answers import CaseCount
from titrant.runtime.contract.metrics import BY_CLASS, METRICS, SliceMetrics
from titrant.runtime.report.record_view import NONE, fraction
from titrant.runtime.report.small_cells import number
from titrant.schema.values.units import few, is_small


@dataclass(frozen=True)
class SliceRow:
    """One slice, written out: its name, its cases, and for each metric "before → after"."""

    name: str
    cases: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class SliceTable:
    """The metrics of the columns, and a row for all rows and each subgroup's value."""

    metrics: tuple[str, ...]
    rows: tuple[SliceRow, ...]


def slice_table(metrics: Sequence[SliceMetrics]) -> SliceTable | None:
    """Lay out metrics that were freed of small slices; None where no metric is defined, as without labels."""
    given = metrics[0].original if metrics else {}
    others = [name for name in given if name not in METRICS]  # of tasks without classes, in their own order
    names = tuple(name for name in (*METRICS, *others) if name in given and _defined(metrics, name))
    if not names:
        return None
    rows = tuple(
        SliceRow(
            f"{part.group}: {part.value}" if part.group else "all",
            number(part.cases),
            tuple(_before_after(part.original[name], part.candidate[name]) for name in names),
        )
        for part in metrics
    )
    return SliceTable(tuple(name.replace("_", " ") for name in names), rows)


def _before_after(before: float | None, after: float | None) -> str:
    return NONE if before is None and after is None else f"{fraction(before)} → {fraction(after)}"


def _defined(metrics: Sequence[SliceMetrics], name: str) -> bool:
    return any(part.original[name] is not None for part in metrics)


def without_small_slices(metrics: Sequence[SliceMetrics], least: int) -> tuple[SliceMetrics, ...]:
    """Return metrics as they may leave the home: nothing of a slice of fewer than `least` cases or units.

    A second value of its subgroup goes with a small one, which the rest would give away. Where a class has so few cases
    in a slice, its metrics by class go.
    """
    hidden = {place for place, part in enumerate(metrics) if _is_small(part, least)}
    for group in {metrics[place].group for place in hidden}:
        shown = [place for place, part in enumerate(metrics) if part.group == group and place not in hidden]
        if sum(metrics[place].group == group for place in hidden) == 1 and group and shown:
            hidden.add(min(shown, key=lambda place: _number(metrics[place].cases)))
    return tuple(_hidden(part, least) if place in hidden else _shown(part, least) for place, part in enumerate(metrics))


def _number(count: CaseCount) -> int:
    return count if isinstance(count, int) else 0


def _is_small(part: SliceMetrics, least: int) -> bool:
    return any(not isinstance(count, int) or is_small(count, least) for count in (part.cases, part.units))


def _hidden(part: SliceMetrics, least: int) -> SliceMetrics:
    nothing = dict.fromkeys(part.original)
    instead = few(least) if not isinstance(part.cases, int) or part.cases < least else f"≥{least}"
    return replace(part, cases=instead, units=instead, smallest=few(least), original=nothing, candidate=nothing)


def _shown(part: SliceMetrics, least: int) -> SliceMetrics:
    if isinstance(part.smallest, int) and not is_small(part.smallest, least):
        return part
    original, candidate = (
        {name: None if name in BY_CLASS else figure for name, figure in side.items()}
        for side in (part.original, part.candidate)
    )
    return replace(part, smallest=few(least), original=original, candidate=candidate)
