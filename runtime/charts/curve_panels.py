"""Learning curves: a panel for each measure, with a line for each series, side by side."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.charts.svg import (
    Frame,
    Scale,
    across,
    line,
    picture,
    plain_number,
    polyline,
    scale,
    shortened,
    spread,
    text,
    upwards,
)

_WIDTH, _HEIGHT, _HEAD, _GAP, _NOTE = 704.0, 236.0, 26.0, 20.0, 14.0
_LETTER, _MOST_NAME, _LABEL_APART = 6.4, 18, 12.0
# A line of more points is drawn by the lowest and highest of every few.
_MOST_POINTS = 600
_WAYS = 4
_ISOLATED = 12


@dataclass(frozen=True)
class CurvePanel:
    """One measure: numbers of each series, counted from 1 along `across`; NaN and infinity are gaps.

    With `log` the upper axis is logarithmic, and numbers that are not above 0 are gaps too. `mark` is a place along,
    drawn as a dashed line and called `mark_words`.
    """

    title: str
    series: Mapping[str, Sequence[float]]
    across: str = "epoch"
    log: bool = False
    mark: float | None = None
    mark_words: str = ""


Points = list[tuple[float, float]]


def curve_panels(title: str, panels: Sequence[CurvePanel], name: str) -> str:
    """Draw panels two beside each other, one alone as wide as both."""
    columns = min(2, len(panels))
    width = (_WIDTH - _GAP * (columns - 1)) / columns
    whole = Frame(_WIDTH, _HEAD + (_HEIGHT + _GAP) * -(-len(panels) // columns))
    parts = [text(4, 14, title, "title", "start")]
    for place, panel in enumerate(panels):
        x, y = (width + _GAP) * (place % columns), _HEAD + (_HEIGHT + _GAP) * (place // columns)
        parts.append(f'<g transform="translate({x:.1f} {y:.1f})">{"".join(_panel(panel, width))}</g>')
    words = "; ".join(f"{panel.title}: {', '.join(panel.series)}" for panel in panels)
    return picture(name, whole, title, words, parts)


def _panel(panel: CurvePanel, width: float) -> Iterator[str]:
    stretches = {label: list(_stretches(values, panel.log)) for label, values in panel.series.items()}
    drawn = [point for each in stretches.values() for points in each for point in points]
    several = len(panel.series) > 1
    longest = max((len(shortened(label, _MOST_NAME)) for label in panel.series), default=0) if several else 0
    frame = Frame(width, _HEIGHT, left=56, right=14 + _LETTER * longest, top=26, bottom=54)
    yield text(4, 13, panel.title + (" (logarithmic)" if panel.log else ""), "label", "start")
    yield text(4, _HEIGHT - 4, _note(panel), "tick", "start")
    if not drawn:
        yield text((frame.left + frame.wall) / 2, _HEIGHT / 2, "nothing that can be drawn", "label")
        return
    last = max(len(values) for values in panel.series.values())
    along = scale([1.0, float(last)], frame.left + 6, frame.wall - 6, log=False, margin=0.02)
    up = scale([y for _, y in drawn], frame.floor - 4, frame.top + 2, log=panel.log)
    yield from upwards(frame, up, _number, 5)
    title = f"{panel.across} ({panel.mark_words})" if panel.mark_words else panel.across
    yield from _across(frame, along, title)
    if panel.mark is not None:
        yield line("mark-line", along.at(panel.mark), frame.top, along.at(panel.mark), frame.floor)
    ends = []
    for index, (label, each) in enumerate(stretches.items()):
        yield _line(label, panel.series[label], each, index, (along, up))
        if each:
            ends.append((shortened(label, _MOST_NAME), up.at(each[-1][-1][1])))
    if several:
        for (label, _), y in zip(ends, spread([y for _, y in ends], _LABEL_APART), strict=True):
            yield text(frame.wall + 6, y + 3.5, label, "series-name", "start")


def _across(frame: Frame, along: Scale, title: str) -> list[str]:
    """Draw the lower axis above the note; whole numbers alone."""
    ticks = [tick for tick in along.ticks() if tick == int(tick) and tick >= 1]
    return across(
        Frame(frame.width, frame.height - 14, frame.left, frame.right, frame.top), along, plain_number, title, ticks
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1e-3 or abs(value) >= 1e6 else plain_number(value)


def _stretches(values: Sequence[float], log: bool) -> Iterator[Points]:
    """Yield the parts of a line between its gaps."""
    points: Points = []
    for place, value in enumerate(values, 1):
        if math.isfinite(value) and (value > 0 or not log):
            points.append((float(place), float(value)))
        elif points:
            yield points
            points = []
    if points:
        yield points


def _line(label: str, values: Sequence[float], stretches: list[Points], index: int, scales: tuple[Scale, Scale]) -> str:
    along, up = scales
    shown = ""
    for points in stretches:
        places = [(along.at(x), up.at(y)) for x, y in _thinned(points)]
        if len(places) > 1:
            shown += polyline(f"path way{index % _WAYS}", places)
        if len(places) == 1 or len(values) <= _ISOLATED:
            shown += "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>' for x, y in places)
    tip = f"{label}: {len(values)} numbers"
    if stretches:
        tip += f", from {stretches[0][0][1]:.4g} to {stretches[-1][-1][1]:.4g}"
    return f'<g class="series"><title>{escape(tip)}</title>{shown}</g>'


def _thinned(points: Points) -> Points:
    """Return the lowest and the highest point of every few, in order, where there are more than can be seen."""
    if len(points) <= _MOST_POINTS:
        return points
    size = -(-2 * len(points) // _MOST_POINTS)
    kept: list[int] = [0]
    for start in range(0, len(points), size):
        few = range(start, min(start + size, len(points)))
        kept += sorted({min(few, key=lambda place: points[place][1]), max(few, key=lambda place: points[place][1])})
    return [points[place] for place in dict.fromkeys([*kept, len(points) - 1])]


def _note(panel: CurvePanel) -> str:
    """Say how many numbers are gaps, and why."""
    numbers = [value for values in panel.series.values() for value in values]
    broken = sum(not math.isfinite(value) for value in numbers)
    low = sum(math.isfinite(value) and value <= 0 for value in numbers) if panel.log else 0
    said = [f"{broken:,} NaN or infinite"] * bool(broken) + [f"{low:,} not above 0"] * bool(low)
    return f"left out: {', '.join(said)}" if said else ""
