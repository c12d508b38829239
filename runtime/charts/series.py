"""Lines: speed over batch sizes, learning curves, and any number over another one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.charts.svg import (
    Frame,
    Scale,
    Write,
    across,
    line,
    picture,
    plain_number,
    polyline,
    scale,
    spread,
    text,
    upwards,
    write_seconds,
)

_SIZE = (460, 290)
_TITLE_Y = 14
# Beyond these, the names of the lines would not fit beside them.
_MOST_NAME, _NAME_PIXELS = 20, 6.4
_LABEL_APART = 12.0


@dataclass(frozen=True)
class Line:
    """One model: batch size → value; `role` is reference (the original), chosen or other."""

    name: str
    values: Mapping[int, float]
    role: str = "other"


def latency(lines: Sequence[Line], name: str = "latency") -> str:
    """Draw the median time of one case over the batch size; values are seconds of a whole batch."""
    per_case = [Line(line.name, {at: value / at for at, value in line.values.items()}, line.role) for line in lines]
    seconds = [value for line in per_case for value in line.values.values()]
    return _over_batches(per_case, name, "Median time per case", write_seconds(seconds))


def throughput(lines: Sequence[Line], name: str = "throughput") -> str:
    """Draw cases per second over the batch size."""
    return _over_batches(lines, name, "Cases per second", plain_number)


def _over_batches(lines: Sequence[Line], name: str, title: str, write: Write) -> str:
    lines = [each for each in lines if each.values]
    longest = min(_MOST_NAME, max((len(each.name) for each in lines), default=0))
    frame = Frame(*_SIZE, left=64, right=18 + _NAME_PIXELS * longest, top=30)
    batches = sorted({batch for each in lines for batch in each.values})
    along = scale([float(batch) for batch in batches], frame.left + 6, frame.wall - 6, log=True, margin=0.03)
    values = [value for each in lines for value in each.values.values()]
    up = scale(values, frame.floor - 4, frame.top + 4, log=True)
    parts = [text(4, _TITLE_Y, title, "title", "start"), *upwards(frame, up, write)]
    parts += across(frame, along, plain_number, "batch size", [float(batch) for batch in batches])
    ends = []
    for each in sorted(lines, key=lambda each: ("other", "reference", "chosen").index(each.role)):
        points = [(along.at(batch), up.at(each.values[batch])) for batch in batches if batch in each.values]
        said = ", ".join(f"{batch}: {write(each.values[batch])}" for batch in batches if batch in each.values)
        dots = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in points)
        tip = f"<title>{escape(f'{each.name}: {said}')}</title>"
        parts.append(f'<g class="series {each.role}">{tip}{polyline("path", points)}{dots}</g>')
        ends.append((each, points[-1][1]))
    for (each, _), y in zip(ends, spread([y for _, y in ends], _LABEL_APART), strict=True):
        label = each.name if len(each.name) <= _MOST_NAME else each.name[: _MOST_NAME - 1] + "…"
        parts.append(text(frame.wall + 6, y + 3.5, label, f"series-name {each.role}", "start"))
    words = "; ".join(each.name for each in lines)
    return picture(name, frame, f"{title} over the batch size, one line a model", words, parts)


@dataclass(frozen=True)
class Curve:
    """Numbers over epochs, or whatever `across` names; the mark is a vertical line, None without one."""

    title: str
    series: Mapping[str, Sequence[float]]
    across: str = "epoch"
    mark: float | None = None
    mark_words: str = ""


def curve(chart: Curve, name: str) -> str:
    """Draw one number an epoch for each series, counted from 1; each has its own dashes, and its name at its end."""
    epochs = max(len(values) for values in chart.series.values())
    along = [float(epoch) for epoch in range(1, epochs + 1)]
    points = {label: list(zip(along, values, strict=False)) for label, values in chart.series.items()}
    return lines_over(chart, points, name, log=False)


def lines_over(chart: Curve, points: Mapping[str, Sequence[tuple[float, float]]], name: str, *, log: bool) -> str:
    """Draw the points (x, y) of each label as a line; `chart` names the axes, and its own series are not looked at."""
    several = len(points) > 1
    longest = max(len(label) for label in points) if several else 0
    frame = Frame(*_SIZE, left=52, right=18 + _NAME_PIXELS * longest, top=30)
    xs, ys = ([pair[axis] for each in points.values() for pair in each] for axis in (0, 1))
    along = scale(xs, frame.left + 6, frame.wall - 6, log=log, margin=0.02)
    up = scale(ys, frame.floor - 4, frame.top + 4, log=False)
    ticks = None if log else [tick for tick in along.ticks() if tick == int(tick) and tick >= 1]
    title = f"{chart.across} ({chart.mark_words})" if chart.mark_words else chart.across
    write = (lambda value: f"{value:.3g}") if log else plain_number
    parts = [text(4, _TITLE_Y, chart.title, "title", "start"), *upwards(frame, up, plain_number, 5)]
    parts += across(frame, along, write, title, ticks)
    if chart.mark is not None:
        parts.append(_marked(frame, along, chart.mark))
    ends = []
    for index, (label, pairs) in enumerate(points.items()):
        places = [(along.at(x), up.at(y)) for x, y in pairs]
        tip = f"<title>{escape(label)}: from {pairs[0][1]:.4g} to {pairs[-1][1]:.4g}</title>" if pairs else ""
        shown = polyline(f"path way{index % 4}", places)
        if len(places) < 3:
            shown += "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in places)
        parts.append(f'<g class="series">{tip}{shown}</g>')
        ends.append((label, places[-1][1] if places else up.at(up.low)))
    if several:
        for (label, _), y in zip(ends, spread([y for _, y in ends], _LABEL_APART), strict=True):
            parts.append(text(frame.wall + 6, y + 3.5, label, "series-name", "start"))
    return picture(name, frame, f"{chart.title} over {chart.across}", chart.mark_words, parts)


def _marked(frame: Frame, along: Scale, value: float) -> str:
    x = along.at(value)
    return line("mark-line", x, frame.top, x, frame.floor)
