"""Several numbers over time, one panel a unit below the other, with the stretches of time that have names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import escape

from titrant.runtime.charts.svg import (
    Frame,
    Scale,
    across,
    line,
    picture,
    plain_number,
    polyline,
    spread,
    text,
    upwards,
)

_WIDTH, _PANEL_HEIGHT, _PANEL_TOP, _AXIS_HEIGHT = 640, 120, 24, 40
_LEFT, _NAME_PIXELS, _LABEL_APART = 56, 6.4, 12.0
# Narrower stretches would have their numbers over one another.
_LEAST_NUMBER_PIXELS = 16.0

TimePoints = Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Panel:
    """Lines of one unit: name → points (seconds, number), None where there is none; `highest` is the most there is."""

    title: str
    series: Mapping[str, TimePoints]
    highest: float | None = None


@dataclass(frozen=True)
class Stretch:
    """A named stretch of time in seconds; several are numbered from 1 in their order."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True)
class OverTime:
    """Panels over the same seconds; there is at least one."""

    title: str
    panels: tuple[Panel, ...]
    stretches: tuple[Stretch, ...] = ()


def over_time(chart: OverTime, name: str) -> str:
    """Draw the panels; numbers begin at 0, and reach to the most there is where the numbers come near it."""
    panels = chart.panels
    names = [label for panel in panels for label in panel.series]
    right = 18 + _NAME_PIXELS * max((len(label) for label in names), default=0)
    whole = Frame(_WIDTH, _PANEL_HEIGHT * len(panels) + _AXIS_HEIGHT, left=_LEFT, right=right, top=0)
    seconds = [x for panel in panels for points in panel.series.values() for x, _ in points]
    last = max([*seconds, *(stretch.end for stretch in chart.stretches)], default=1.0)
    along = Scale(0.0, last or 1.0, whole.left, whole.wall)
    parts = list(_stretches(chart.stretches, whole, along))
    for place, panel in enumerate(panels):
        frame = Frame(
            _WIDTH, _PANEL_HEIGHT * (place + 1) + _AXIS_HEIGHT, left=_LEFT, right=right,
            top=_PANEL_HEIGHT * place + _PANEL_TOP,
        )  # fmt: skip
        parts += _panel(panel, frame, along)
    parts += across(whole, along, plain_number, "seconds")
    words = "; ".join(f"{panel.title}: {', '.join(panel.series)}" for panel in panels)
    return picture(name, whole, chart.title, words, parts)


def _stretches(stretches: Sequence[Stretch], whole: Frame, along: Scale) -> Iterator[str]:
    """Shade every second stretch; its number stands above where there is room, its name where one points at it."""
    for number, stretch in enumerate(stretches, 1):
        begin, end = along.at(stretch.begin), along.at(stretch.end)
        shade = "band" if number % 2 else "band even"
        tip = f"<title>{escape(f'{number}. {stretch.name}')}</title>"
        box = f'x="{begin:.1f}" y="{_PANEL_TOP}" width="{end - begin:.1f}" height="{whole.floor - _PANEL_TOP:.1f}"'
        yield f'<rect class="{shade}" {box}>{tip}</rect>'
        if end - begin >= _LEAST_NUMBER_PIXELS:
            yield text((begin + end) / 2, whole.floor - 4, str(number))


def _panel(panel: Panel, frame: Frame, along: Scale) -> Iterator[str]:
    numbers = [y for points in panel.series.values() for _, y in points if y is not None]
    top = max(numbers, default=0.0) * 1.08 or 1.0
    if panel.highest is not None and panel.highest <= 2 * top:
        top = max(panel.highest, max(numbers, default=0.0))
    up = Scale(0.0, top, frame.floor - 2, frame.top + 4)
    yield text(4, frame.top - 8, panel.title, "title", "start")
    yield from upwards(frame, up, plain_number, 4)
    yield line("axis", frame.left, frame.floor, frame.wall, frame.floor)
    ends: list[tuple[str, float]] = []
    for index, (label, points) in enumerate(panel.series.items()):
        yield _series(label, index, points, (along, up))
        last = next((y for _, y in reversed(points) if y is not None), 0.0)
        ends.append((label, up.at(last)))
    for (label, _), y in zip(ends, spread([y for _, y in ends], _LABEL_APART), strict=True):
        yield text(frame.wall + 6, y + 3.5, label, "series-name", "start")


def _series(label: str, index: int, points: TimePoints, axes: tuple[Scale, Scale]) -> str:
    """Draw one line, with a gap where there is no number."""
    along, up = axes
    shown = ""
    for is_there, run in groupby(points, key=lambda point: point[1] is not None):
        if is_there:
            places = [(along.at(x), up.at(y)) for x, y in run if y is not None]
            shown += polyline(f"path way{index % 4}", places)
            if len(places) == 1:
                shown += f'<circle class="dot" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="2.6"/>'
    numbers = [y for _, y in points if y is not None]
    said = f"{label}: {min(numbers):.4g} to {max(numbers):.4g}" if numbers else label
    return f'<g class="series"><title>{escape(said)}</title>{shown}</g>'
