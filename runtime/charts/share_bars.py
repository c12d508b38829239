"""Bars of what each part has of a whole, the largest first, each with its words and its share."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.charts.svg import Frame, picture, shortened, text

_ROW, _TOP, _WIDTH = 21.0, 30.0, 460.0
_LABEL, _FIGURES = 176.0, 92.0
_MOST_NAME = 28


@dataclass(frozen=True)
class Bar:
    """One part: its name, what it has, and how that is written."""

    name: str
    value: float
    words: str


def share_bars(title: str, bars: Sequence[Bar], total: float, name: str) -> str:
    """Draw bars of shares of `total` > 0, from the left; the longest fills the width, and each says its own share."""
    largest = max((bar.value for bar in bars), default=0.0) or 1.0
    frame = Frame(_WIDTH, _TOP + _ROW * len(bars) + 8)
    room = _WIDTH - _LABEL - _FIGURES
    parts = [text(4, 14, title, "title", "start")]
    for place, bar in enumerate(bars):
        y = _TOP + _ROW * place
        share = bar.value / total
        label, long = shortened(bar.name, _MOST_NAME), max(1.0, room * bar.value / largest)
        parts += [
            f"<g><title>{escape(f'{bar.name}: {bar.words}, {written(share)} of all')}</title>",
            text(_LABEL - 8, y + 12, label, "label", "end"),
            f'<rect class="bar-fill" x="{_LABEL:.1f}" y="{y + 3:.1f}" width="{long:.1f}" '
            f'height="{_ROW - 9:.0f}" rx="2"/>',
            text(_LABEL + long + 6, y + 12, f"{bar.words} · {written(share)}", "label", "start"),
            "</g>",
        ]
    words = "; ".join(f"{bar.name}: {bar.words}, {written(bar.value / total)}" for bar in bars)
    return picture(name, frame, title, words, parts)


def written(share: float) -> str:
    """Write a share of 0..1 in percent: "12 %", "0.4 %", "under 0.1 %"."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "under 0.1 %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"
