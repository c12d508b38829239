"""Draw an architecture as SVG: data flows downwards, blocks are frames, and what repeats stands once."""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import escape

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.svg import shortened
from titrant.runtime.instruments.architecture.architecture import MODULES, Architecture
from titrant.runtime.instruments.architecture.blocks import ArchitectureBlock, block_tree
from titrant.runtime.instruments.architecture.boxes import (
    Pen,
    block_figures,
    block_tip,
    common_name,
    draw_item,
    draw_pill,
    pill_size,
    size_of,
    span_name,
    written_shape,
)
from titrant.runtime.instruments.architecture.fold import Folded, fold
from titrant.runtime.instruments.architecture.kinds import LEGEND, family
from titrant.runtime.instruments.architecture.place import Node, Placed, Route, place
from titrant.runtime.instruments.architecture.view import Item, OpenBlock, Stack, item_inputs, item_outputs, view
from titrant.schema.values.frozen import dataclass

_GAP, _BAR, _PADDING, _MARGIN = 30.0, 22.0, 12.0, 16.0
_LEGEND = 26.0
_BEND = 9.0
# Two tensors that leave or enter a box beside one another are so far apart.
_PORTS_APART = 22.0


@dataclass(frozen=True)
class _Sketch:
    """A block that is laid out: nodes and what they are of, with the layouts of open blocks by their place."""

    placed: Placed
    nodes: tuple[Node, ...]
    items: "tuple[Item | None, ...]"  # None: a port
    inner: "Mapping[int, _Sketch]"
    title: OpenBlock


def folded(architecture: Architecture) -> Folded:
    """Return the architecture as a block of blocks, in which copies stand once."""
    root, wiring = block_tree(architecture)
    return fold(root, wiring, architecture.shapes, architecture.inputs, flows=architecture.basis != MODULES)


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
    sketch = _sketch(shown, ends, flows=flows)
    pen = Pen(architecture, anchors, whole.root.flops or 0)
    words = f"{architecture.name}: {block_figures(shown.block)}"
    title = f"Architecture of {architecture.name}" if block is None else f"Inside {span_name(block)}"
    parts = list(_drawn(sketch, _MARGIN, _MARGIN, pen, ends, flows=flows))
    families = _families(shown)
    legend = list(_legend(families, sketch.placed.height + 2 * _MARGIN + 6, pen))
    long = max(sketch.placed.width + 2 * _MARGIN, _legend_width(families) if legend else 0)
    height = sketch.placed.height + 2 * _MARGIN + (_LEGEND if legend else 0)
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
    return anchors[block.name] if block.name in anchors else "architecture-drawing"


@dataclass(frozen=True)
class _End:
    """A tensor of the model, or of the block that is drawn, where it comes in or goes out."""

    tensor: str
    words: str
    second: str
    comes_in: bool


def _ends(architecture: Architecture, whole: Folded, shown: OpenBlock) -> tuple[_End, ...]:
    block = shown.block
    given = {name for item in shown.items for name in item_outputs(item)}
    ends = [_End(name, *_end_words(name, architecture, whole), comes_in=True) for name in block.inputs]
    outputs = [name for name in block.outputs if name in given or name in block.inputs]
    return (*ends, *(_End(name, *_end_words(name, architecture, whole), comes_in=False) for name in outputs))


def _end_words(name: str, architecture: Architecture, whole: Folded) -> tuple[str, str]:
    members = whole.merged.get(name, (name,))
    own = name in architecture.inputs or name in architecture.outputs
    words = name if len(members) == 1 else f"{members[0]} … {members[-1]}"
    shape = written_shape(architecture.shapes[name]) if name in architecture.shapes else ""
    second = " ".join(part for part in (shape, architecture.dtypes.get(name, "")) if part)
    return (words if own else second or "data"), (second if own else "")


