"""Lines and bars of a report: speed over batch sizes, learning curves, reliability, and what each region does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.contract.statistics.reliability import Reliability, ReliabilityBin
from titrant.runtime.report.charts.svg import (
    Frame,
    Scale,
    Write,
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
    write_seconds,
)
from titrant.runtime.report.record_view import RateSweep
from titrant.runtime.report.search_values import Sensitivity

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
    return _drawn(chart, points, name, log=False)


def sweep_picture(sweep: RateSweep, name: str = "sweep") -> str:
    """Draw the loss over the learning rates of a finder; the rate that was taken is marked by a line."""
    taken = "" if sweep.chosen is None else f"dashed: {sweep.chosen:.3g} was taken"
    chart = Curve("Learning-rate finder: smoothed loss", {}, "learning rate", sweep.chosen, taken)
    return _drawn(chart, {"loss": list(zip(sweep.rates, sweep.loss, strict=False))}, name, log=True)


def _drawn(chart: Curve, points: Mapping[str, Sequence[tuple[float, float]]], name: str, *, log: bool) -> str:
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


_ROW = 17.0
_MOST_REGION = 26


def bars(title: str, sensitivity: Sensitivity, name: str = "sensitivity") -> str:
    """Draw a bar for each region, in the order of computing; a tick is the same on all tuning rows, dashed is all."""
    checked = sensitivity.check.regions if sensitivity.check else {}
    regions = sensitivity.regions
    figures = [region.kl for region in regions] + [sensitivity.whole, *checked.values()]
    least = min((figure for figure in figures if figure > 0), default=1.0) / 3
    frame = Frame(460, 30 + 46 + _ROW * len(regions), left=168, top=30)
    along = scale(
        [least, *(figure for figure in figures if figure > 0)], frame.left, frame.wall - 6, log=True, margin=0.02
    )
    parts = [text(4, 14, title, "title", "start")]
    parts += across(frame, along, lambda value: f"{value:.2g}", "damage alone (dashed: all at once)", along.ticks(5))
    for place, region in enumerate(regions):
        y = frame.top + place * _ROW
        length = along.at(max(region.kl, least)) - frame.left
        parts.append(f'<g class="bar-row"><title>{escape(f"{region.name}: {region.kl:.3g}")}</title>')
        parts.append(text(frame.left - 6, y + 12, shortened(region.name, _MOST_REGION), "tick", "end"))
        parts.append(
            f'<rect class="bar-fill" x="{frame.left}" y="{y + 2:.1f}" width="{length:.1f}" height="{_ROW - 5}"/>'
        )
        if region.name in checked:
            x = along.at(max(checked[region.name], least))
            parts.append(line("check", x, y + 1, x, y + _ROW - 2))
        parts.append("</g>")
    whole = along.at(max(sensitivity.whole, least))
    parts.append(line("asked", whole, frame.top - 4, whole, frame.floor))
    words = "; ".join(f"{region.name} {region.kl:.3g}" for region in regions)
    return picture(name, frame, f"Damage to the answers of {title}, one bar a region", words, parts)


_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def reliability_svg(value: Reliability, candidate: str, name: str) -> str:
    """Draw both models: the original dashed with squares, the candidate with circles as large as there are cases."""
    frame = Frame(400, 360, left=46, top=34, right=16)
    along = Scale(0, 1, frame.left, frame.wall)
    up = Scale(0, 1, frame.floor, frame.top)
    parts = [text(4, 14, f"{candidate}: observed share", "title", "start"), *upwards(frame, up, plain_number, 5)]
    parts += across(frame, along, plain_number, f"probability predicted of {value.event}", _TICKS)
    parts.append(line("diagonal", along.at(0), up.at(0), along.at(1), up.at(1)))
    sides = (("original", value.original, "reference"), (candidate, value.candidate, "chosen"))
    for title, bins, role in sides:
        places = [(along.at(each.predicted), up.at(each.observed)) for each in bins]
        marks = "".join(
            _mark(title, each, place, square=role == "reference") for each, place in zip(bins, places, strict=True)
        )
        parts.append(f'<g class="series {role}">{polyline("path", places)}{marks}</g>')
    parts.append(text(frame.left + 8, frame.top + 10, "▫ dashed: the original", "label", "start"))
    parts.append(text(frame.left + 8, frame.top + 25, "● the candidate", "label", "start"))
    words = "; ".join(f"{title}: {_words(bins)}" for title, bins, _ in sides)
    return picture(name, frame, f"Reliability of {candidate} and the original", words, parts)


def _mark(title: str, each: ReliabilityBin, place: tuple[float, float], *, square: bool) -> str:
    x, y = place
    words = f"{title}: {each.predicted:.3f} predicted, {each.observed:.3f} came, {each.cases:,} cases"
    tip = f"<title>{escape(words)}</title>"
    if square:
        return f'<rect class="hollow" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8">{tip}</rect>'
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4">{tip}</circle>'


def _words(bins: tuple[ReliabilityBin, ...]) -> str:
    return ", ".join(f"{each.predicted:.2f} predicted and {each.observed:.2f} came" for each in bins)
