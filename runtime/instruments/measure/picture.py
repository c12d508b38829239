"""Draw models that were timed side by side: a row each, its median with the interval, its 95th and 99th percentile."""

from collections.abc import Iterator

from markupsafe import escape

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.svg import Frame, Scale, across, line, picture, scale, shortened, text, write_seconds
from titrant.runtime.instruments.measure.figures import BatchTimes, SideBySide

_WIDTH, _ROW, _GAP = 720.0, 22.0, 26.0
_TOP, _BOTTOM = 34.0, 52.0
_MOST_NAME, _NAME_PIXELS = 30, 6.6
_RADIUS = 4.5


def picture_of(result: SideBySide) -> ChartPicture:
    """Return the picture: a group of rows for each batch size, all over one axis of seconds a run."""
    names = [shortened(model.name, _MOST_NAME) for model in result.models]
    count, groups = len(names), len(result.batches)
    left = 26 + _NAME_PIXELS * max(map(len, names))
    height = _TOP + groups * (_GAP + count * _ROW) + _BOTTOM
    frame = Frame(_WIDTH, height, left=left, right=24, top=_TOP, bottom=_BOTTOM)
    every = [figure for model in result.models for times in model.times for figure in _ends(times)]
    along = scale(every, frame.left + 8, frame.wall - 8)
    parts = [
        text(
            4,
            16,
            "Time of a run: median with its 95 % interval, ticks at the 95th and 99th percentile",
            "title",
            "start",
        )
    ]
    y = _TOP
    for place, batch in enumerate(result.batches):
        parts.append(text(4, y + 14, f"batch {batch}", "label", "start"))
        y += _GAP
        for name, model in zip(names, result.models, strict=True):
            parts += _row(name, model.times[place], y, frame, along)
            y += _ROW
    parts += across(frame, along, write_seconds(every), "seconds of a run" + (", logarithmic" if along.log else ""))
    words = "; ".join(f"{model.name}: " + ", ".join(_said(times) for times in model.times) for model in result.models)
    return ChartPicture(picture("timed", frame, "Time of a run by model and batch size", words, parts), "Time of a run")


def _ends(times: BatchTimes) -> tuple[float, ...]:
    bounds = (times.p50.lower, times.p50.upper)
    return (times.p50.estimate, times.p95.estimate, times.p99.estimate, *(each for each in bounds if each is not None))


def _said(times: BatchTimes) -> str:
    write = write_seconds([times.p50.estimate])
    return f"batch {times.batch} {write(times.p50.estimate)}"


def _row(name: str, times: BatchTimes, y: float, frame: Frame, along: Scale) -> Iterator[str]:
    middle = y + _ROW / 2
    median, slow, slowest = (along.at(each.estimate) for each in (times.p50, times.p95, times.p99))
    low, high = (along.at(times.p50.estimate if end is None else end) for end in (times.p50.lower, times.p50.upper))
    write = write_seconds([times.p99.estimate])
    tip = f"{name}, batch {times.batch}: p50 {write(times.p50.estimate)}, p95 {write(times.p95.estimate)}, "
    yield text(frame.left - 6, middle + 4, name, "tick", "end")
    yield line("grid", frame.left, middle, frame.wall, middle)
    yield f'<g class="series chosen"><title>{escape(tip + f"p99 {write(times.p99.estimate)}")}</title>'
    yield line("whisker", median, middle, slowest, middle)
    yield line("whisker", slow, middle - 6, slow, middle + 6)
    yield line("whisker", slowest, middle - 3, slowest, middle + 3)
    yield line("path", low, middle, high, middle)
    yield f'<circle class="dot" cx="{median:.1f}" cy="{middle:.1f}" r="{_RADIUS}"/></g>'