def _sketch(shown: OpenBlock, ends: Sequence[_End] | None, *, flows: bool) -> _Sketch:
    """Lay out a block and those open in it; `ends` are drawn as pills, None: as ports of the frame."""
    inner = {
        index: _sketch(item, None, flows=flows) for index, item in enumerate(shown.items) if isinstance(item, OpenBlock)
    }
    nodes = [_node(item, inner.get(index)) for index, item in enumerate(shown.items)]
    items: list[Item | None] = list(shown.items)
    made = {name for node in nodes for name in node.gives}
    before: list[Node] = []
    after: list[Node] = []
    if ends is None:
        before = [_port((), (name,)) for name in shown.block.inputs]
        after = [_port((name,), ()) for name in shown.block.outputs if name in made]
    else:
        for end in ends:
            width, height = pill_size(end.words, end.second)
            takes, gives = ((), (end.tensor,)) if end.comes_in else ((end.tensor,), ())
            (before if end.comes_in else after).append(Node(width, height, takes, gives, {}, {}, port=not end.comes_in))
    nodes = [*before, *nodes, *after]
    inner = {index + len(before): sketch for index, sketch in inner.items()}
    items = [*([None] * len(before)), *items, *([None] * len(after))]
    if not flows:
        nodes = [_chained(node, index) for index, node in enumerate(nodes)]
    placed = place(nodes, _GAP if flows else 10.0)
    if any(len(node.takes) > 1 for node in nodes):  # where data enters is known once it is known whence it comes
        nodes = _entered(nodes, placed)
        placed = place(nodes, _GAP)
    return _Sketch(placed, tuple(nodes), tuple(items), inner, shown)


def _chained(node: Node, index: int) -> Node:
    return Node(node.width, node.height, (f"{index - 1}",) if index else (), (f"{index}",), {}, {}, port=node.port)


def _port(takes: tuple[str, ...], gives: tuple[str, ...]) -> Node:
    return Node(2.0, 0.0, takes, gives, {}, {}, port=True)


def _node(item: Item, sketch: _Sketch | None) -> Node:
    inputs, outputs = item_inputs(item), item_outputs(item)
    if isinstance(item, OpenBlock):
        assert sketch is not None
        ends = any(node.takes for node, _ in _ports(sketch))
        width, height = sketch.placed.width + 2 * _PADDING, sketch.placed.height + _BAR + (0 if ends else _PADDING)
        width = max(width, 190.0)
        middle = sketch.placed.width / 2
        ports = {node.gives[0]: spot.x - middle for node, spot in _ports(sketch) if node.gives}
        outs = {node.takes[0]: spot.x - middle for node, spot in _ports(sketch) if node.takes}
        leaves = {
            outer: outs[inside]
            for inside, outer in zip(item.block.outputs, item.block.outside, strict=True)
            if inside in outs
        }
        return Node(width, height, inputs, outputs, ports, leaves)
    width, height = size_of(item)
    leaves = {name: (place - (len(outputs) - 1) / 2) * _PORTS_APART for place, name in enumerate(outputs)}
    return Node(width, height, inputs, outputs, {}, _within(leaves, width))


def _within(offsets: Mapping[str, float], width: float) -> dict[str, float]:
    limit = width / 2 - 14
    widest = max((abs(offset) for offset in offsets.values()), default=0.0)
    return {name: offset * (min(1.0, limit / widest) if widest else 1.0) for name, offset in offsets.items()}


def _ports(sketch: _Sketch) -> Iterator[tuple[Node, object]]:
    for node, spot in zip(sketch.nodes, sketch.placed.spots, strict=True):
        if node.port:
            yield node, spot


def _entered(nodes: Sequence[Node], placed: Placed) -> list[Node]:
    """Say where each tensor enters a box that takes several: in the order in which they come, the main one in the middle."""
    arriving: dict[int, list[tuple[float, str, bool]]] = {}
    for route in placed.routes:
        arriving.setdefault(route.target, []).append((route.points[-2][0], route.tensor, route.main))
    entered = []
    for index, node in enumerate(nodes):
        comes = sorted(arriving.get(index, ()))
        if len(comes) < 2 or node.enters or node.port:
            entered.append(node)
            continue
        main = next((at for at, (_, _, on_way) in enumerate(comes) if on_way), (len(comes) - 1) / 2)
        offsets = {name: (at - main) * _PORTS_APART for at, (_, name, _) in enumerate(comes)}
        entered.append(
            Node(node.width, node.height, node.takes, node.gives, _within(offsets, node.width), node.leaves, node.port)
        )
    return entered


