"""Candidates as numbered points, quality upwards over latency, with the threshold and the chosen one ringed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.charts.svg import (
    Frame,
    Scale,
    Write,
    across,
    line,
    picture,
    scale,
    text,
    upwards,
    write_seconds,
)

REFERENCE, PLAIN, OTHER = "reference", "plain", "other"


@dataclass(frozen=True)
class Mark:
    """One model: its place on both axes, and what a pointer over it says.

    `kind` is its shape: reference (a square), plain (a diamond) or other (a circle). `low` is the lower end of what its
    quality may be, `expected` the place that was predicted for it on the lower axis.
    """

    name: str
    x: float
    y: float
    kind: str = OTHER
    chosen: bool = False
    words: str = ""
    low: float | None = None
    expected: float | None = None


@dataclass(frozen=True)
class Scatter:
    """A chart: `asked` is the threshold on the upper axis, None without one; `less` says that less is better there."""

    title: str
    marks: tuple[Mark, ...]
    across: str
    up: str
    write_y: Write
    write_x: Write | None = None  # None: the lower axis is of seconds
    asked: float | None = None
    less: bool = False


_RADIUS = 9.0
# How far below what is asked the axis still goes, in units of what lies above it: further down are arrows.
_DEPTH = 2.0
# Where a point's number may stand when another is in its place, tried in order; in radii.
_ASIDE = ((0, 0), (2.3, 0), (-2.3, 0), (0, -2.3), (0, 2.3), (1.7, -1.7), (-1.7, -1.7), (1.7, 1.7), (-1.7, 1.7),
          (4.6, 0), (-4.6, 0), (0, -4.6), (0, 4.6), (3.4, -3.4), (-3.4, -3.4), (3.4, 3.4), (-3.4, 3.4))  # fmt: skip


def scatter_svg(chart: Scatter, name: str, size: tuple[float, float] = (640, 340)) -> str:
    """Draw a chart; each point carries its place in the list, from 1, and its name and words as a tooltip."""
    frame = Frame(*size, left=62, top=26)
    along = scale([point.x for point in chart.marks], frame.left + _RADIUS, frame.wall - _RADIUS)
    up = _upward(chart, frame)
    parts = [text(4, 13, chart.up, "label", "start"), *upwards(frame, up, chart.write_y)]
    write = chart.write_x or write_seconds([point.x for point in chart.marks])
    parts += across(frame, along, write, chart.across)
    if chart.asked is not None and up.low <= chart.asked <= up.high:
        y = up.at(chart.asked)
        parts.append(f'<rect class="missed" x="{frame.left:.1f}" y="{y:.1f}" width="{frame.wall - frame.left:.1f}" '
                     f'height="{frame.floor - y:.1f}"/>')  # fmt: skip
        parts += [line("asked", frame.left, y, frame.wall, y)]
        parts.append(text(frame.wall, y + 13, f"asked: {chart.write_y(chart.asked)}", "asked-word", "end"))
    places = _places(chart.marks, along, up, frame)
    for point, place in zip(chart.marks, places, strict=True):
        parts += _beneath(point, place, (along, up))
    for number, (point, place) in enumerate(zip(chart.marks, places, strict=True), 1):
        parts += _drawn(number, point, place, (along, up))
    words = "; ".join(f"{number} {point.name}: {point.words}" for number, point in enumerate(chart.marks, 1))
    return picture(name, frame, chart.title, words, parts)


def _upward(chart: Scatter, frame: Frame) -> Scale:
    """Return the upper axis: better is upwards, and what is far below the threshold does not flatten the rest."""
    values = [point.y for point in chart.marks] + ([] if chart.asked is None else [chart.asked])
    best, worst = (min, max) if chart.less else (max, min)
    if chart.asked is not None:
        over = abs(best(values) - chart.asked)
        end = chart.asked + (1 if chart.less else -1) * _DEPTH * (over or abs(chart.asked) * 0.05)
        values = [best([value, end]) if worst([value, end]) == value else value for value in values]
    low, high = (frame.top + _RADIUS, frame.floor - 4) if chart.less else (frame.floor - 4, frame.top + _RADIUS)
    return scale(values, low, high, log=False, margin=0.1)


def _places(points: Sequence[Mark], along: Scale, up: Scale, frame: Frame) -> list[tuple[float, float]]:
    """Find a place for each point's number: its own, or beside it where another's is; the chosen one comes first."""
    placed: dict[int, tuple[float, float]] = {}
    for index in sorted(range(len(points)), key=lambda place: (not points[place].chosen, place)):
        x, y = along.at(points[index].x), up.at(points[index].y)
        free = [
            (x + dx * _RADIUS, y + dy * _RADIUS)
            for dx, dy in _ASIDE
            if _inside(x + dx * _RADIUS, y + dy * _RADIUS, frame)
        ]
        placed[index] = max(free or [(x, y)], key=lambda place: min(_gap(place, placed.values()), 2.1 * _RADIUS))
    return [placed[index] for index in range(len(points))]


def _inside(x: float, y: float, frame: Frame) -> bool:
    return frame.left <= x <= frame.wall and frame.top <= y + _RADIUS <= frame.floor + _RADIUS and y >= frame.top


def _gap(place: tuple[float, float], others: Iterable[tuple[float, float]]) -> float:
    gaps = [((place[0] - x) ** 2 + (place[1] - y) ** 2) ** 0.5 for x, y in others]
    return min(gaps, default=1e9)


def _beneath(point: Mark, place: tuple[float, float], axes: tuple[Scale, Scale]) -> Iterator[str]:
    """Draw what lies under the numbers: a whisker, a tick, and a dot where a number had to move aside."""
    along, up = axes
    x, y = along.at(point.x), up.at(point.y)
    if point.low is not None:
        yield line("whisker", x, y, x, up.at(point.low))
    if point.expected is not None:
        yield line("whisker", along.at(point.expected), y - 6, along.at(point.expected), y + 6)
    if place != (x, y):
        yield line("leader", x, y, *place) + f'<circle class="spot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'


def _drawn(number: int, point: Mark, place: tuple[float, float], axes: tuple[Scale, Scale]) -> Iterator[str]:
    up = axes[1]
    outside = not min(up.low, up.high) <= point.y <= max(up.low, up.high)
    tip = f"{number}. {point.name}: {point.words}" if point.words else f"{number}. {point.name}"
    yield f'<g class="point {point.kind}{" chosen" if point.chosen else ""}"><title>{escape(tip)}</title>'
    px, py = place
    if point.chosen:
        yield f'<circle class="ring" cx="{px:.1f}" cy="{py:.1f}" r="{_RADIUS + 4.5:.1f}"/>'
    if point.kind == REFERENCE:
        side = 2 * _RADIUS - 2
        corner = f'x="{px - side / 2:.1f}" y="{py - side / 2:.1f}"'
        yield f'<rect class="mark" {corner} width="{side:.0f}" height="{side:.0f}"/>'
    elif point.kind == PLAIN:
        reach = _RADIUS + 2
        yield f'<path class="mark" d="M{px:.1f} {py - reach:.1f}l{reach} {reach}l-{reach} {reach}l-{reach} -{reach}z"/>'
    else:
        yield f'<circle class="mark" cx="{px:.1f}" cy="{py:.1f}" r="{_RADIUS}"/>'
    yield text(px, py + 3.6, str(number), "number-in")
    if outside:
        yield text(px + _RADIUS + 5, py + 4, "↓", "number-out")
    yield "</g>"
