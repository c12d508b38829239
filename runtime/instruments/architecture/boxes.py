"""The boxes of an architecture's drawing: layers in stacks, closed blocks, and the model's own inputs and outputs."""

from collections.abc import Iterator, Sequence

from markupsafe import escape

from titrant.runtime.charts.svg import shortened
from titrant.runtime.instruments.architecture.architecture import Architecture, Operation
from titrant.runtime.instruments.architecture.blocks import ArchitectureBlock, common_name, span_name
from titrant.runtime.instruments.architecture.names import LEGEND, family, short_count
from titrant.runtime.instruments.architecture.view import Stack
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted

WIDTH, NARROW = 232.0, 116.0
_TALL, _FLAT, _CLOSED, _PILL = 36.0, 20.0, 52.0, 34.0
# The mean width of a character, in pixels, by the size of its writing.
_BOLD, _SMALL, _PLAIN = 7.4, 5.9, 6.5
_MARGIN = 10.0


@dataclass(frozen=True)
class Pen:
    """What boxes are drawn with: where the page has more of a block (its anchor by name), and the FLOPs of all."""

    architecture: Architecture
    anchors: "dict[str, str]"
    flops: int


def size_of(item: Stack | ArchitectureBlock) -> tuple[float, float]:
    """Return the width and height of a box."""
    if isinstance(item, ArchitectureBlock):
        return WIDTH, _CLOSED + (4.0 if len(item.copies) > 1 else 0.0)
    first, *others = item.layers
    small = _is_flat(first) and not others
    return (NARROW if small and len(_words(first)) <= 14 else WIDTH), (
        _FLAT + 4 if _is_flat(first) else _TALL
    ) + _FLAT * len(others)


def _is_flat(layer: Operation) -> bool:
    """Tell whether a layer has one line only: it has no parameters, no FLOPs, and no name to tell it from others."""
    return (
        not layer.parameters
        and not layer.flops
        and family(layer.kind) not in ("product", "attention", "recurrent", "subgraph")
    )


def _words(layer: Operation) -> str:
    return f"{layer.kind} {layer.detail}".rstrip()


def draw_item(item: Stack | ArchitectureBlock, x: float, y: float, pen: Pen) -> str:
    """Draw a box whose upper left corner is at (x, y)."""
    return _closed(item, x, y, pen) if isinstance(item, ArchitectureBlock) else _stack(item, x, y, pen)


def _stack(stack: Stack, x: float, y: float, pen: Pen) -> str:
    width, height = size_of(stack)
    first = stack.layers[0]
    marked = any(layer.quantized for layer in stack.layers)
    parts = [f'<g class="box {family(first.kind)}{" quantized" if marked else ""}">']
    parts.append(_rect("frame", x, y, width, height))
    if family(first.kind) in LEGEND:
        parts.append(f'<rect class="mark" x="{x:.1f}" y="{y + 4:.1f}" width="4" height="{height - 8:.1f}" rx="2"/>')
    top = y
    for place, layer in enumerate(stack.layers):
        if place:
            parts.append(
                f'<line class="rule" x1="{x + 8:.1f}" y1="{top:.1f}" x2="{x + width - 1:.1f}" y2="{top:.1f}"/>'
            )
        flat = place > 0 or _is_flat(first)
        tall = (_FLAT + (0 if place else 4)) if flat else _TALL
        parts.append(f"<g><title>{escape(tip(layer, pen.architecture))}</title>")
        parts += (
            _flat(layer, x, top + tall / 2 + 4, width, leads=not place) if flat else _tall(layer, x, top, width, pen)
        )
        parts.append("</g>")
        top += tall
    return "".join([*parts, "</g>"])


def _flat(layer: Operation, x: float, base: float, width: float, *, leads: bool) -> Iterator[str]:
    right = _right(layer)
    if width == NARROW:
        yield _text("kind", x + width / 2, base, _words(layer), "middle")
        return
    yield _kind(layer, x + _MARGIN, base, width - 2 * _MARGIN - _SMALL * len(right), "kind" if leads else "light")
    yield _text("figure", x + width - 8, base, right, "end")


def _kind(layer: Operation, x: float, y: float, room: float, style: str) -> str:
    """Write the kind of a layer, and beside it, where there is room, its kernel and widths."""
    each = _BOLD if style == "kind" else _PLAIN
    kind = shortened_end(layer.kind, int(room / each))
    detail = shortened_end(layer.detail, int((room - each * len(kind) - 6) / _PLAIN)) if layer.detail else ""
    if len(detail) < min(3, len(layer.detail)):
        detail = ""
    inner = f'<tspan class="detail" dx="5">{escape(detail)}</tspan>' if detail else ""
    return f'<text class="{style} start" x="{x:.1f}" y="{y:.1f}">{escape(kind)}{inner}</text>'


def _tall(layer: Operation, x: float, y: float, width: float, pen: Pen) -> Iterator[str]:
    right = _right(layer)
    yield _kind(layer, x + _MARGIN, y + 15, width - 2 * _MARGIN - _SMALL * len(right) - 4, "kind")
    yield _text("figure", x + width - 8, y + 15, right, "end")
    flops = "" if not layer.flops else f"{short_count(layer.flops)} FLOPs"
    name = f"shares {layer.shared_with}" if layer.shared_with else layer.name
    room = int((width - 2 * _MARGIN - _SMALL * len(flops) - 6) / _SMALL)
    yield _text("name", x + _MARGIN, y + 28, shortened(name, room))
    yield _text("figure", x + width - 8, y + 28, flops, "end")
    yield _share(layer.flops, x, y + _TALL - 3.5, width, pen)


