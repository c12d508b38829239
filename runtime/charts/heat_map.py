"""Heat maps: numbers in rows and columns as cells, the darker the larger, one map or several on one scale."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.charts.svg import Frame, picture, shortened, text

# How many shades cells have: more cannot be told apart.
_SHADES = 20
_WIDTH, _TITLE, _LEGEND = 704.0, 26.0, 46.0
_LARGEST_CELL, _ROOM = 34.0, 520.0
# A label needs as many pixels; a shorter side has one of every few places.
_LABEL_PIXELS, _MOST_LABEL, _LETTER = 11.0, 16, 6.1
# Up to so many cells each says its own number to a pointer.
_MOST_TIPS = 1024
_LINE, _COLUMNS, _GAP = 15.0, 4, 18.0


@dataclass(frozen=True)
class HeatMap:
    """One map: `values[row][column]`, none negative; NaN is a cell of its own color."""

    title: str
    values: Sequence[Sequence[float]]


@dataclass(frozen=True)
class HeatMaps:
    """Maps of one size on one scale; labels are of rows (downwards) and columns, `up` and `along` what these are.

    `notes` are sentences below the title.
    """

    title: str
    maps: tuple[HeatMap, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    up: str
    along: str
    notes: tuple[str, ...] = ()


def heat_maps(chart: HeatMaps, name: str) -> str:
    """Draw one map with labels at its sides, or several small ones with their titles alone."""
    finite = [value for each in chart.maps for row in each.values for value in row if math.isfinite(value)]
    largest = max(finite, default=0.0) or 1.0
    top = _TITLE + _LINE * len(chart.notes)
    parts = [text(4, 14, chart.title, "title", "start")]
    parts += [text(4, _TITLE + 4 + _LINE * place, note, "tick", "start") for place, note in enumerate(chart.notes)]
    if len(chart.maps) == 1:
        drawn, height = _labeled(chart, top, largest)
    else:
        drawn, height = _several(chart, top, largest)
    frame = Frame(_WIDTH, height + _LEGEND)
    words = f"rows are {chart.up}, columns {chart.along}; {'; '.join((*chart.notes, f'largest {largest:.3g}'))}"
    return picture(name, frame, chart.title, words, [*parts, *drawn, *_legend(height, largest)])


def _labeled(chart: HeatMaps, top: float, largest: float) -> tuple[list[str], float]:
    """Draw a map with its labels; returns it and where it ends."""
    rows, columns = len(chart.rows), len(chart.columns)
    left = 40 + _LETTER * max(len(shortened(label, _MOST_LABEL)) for label in chart.rows)
    above = 26 + _LETTER * max(len(shortened(label, _MOST_LABEL)) for label in chart.columns)
    size = min(_LARGEST_CELL, (_WIDTH - left - 16) / columns, _ROOM / rows)
    x, y = left, top + above
    parts = _cells(chart, chart.maps[0], (x, y), size, largest)
    parts.append(text(x + size * columns / 2, top + 12, chart.along, "label"))
    middle = y + size * rows / 2
    turned = f'<g transform="rotate(-90 12 {middle:.1f})">{text(12, middle + 4, chart.up, "label")}</g>'
    for place in _shown(rows, size):
        parts.append(
            text(x - 5, y + size * (place + 0.5) + 3.5, shortened(chart.rows[place], _MOST_LABEL), "tick", "end")
        )
    for place in _shown(columns, size):
        at = x + size * (place + 0.5) + 3.5
        label = text(at, y - 5, shortened(chart.columns[place], _MOST_LABEL), "tick", "start")
        parts.append(f'<g transform="rotate(-90 {at:.1f} {y - 5:.1f})">{label}</g>')
    return [*parts, turned], y + size * rows


def _shown(count: int, size: float) -> range:
    """Return the places whose labels have room: all, or every 2nd, 5th, 10th, 20th …"""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, count) if step * size >= _LABEL_PIXELS)
    return range(0, count, step)


def _several(chart: HeatMaps, top: float, largest: float) -> tuple[list[str], float]:
    rows, columns = len(chart.rows), len(chart.columns)
    across = min(_COLUMNS, len(chart.maps))
    room = (_WIDTH - _GAP * (across + 1)) / across
    size = min(_LARGEST_CELL, room / columns, _ROOM / rows)
    height = _LINE + size * rows + _GAP
    parts = []
    for place, each in enumerate(chart.maps):
        x, y = _GAP + (room + _GAP) * (place % across), top + height * (place // across)
        parts.append(text(x, y + 10, each.title, "label", "start"))
        parts += _cells(chart, each, (x, y + _LINE), size, largest)
    end = top + height * -(-len(chart.maps) // across)
    parts.append(text(_GAP, end, f"downwards: {chart.up}; across: {chart.along}", "tick", "start"))
    return parts, end + 2


def _cells(chart: HeatMaps, each: HeatMap, corner: tuple[float, float], size: float, largest: float) -> list[str]:
    """Draw the cells: one path a shade, in units of a cell, and a word of each where there are few."""
    rows, columns = len(each.values), len(each.values[0])
    x, y = corner
    ground = (
        f'<rect class="heat-ground" x="{x:.2f}" y="{y:.2f}" width="{size * columns:.2f}" height="{size * rows:.2f}"/>'
    )
    paths: dict[int, list[str]] = {}
    for row, values in enumerate(each.values):
        for shade, start, length in _runs(values, largest):
            paths.setdefault(shade, []).append(f"M{start} {row}h{length}v1h-{length}z")
    inner = "".join(
        f'<path class="{"heat-none" if shade < 0 else "heat"}" '
        f'{"" if shade < 0 else f"fill-opacity={chr(34)}{shade / _SHADES:.2f}{chr(34)} "}d="{"".join(runs)}"/>'
        for shade, runs in sorted(paths.items())
        if shade
    )
    place = f"translate({x:.2f} {y:.2f}) scale({size:.4f})"
    parts = [ground, f'<g transform="{place}">{inner}{"".join(_tips(chart, each))}</g>']
    return [*parts, ground.replace("heat-ground", "heat-edge")]


def _runs(values: Sequence[float], largest: float) -> Iterator[tuple[int, int, int]]:
    """Yield the shade of neighbors that are alike, where they begin, and how many they are; -1 of NaN."""
    shades = [round(_SHADES * min(max(value / largest, 0.0), 1.0)) if math.isfinite(value) else -1 for value in values]
    start = 0
    for place in range(1, len(shades) + 1):
        if place == len(shades) or shades[place] != shades[start]:
            yield shades[start], start, place - start
            start = place


def _tips(chart: HeatMaps, each: HeatMap) -> Iterator[str]:
    if len(chart.maps) * len(chart.rows) * len(chart.columns) > _MOST_TIPS:
        return
    for row, values in enumerate(each.values):
        for column, value in enumerate(values):
            tip = escape(f"{chart.rows[row]} → {chart.columns[column]}: {value:.3g}")
            yield f'<rect class="heat-tip" x="{column}" y="{row}" width="1" height="1"><title>{tip}</title></rect>'


def _legend(top: float, largest: float) -> Iterator[str]:
    width, y = 140.0, top + 14
    yield f'<rect class="heat-ground" x="{_GAP}" y="{y:.1f}" width="{width}" height="10"/>'
    for shade in range(1, _SHADES + 1):
        x = _GAP + width * (shade - 1) / _SHADES
        yield (
            f'<rect class="heat" fill-opacity="{shade / _SHADES:.2f}" x="{x:.1f}" y="{y:.1f}" '
            f'width="{width / _SHADES:.1f}" height="10"/>'
        )
    yield text(_GAP, y + 23, "0", "tick", "start")
    yield text(_GAP + width, y + 23, f"{largest:.3g}", "tick", "end")