def _drawn(
    sketch: _Sketch, left: float, top: float, pen: Pen, ends: Sequence[_End] | None, *, flows: bool
) -> Iterator[str]:
    """Draw a layout whose upper left corner is at (left, top): lines first, boxes over them."""
    placed = sketch.placed
    if flows:
        yield from _lines(sketch, left, top, pen)
    pills = iter(ends or ())
    for index, (node, item) in enumerate(zip(sketch.nodes, sketch.items, strict=True)):
        spot = placed.spots[index]
        x, y = left + spot.x - node.width / 2, top + spot.y
        if isinstance(item, OpenBlock):
            yield from _frame(item, sketch.inner[index], (x, y, node.width, node.height), pen, flows=flows)
        elif item is not None:
            yield draw_item(item, x, y, pen)
        elif ends is not None:
            end = next(pills)
            yield draw_pill(end.words, end.second, x, y, node.width)


def _frame(
    item: OpenBlock, sketch: _Sketch, edges: tuple[float, float, float, float], pen: Pen, *, flows: bool
) -> Iterator[str]:
    x, y, width, height = edges
    block = item.block
    yield f'<g class="open"><title>{escape(block_tip(block))}</title>'
    yield f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="8"/>'
    yield f'<path class="bar" d="M{x:.1f} {y + _BAR:.1f}v-{_BAR - 8:.0f}q0-8 8-8h{width - 16:.1f}q8 0 8 8v{_BAR - 8:.0f}z"/>'
    times = f"× {len(block.copies)}" if len(block.copies) > 1 else ""
    name = span_name(block)
    kind = block.kind or (common_name(block) if block.made_of else "")
    room = int((width - 28 - 8 * len(times)) / 7.2)
    words = f"{kind}  {name}" if kind and len(kind) + len(name) + 2 <= room else (kind or name)
    yield f'<text class="kind start" x="{x + 10:.1f}" y="{y + 15:.1f}">{escape(shortened(words, room))}</text>'
    if times:
        yield f'<text class="times end" x="{x + width - 10:.1f}" y="{y + 15:.1f}">{times}</text>'
    yield "</g>"
    inset = (width - sketch.placed.width) / 2
    yield from _drawn(sketch, x + inset, y + _BAR, pen, None, flows=flows)


def _lines(sketch: _Sketch, left: float, top: float, pen: Pen) -> Iterator[str]:
    """Draw the lines of data with an arrow at each reader, and the shape of each tensor where it leaves its maker."""
    labeled: set[str] = set()
    for route in sketch.placed.routes:
        ports = sketch.nodes[route.target].port
        path = _path(route, left, top)
        yield f'<path class="{"way" if route.main else "skip"}" d="{path}"/>'
        x, y, _ = route.points[-1]
        if not (ports and sketch.nodes[route.target].height == 0):
            yield f'<path class="arrow" d="M{left + x:.1f} {top + y:.1f}l-3.6 -6.5h7.2z"/>'
    for route in sketch.placed.routes:
        maker = sketch.nodes[route.source]
        if route.tensor in labeled or (maker.port and maker.height == 0) or sketch.items[route.source] is None:
            continue
        if all(
            sketch.nodes[other.target].height == 0 for other in sketch.placed.routes if other.tensor == route.tensor
        ):
            continue  # it only leaves the frame, below which its shape stands
        labeled.add(route.tensor)
        shape = pen.architecture.shapes.get(route.tensor)
        if shape is not None:
            x, y, _ = route.points[0]
            words = shortened(written_shape(shape), 24)
            yield f'<text class="shape start" x="{left + x + 5:.1f}" y="{top + y + 12:.1f}">{escape(words)}</text>'


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
