"""Draw an architecture as SVG: data flows downwards, blocks are frames, and what repeats stands once."""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import escape

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.svg import shortened
from titrant.runtime.instruments.architecture.architecture import MODULES, Architecture
from titrant.runtime.instruments.architecture.blocks import ArchitectureBlock, common_name, span_name
from titrant.runtime.instruments.architecture.boxes import (
    Pen,
    block_figures,
    block_tip,
    draw_item,
    draw_pill,
    written_shape,
)
from titrant.runtime.instruments.architecture.fold import Folded, folded
from titrant.runtime.instruments.architecture.names import LEGEND, family
from titrant.runtime.instruments.architecture.place import Route
from titrant.runtime.instruments.architecture.sketch import BAR, End, Sketch, read_count, sketch
from titrant.runtime.instruments.architecture.view import OpenBlock, Stack, item_outputs, view

_MARGIN = 16.0
_LEGEND = 26.0


def overview(architecture: Architecture, boxes: int) -> ChartPicture:
    """Draw a whole model."""
    return drawing(architecture, folded(architecture), None, boxes, {})


def drawing(
    architecture: Architecture,
    whole: Folded,
    block: ArchitectureBlock | None,
    boxes: int,
    anchors: dict[str, str],
) -> ChartPicture:
    """Draw a block of a model, or all of it (None); `anchors` are the places on the page that have more of a block."""
    shown = view(whole.root if block is None else block, boxes)
    ends = _ends(architecture, whole, shown)
    flows = architecture.basis != MODULES
    laid = sketch(shown, ends, flows=flows)
    pen = Pen(architecture, anchors, whole.root.flops or 0)
    words = f"{architecture.name}: {block_figures(shown.block)}"
    title = f"Architecture of {architecture.name}" if block is None else f"Inside {span_name(block)}"
    parts = list(_drawn(laid, _MARGIN, _MARGIN, pen, ends, flows=flows))
    families = _families(shown)
    legend = list(_legend(families, laid.placed.height + 2 * _MARGIN + 6, pen))
    long = max(laid.placed.width + 2 * _MARGIN, _legend_width(families) if legend else 0)
    height = laid.placed.height + 2 * _MARGIN + (_LEGEND if legend else 0)
    name = picture_id(shown.block, anchors)
    svg = (
        f'<svg id="{name}" class="chart architecture" viewBox="0 0 {long:.0f} {height:.0f}" width="{long:.0f}" '
        f'height="{height:.0f}" role="img" aria-labelledby="{name}-title {name}-words">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-words">{escape(words)}</desc>'
        f"{''.join(parts)}{''.join(legend)}</svg>"
    )
    return ChartPicture(svg, title)


def picture_id(block: ArchitectureBlock, anchors: Mapping[str, str]) -> str:
    """Return the id of a block's drawing on a page, to which the boxes that stand for it lead."""
    return anchors.get(block.name, "architecture-drawing")


def _ends(architecture: Architecture, whole: Folded, shown: OpenBlock) -> tuple[End, ...]:
    block = shown.block
    given = {name for item in shown.items for name in item_outputs(item)}
    ends = [End(name, *_end_words(name, architecture, whole), comes_in=True) for name in block.inputs]
    outputs = [name for name in block.outputs if name in given or name in block.inputs]
    return (*ends, *(End(name, *_end_words(name, architecture, whole), comes_in=False) for name in outputs))


def _end_words(name: str, architecture: Architecture, whole: Folded) -> tuple[str, str]:
    members = whole.merged.get(name, (name,))
    own = name in architecture.inputs or name in architecture.outputs
    words = name if len(members) == 1 else f"{members[0]} … {members[-1]}"
    shape = written_shape(architecture.shapes[name]) if name in architecture.shapes else ""
    second = " ".join(part for part in (shape, architecture.dtypes.get(name, "")) if part)
    return (words if own else second or "data"), (second if own else "")


def _drawn(
    laid: Sketch, left: float, top: float, pen: Pen, ends: Sequence[End] | None, *, flows: bool
) -> Iterator[str]:
    """Draw a layout whose upper left corner is at (left, top): lines first, boxes over them."""
    placed = laid.placed
    if flows:
        yield from _lines(laid, left, top, pen)
    pills = iter(ends or ())
    for index, (node, item) in enumerate(zip(laid.nodes, laid.items, strict=True)):
        spot = placed.spots[index]
        x, y = left + spot.x - node.width / 2, top + spot.y
        if isinstance(item, OpenBlock):
            yield from _frame(item, laid.inner[index], (x, y, node.width, node.height), pen, flows=flows)
        elif item is not None:
            yield draw_item(item, x, y, pen)
        elif ends is not None:
            end = next(pills)
            yield draw_pill(end.words, end.second, x, y, node.width)