def _right(layer: Operation) -> str:
    """Write a layer's parameters, and its precision where that is another than float32."""
    figures = [short_count(layer.parameters)] if layer.parameters else []
    unlike = layer.precision not in ("", "float32", "float")
    return " · ".join([*([layer.precision] if unlike and (layer.parameters or layer.quantized) else []), *figures])


def _share(flops: int | None, x: float, y: float, width: float, pen: Pen) -> str:
    """Draw what part of all FLOPs is done here, as a bar at the lower edge."""
    if not flops or not pen.flops:
        return ""
    long = max(1.0, (width - 2 * _MARGIN) * min(1.0, flops / pen.flops))
    return f'<rect class="share" x="{x + _MARGIN:.1f}" y="{y:.1f}" width="{long:.1f}" height="2"/>'


def _closed(block: ArchitectureBlock, x: float, y: float, pen: Pen) -> str:
    width, height = size_of(block)
    several = len(block.copies) > 1
    parts = ['<g class="box block">', f"<title>{escape(block_tip(block))}</title>"]
    body = height - 4 if several else height
    if several:  # as a pile of cards, which says that there are more
        parts += [_rect("frame", x + 4, y + 4, width - 4, body), _rect("frame", x + 2, y + 2, width - 4, body)]
        width -= 4
    parts.append(_rect("frame", x, y, width, body))
    times = f"× {len(block.copies)}" if several else ""
    title = block.kind or common_name(block)
    room = int((width - 2 * _MARGIN - 7 * len(times)) / _BOLD)
    parts.append(_text("kind", x + _MARGIN, y + 16, shortened_end(title, room)))
    parts.append(_text("times", x + width - 8, y + 16, times, "end"))
    parts.append(_text("name", x + _MARGIN, y + 29, shortened(span_name(block), int((width - 2 * _MARGIN) / _SMALL))))
    parts.append(_text("figures", x + _MARGIN, y + 42, block_figures(block)))
    parts += [_share(block.flops, x, y + body - 4, width, pen), "</g>"]
    anchor = pen.anchors.get(block.name)
    return f'<a href="#{anchor}">{"".join(parts)}</a>' if anchor else "".join(parts)


def draw_pill(words: str, second: str, x: float, y: float, width: float) -> str:
    """Draw an input or output of the model: its name, and its shape below."""
    body = (
        f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_PILL:.0f}" rx="{_PILL / 2:.0f}"/>'
    )
    name = shortened_end(words, int((width - 24) / _BOLD))
    middle = x + width / 2
    return (
        f'<g class="box end"><title>{escape(f"{words}: {second}" if second else words)}</title>{body}'
        f"{_text('kind', middle, y + (14 if second else 21), name, 'middle')}"
        f"{_text('name', middle, y + 26, second, 'middle')}</g>"
    )


def pill_size(words: str, second: str) -> tuple[float, float]:
    """Return the width and height of an input or output."""
    return min(240.0, max(90.0, 28 + _BOLD * len(words), 28 + _SMALL * len(second))), _PILL


def block_figures(block: ArchitectureBlock) -> str:
    """Write how many layers, parameters and FLOPs a block has, of all its copies."""
    figures = [counted(block.operations * len(block.copies), "layer")]
    figures += [f"{short_count(block.parameters)} parameters"] if block.parameters else []
    figures += [f"{short_count(block.flops)} FLOPs"] if block.flops else []
    return " · ".join(figures).replace(" parameters", " par.") if len(figures) == 3 else " · ".join(figures)


def block_tip(block: ArchitectureBlock) -> str:
    """Write what a pointer over a closed block says."""
    times = f", {len(block.copies)} copies" if len(block.copies) > 1 else ""
    kind = f" ({block.kind})" if block.kind else ""
    return f"{span_name(block)}{kind}{times}: {block_figures(block)}"


def tip(layer: Operation, architecture: Architecture) -> str:
    """Write all that is known of a layer."""
    said = [f"{layer.name}: {_words(layer)}"]
    if layer.parameters:
        said.append(f"{layer.parameters:,} parameters")
    if layer.shared_with:
        said.append(f"weights of {layer.shared_with}")
    if layer.flops:
        said.append(f"{layer.flops:,} FLOPs")
    if layer.precision:
        said.append(f"{layer.precision}{', quantized' if layer.quantized else ''}")
    said += [
        f"gives {written_shape(architecture.shapes[name])}" for name in layer.outputs if name in architecture.shapes
    ]
    return "; ".join(said)


def written_shape(shape: Sequence[int | str]) -> str:
    """Write a shape, as "N×64×8×8"; "batch" is N."""
    return "×".join("N" if size == "batch" else str(size) for size in shape) or "scalar"


def shortened_end(words: str, most: int) -> str:
    """Shorten words to what fits, their beginning kept."""
    return words if len(words) <= most else words[: max(most - 1, 1)] + "…"


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5"/>'


def _text(kind: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    if not words:
        return ""
    return f'<text class="{kind} {anchor}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
