"""Draw what each layer takes as bars; of many layers a bar is a block."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.svg import Frame, across, picture, plain_number, scale, shortened, text
from titrant.runtime.instruments.layers.layer import OTHER, LayerFigures, short_number
from titrant.schema.values.units import counted, format_time

# More bars than this are no picture: blocks are drawn then, and of more blocks those that take longest.
_MOST_BARS = 40
_ROW, _WIDTH, _NAME_PIXELS, _MOST_NAME = 17.0, 640.0, 6.3, 34
_TOP, _BOTTOM, _WORDS = 34.0, 40.0, 92.0


@dataclass(frozen=True)
class TimeBar:
    """One bar: a layer, a block or what is left, its seconds and share, and what a pointer over it says."""

    name: str
    seconds: float
    share: float
    words: str


def bars_picture(layers: Sequence[LayerFigures], subject: str, name: str) -> ChartPicture:
    """Draw a bar for each layer in the order in which they run, of more than forty for each block; the rest is last.

    `subject` says of what, as "Net in torch"; `name` keeps the picture's ids apart.
    """
    bars = time_bars(layers)
    longest = min(max(len(bar.name) for bar in bars), _MOST_NAME)
    frame = Frame(_WIDTH, _TOP + _ROW * len(bars) + _BOTTOM, left=18 + _NAME_PIXELS * longest, right=_WORDS, top=_TOP)
    along = scale([0.0, max(bar.share for bar in bars)], frame.left, frame.wall, log=False, margin=0.0)
    title = f"Time of each {'layer' if _each(layers) else 'block'} of {subject}"
    parts = [text(4, 15, title, "title", "start")]
    for place, bar in enumerate(bars):
        y = frame.top + place * _ROW
        kind = "bar-fill" if bar.name != OTHER else "bar-rest"
        length = max(along.at(bar.share) - frame.left, 0.5)
        parts.append(f'<g class="bar-row"><title>{escape(f"{bar.name}: {bar.words}")}</title>')
        parts.append(text(frame.left - 6, y + 11, shortened(bar.name, _MOST_NAME), "tick", "end"))
        parts.append(
            f'<rect class="{kind}" x="{frame.left:.1f}" y="{y + 2:.1f}" width="{length:.1f}" height="{_ROW - 5}"/>'
        )
        words = f"{bar.share:.1%}  {format_time(bar.seconds)}"
        parts.append(text(frame.left + length + 5, y + 11, words, "tick", "start") + "</g>")
    parts += across(frame, along, lambda share: f"{plain_number(round(share * 100, 6))} %", "share of a batch")
    said = "; ".join(f"{bar.name} {bar.share:.1%}" for bar in bars)
    return ChartPicture(picture(name, frame, title, said, parts), title)


def time_bars(layers: Sequence[LayerFigures]) -> tuple[TimeBar, ...]:
    """Return the bars: of layers, or of blocks where there are too many, those left out added up before the rest."""
    named = [layer for layer in layers if layer.name]
    rest = [layer for layer in layers if not layer.name]
    if _each(layers):
        drawn = [_bar(layer.label, [layer]) for layer in named]
    else:
        blocks: dict[str, list[LayerFigures]] = {}
        for layer in named:
            blocks.setdefault(layer.block or layer.name, []).append(layer)
        drawn = [_bar(block, inside) for block, inside in blocks.items()]
    if len(drawn) > _MOST_BARS:
        kept = sorted(drawn, key=lambda bar: -bar.seconds)[: _MOST_BARS - 1]
        left = [bar for bar in drawn if bar not in kept]
        what = counted(len(left), "shorter one")
        together = TimeBar(
            what, sum(bar.seconds for bar in left), sum(bar.share for bar in left), "each takes less than those drawn"
        )
        drawn = [*(bar for bar in drawn if bar in kept), together]
    return (*drawn, *(_bar(OTHER, [layer]) for layer in rest))


def _each(layers: Sequence[LayerFigures]) -> bool:
    return len(layers) <= _MOST_BARS + 1


def _bar(name: str, layers: Sequence[LayerFigures]) -> TimeBar:
    seconds = sum(layer.time for layer in layers)
    flops = [layer.flops for layer in layers]
    parameters = sum(layer.parameters for layer in layers)
    precisions = " and ".join(dict.fromkeys(layer.precision for layer in layers if layer.precision))
    said = [
        format_time(seconds),
        counted(len(layers), "layer") if len(layers) > 1 else layers[0].kind,
        f"{parameters:,} parameters" if parameters else "",
        f"{short_number(sum(number or 0 for number in flops))} FLOPs" if any(flops) else "",
        f"runs as {precisions}" if precisions else "",
        f"also runs {', '.join(layers[0].joined)}" if len(layers) == 1 and layers[0].joined else "",
    ]
    return TimeBar(name, seconds, sum(layer.share for layer in layers), ", ".join(filter(None, said)))