def _frame(
    item: OpenBlock, laid: Sketch, edges: tuple[float, float, float, float], pen: Pen, *, flows: bool
) -> Iterator[str]:
    x, y, width, height = edges
    block = item.block
    yield f'<g class="open"><title>{escape(block_tip(block))}</title>'
    yield f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="8"/>'
    side = f"{BAR - 8:.0f}"
    yield f'<path class="bar" d="M{x:.1f} {y + BAR:.1f}v-{side}q0-8 8-8h{width - 16:.1f}q8 0 8 8v{side}z"/>'
    times = f"× {len(block.copies)}" if len(block.copies) > 1 else ""
    name = span_name(block)
    kind = block.kind or (common_name(block) if block.made_of else "")
    room = int((width - 28 - 8 * len(times)) / 7.2)
    lead = shortened(kind or name, room)
    rest = f'<tspan class="detail" dx="6">{escape(name)}</tspan>' if kind and len(kind) + len(name) + 1 <= room else ""
    yield f'<text class="kind start" x="{x + 10:.1f}" y="{y + 15:.1f}">{escape(lead)}{rest}</text>'
    if times:
        yield f'<text class="times end" x="{x + width - 10:.1f}" y="{y + 15:.1f}">{times}</text>'
    yield "</g>"
    inset = (width - laid.placed.width) / 2
    yield from _drawn(laid, x + inset, y + BAR, pen, None, flows=flows)


def _lines(laid: Sketch, left: float, top: float, pen: Pen) -> Iterator[str]:
    """Draw the lines of data with an arrow at each reader, and the shape of each tensor where it leaves its maker."""
    labeled: set[str] = set()
    for route in laid.placed.routes:
        ports = laid.nodes[route.target].port
        path = _path(route, left, top)
        yield f'<path class="{"way" if route.main else "skip"}" d="{path}"/>'
        x, y, _ = route.points[-1]
        if not (ports and laid.nodes[route.target].height == 0):
            yield f'<path class="arrow" d="M{left + x:.1f} {top + y:.1f}l-3.6 -6.5h7.2z"/>'
    read = read_count(laid)
    for route in laid.placed.routes:
        # What comes in is labeled where it was made, and what only leaves the frame below it.
        if route.tensor in labeled or laid.items[route.source] is None or not read.get(route.tensor):
            continue
        labeled.add(route.tensor)
        x, y, _ = route.points[0]
        words = shortened(_shapes(laid.bundles.get(route.tensor, (route.tensor,)), pen.architecture), 30)
        yield f'<text class="shape start" x="{left + x + 5:.1f}" y="{top + y + 12:.1f}">{escape(words)}</text>'


def _shapes(names: Sequence[str], architecture: Architecture) -> str:
    """Write the shape of a tensor, or of several that go the same way."""
    shapes = {architecture.shapes.get(name) for name in names}
    shape = next(iter(shapes)) if len(shapes) == 1 else None
    if len(names) == 1:
        return "" if shape is None else written_shape(shape)
    return f"{len(names)} tensors" if shape is None else f"{len(names)} of {written_shape(shape)}"


def _path(route: Route, left: float, top: float) -> str:
    """Write a route as a path: straight through ranks, and an S between one and the next."""
    x, upper, lower = route.points[0]
    path = f"M{left + x:.1f} {top + upper:.1f}"
    if lower > upper:
        path += f"V{top + lower:.1f}"
    for (x1, _, y1), (x2, y2, y3) in zip(route.points, route.points[1:], strict=False):
        if abs(x1 - x2) < 0.6:
            path += f"V{top + y2:.1f}"
        else:
            middle = top + (y1 + y2) / 2
            path += f"C{left + x1:.1f} {middle:.1f} {left + x2:.1f} {middle:.1f} {left + x2:.1f} {top + y2:.1f}"
        if y3 > y2:
            path += f"V{top + y3:.1f}"
    return path


def _families(shown: OpenBlock) -> list[str]:
    present = {family(layer.kind) for item in _stacks(shown) for layer in item.layers[:1]}
    return [name for name in LEGEND if name in present]


def _stacks(shown: OpenBlock) -> Iterator[Stack]:
    for item in shown.items:
        if isinstance(item, OpenBlock):
            yield from _stacks(item)
        elif isinstance(item, Stack):
            yield item


def _legend(families: Sequence[str], y: float, pen: Pen) -> Iterator[str]:
    """Say what the colors at the boxes' edges and the bars below them mean."""
    x = _MARGIN
    for name in families:
        yield f'<g class="box {name}"><rect class="mark" x="{x:.1f}" y="{y:.1f}" width="4" height="12" rx="2"/></g>'
        yield f'<text class="name start" x="{x + 8:.1f}" y="{y + 10:.1f}">{LEGEND[name]}</text>'
        x += 22 + 5.5 * len(LEGEND[name])
    if pen.flops:
        yield f'<g class="box"><rect class="share" x="{x:.1f}" y="{y + 5:.1f}" width="22" height="2"/></g>'
        yield f'<text class="name start" x="{x + 28:.1f}" y="{y + 10:.1f}">share of all FLOPs</text>'


def _legend_width(families: Sequence[str]) -> float:
    return _MARGIN * 2 + sum(22 + 5.5 * len(LEGEND[name]) for name in families) + 140
