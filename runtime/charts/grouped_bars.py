"""Grouped bars: a group for each measure, with a bar for each model, each group on a scale of its own."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.charts.svg import Frame, Scale, line, picture, plain_number, shortened, text

_WIDTH, _ROW, _HEAD, _GAP, _TITLE = 704.0, 19.0, 20.0, 12.0, 30.0
_FIGURE, _LETTER, _MOST_NAME = 84.0, 6.4, 28
# Bars have as many fills, in turn; the name beside each says the same.
_FILLS = 4


@dataclass(frozen=True)
class BarGroup:
    """One measure: a number for each name, None or NaN where there is none, and how numbers are written."""

    title: str
    values: Mapping[str, float | None]
    words: Mapping[str, str] | None = None


def grouped_bars(title: str, groups: Sequence[BarGroup], names: Sequence[str], name: str) -> str:
    """Draw the groups below one another, from 0, to the left where numbers are negative."""
    labels = [shortened(each, _MOST_NAME) for each in names]
    left = 20 + _LETTER * max(map(len, labels))
    height = _HEAD + _ROW * len(names) + _GAP
    frame = Frame(_WIDTH, _TITLE + height * len(groups), left=left, right=_FIGURE)
    parts = [text(4, 14, title, "title", "start")]
    for place, group in enumerate(groups):
        parts += _group(group, names, labels, frame, _TITLE + height * place)
    words = "; ".join(
        f"{group.title}: " + ", ".join(f"{each} {_words(group, each)}" for each in names) for group in groups
    )
    return picture(name, frame, title, words, parts)


def _group(group: BarGroup, names: Sequence[str], labels: Sequence[str], frame: Frame, top: float) -> Iterator[str]:
    values = [value for value in group.values.values() if value is not None and math.isfinite(value)]
    low, high = min([0.0, *values]), max([0.0, *values])
    beside = _FIGURE if low < 0 else 0.0
    along = Scale(low, high if high > low else low + 1.0, frame.left + beside, frame.wall)
    yield text(4, top + 12, group.title, "label", "start")
    zero, end = along.at(0.0), top + _HEAD + _ROW * len(names)
    for place, (each, label) in enumerate(zip(names, labels, strict=True)):
        y = top + _HEAD + _ROW * place
        value = group.values.get(each)
        words = _words(group, each)
        yield f'<g class="group{place % _FILLS}"><title>{escape(f"{each}, {group.title}: {words}")}</title>'
        yield text(frame.left - 8, y + 12, label, "tick", "end")
        if value is None or not math.isfinite(value):
            yield text(zero + 6, y + 12, words, "tick", "start") + "</g>"
            continue
        at = along.at(value)
        x, width = min(zero, at), max(abs(at - zero), 1.0)
        yield f'<rect class="bar-fill" x="{x:.1f}" y="{y + 3:.1f}" width="{width:.1f}" height="{_ROW - 7:.0f}" rx="2"/>'
        yield text(at + (6 if value >= 0 else -6), y + 12, words, "label", "start" if value >= 0 else "end") + "</g>"
    yield line("axis", zero, top + _HEAD, zero, end)


def _words(group: BarGroup, name: str) -> str:
    value = group.values.get(name)
    if group.words is not None and name in group.words:
        return group.words[name]
    if value is None:
        return "–"
    return plain_number(float(f"{value:.4g}")) if math.isfinite(value) else "NaN" if math.isnan(value) else "infinite"
