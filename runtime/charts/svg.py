"""Scales, ticks, axes and labels of a report's charts, written as SVG by hand: no library is loaded to draw one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import escape

Write = Callable[[float], str]


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` on pixels from `start` to `end`, by their logarithm where `log`; low < high."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value, kept within the scale."""
        low, high, value = (math.log(each) if self.log else each for each in (self.low, self.high, self._kept(value)))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def _kept(self, value: float) -> float:
        return min(max(value, self.low), self.high)

    def ticks(self, most: int = 6) -> tuple[float, ...]:
        """Return round values inside the scale, at most about `most`."""
        return _log_ticks(self.low, self.high, most) if self.log else _ticks(self.low, self.high, most)


def _ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(number * step, 12) for number in range(first, last + 1))


def _log_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in factors]
        inside = tuple(tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9))
        if len(inside) <= most:
            break
    return inside if len(inside) > 1 else (low, high)


# Where the largest value is this many times the smallest, equal steps would heap the small ones up.
_WIDE = 4.0


def scale(values: Sequence[float], start: float, end: float, *, log: bool | None = None, margin: float = 0.06) -> Scale:
    """Return a scale that holds values, with a margin as a share of it; `log` None: where they lie far apart.

    Without a positive value there is no logarithm. Where all are alike there is room on both sides.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if log is None:
        log = low > 0 and high / low > _WIDE
    log = log and low > 0
    if log:
        ratio = (high / low) ** margin if high > low * 1.001 else 1.25
        return Scale(low / ratio, high * ratio, start, end, log=True)
    room = (high - low) * margin if high - low > 1e-9 * max(abs(high), 1e-30) else abs(high) * 0.05 or 0.5
    return Scale(low - room, high + room, start, end)


@dataclass(frozen=True)
class Frame:
    """Where the plotting area of a chart lies, in pixels of its picture."""

    width: float
    height: float
    left: float = 56
    right: float = 14
    top: float = 12
    bottom: float = 40

    @property
    def floor(self) -> float:
        """The lower edge of the plotting area."""
        return self.height - self.bottom

    @property
    def wall(self) -> float:
        """The right edge of the plotting area."""
        return self.width - self.right


def picture(name: str, frame: Frame, title: str, words: str, parts: Sequence[str]) -> str:
    """Wrap a chart: `title` and `words` are what a screen reader says of it, and `name` keeps its ids apart."""
    return (
        f'<svg class="chart" viewBox="0 0 {frame.width:.0f} {frame.height:.0f}" role="img" '
        f'aria-labelledby="{name}-title {name}-words"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-words">{escape(words)}</desc>{"".join(parts)}</svg>'
    )


def text(x: float, y: float, words: str, kind: str = "tick", anchor: str = "middle") -> str:
    """Write words at a place; `anchor` is start, middle or end."""
    side = "" if anchor == "middle" else f' style="text-anchor:{anchor}"'
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{side}>{escape(words)}</text>'


def line(kind: str, *ends: float) -> str:
    """Draw a line from (x, y) to (x, y)."""
    x1, y1, x2, y2 = ends
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def polyline(kind: str, points: Sequence[tuple[float, float]]) -> str:
    """Draw a line through points."""
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def across(frame: Frame, along: Scale, write: Write, title: str, ticks: Sequence[float] | None = None) -> list[str]:
    """Draw the axis below: a line, its ticks and its title."""
    parts = [line("axis", frame.left, frame.floor, frame.wall, frame.floor)]
    for tick in along.ticks() if ticks is None else ticks:
        x = along.at(tick)
        parts += [line("axis", x, frame.floor, x, frame.floor + 4), text(x, frame.floor + 16, write(tick))]
    return [*parts, text((frame.left + frame.wall) / 2, frame.height - 6, title, "label")]


def upwards(frame: Frame, along: Scale, write: Write, most: int = 6) -> list[str]:
    """Draw the axis at the left: a line across the picture and a number for each tick."""
    parts = []
    for tick in along.ticks(most):
        y = along.at(tick)
        parts += [line("grid", frame.left, y, frame.wall, y), text(frame.left - 6, y + 3.5, write(tick), "tick", "end")]
    return parts


def plain_number(value: float) -> str:
    """Write a number of an axis: "1,000", "0.25"."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))


def write_seconds(values: Sequence[float]) -> Write:
    """Return how the numbers of a time axis are written: all in one unit, and no two of them alike."""
    largest = max(values, default=1.0)
    unit, size = next((each for each in _UNITS if largest >= each[1]), _UNITS[-1])
    return lambda value: f"{value / size:.4g} {unit}"


def spread(positions: Sequence[float], least: float) -> list[float]:
    """Move label positions apart to at least `least`, keeping their order and staying near where they were."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    moved = list(positions)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    return moved


def shortened(name: str, most: int) -> str:
    """Shorten a name to what fits, its end kept: ends tell apart what begins alike."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
