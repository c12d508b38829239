"""Lay out a block and the blocks open in it: where boxes, frames and lines of data go."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace

from titrant.runtime.instruments.architecture.boxes import pill_size, size_of
from titrant.runtime.instruments.architecture.place import Node, Placed, Spot, place
from titrant.runtime.instruments.architecture.view import Item, OpenBlock, item_inputs, item_outputs
from titrant.schema.values.frozen import dataclass

BAR = 22.0  # the height of a frame's title
_GAP, _CLOSE, _PADDING, _NARROWEST = 28.0, 10.0, 12.0, 190.0
# Two tensors that leave or enter a box beside one another are so far apart.
_PORTS_APART = 22.0


@dataclass(frozen=True)
class End:
    """A tensor of the model, or of the block that is drawn, where it comes in or goes out."""

    tensor: str
    words: str
    second: str
    comes_in: bool


@dataclass(frozen=True)
class Sketch:
    """A block that is laid out: nodes and what they are of, with the layouts of open blocks by their place.

    An item of None is a port of the frame, or an end. `bundles` gives for a tensor all those that go the same way, and
    are drawn as one line.
    """

    placed: Placed
    nodes: tuple[Node, ...]
    items: "tuple[Item | None, ...]"
    inner: "Mapping[int, Sketch]"
    bundles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def sketch(
    shown: OpenBlock, ends: Sequence[End] | None, *, flows: bool, merged: Mapping[str, str] | None = None
) -> Sketch:
    """Lay out an open block; `ends` are drawn as pills, None: as ports of its frame.

    `merged` names, for a tensor that comes in or goes out, the one whose port it shares. Without `flows` the boxes
    stand below one another.
    """
    ports = {} if ends is not None else dict(merged or {})
    lead = _bundled(shown, ports)
    inner = {
        index: _inside(item, lead, flows=flows) for index, item in enumerate(shown.items) if isinstance(item, OpenBlock)
    }
    nodes = [_node(item, inner.get(index), lead) for index, item in enumerate(shown.items)]
    before, after = _ports_of(shown, ports) if ends is None else _pills(ends)
    if not flows and ends is None:
        before, after = [], []
    nodes = [*before, *nodes, *after]
    items = (*([None] * len(before)), *shown.items, *([None] * len(after)))
    inner = {index + len(before): each for index, each in inner.items()}
    if not flows:
        nodes = [_chained(node, index) for index, node in enumerate(nodes)]
    placed = place(nodes, _GAP if flows else _CLOSE)
    if any(len(node.takes) > 1 or len(node.gives) > 1 for node in nodes):
        # Where data enters and leaves is known once it is known whence it comes.
        nodes = _entered(nodes, placed)
        placed = place(nodes, _GAP)
    members: dict[str, list[str]] = defaultdict(list)
    for name, first in lead.items():
        members[first].append(name)
    bundles = {first: tuple(names) for first, names in members.items() if len(names) > 1}
    return Sketch(placed, tuple(nodes), items, inner, bundles)


def _bundled(shown: OpenBlock, merged: dict[str, str]) -> dict[str, str]:
    """Return for each tensor the one that it is drawn with: those of one maker that have the same readers go together."""
    readers: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(shown.items):
        for name in item_inputs(item):
            readers[name].append(index)
    for name in shown.block.outputs:
        readers[name].append(-1)
    lead = {name: merged.get(name, name) for name in shown.block.inputs}
    for item in shown.items:
        groups: dict[object, str] = {}
        for name in item_outputs(item):
            if readers[name] and -1 not in readers[name]:
                lead[name] = groups.setdefault(tuple(readers[name]), name)
            else:
                lead.setdefault(name, name)
    return lead


def _inside(item: OpenBlock, lead: Mapping[str, str], *, flows: bool) -> Sketch:
    """Lay out an open block so that tensors which go together outside share a port of its frame."""
    inner_name = dict(zip(item.block.outside, item.block.outputs, strict=True))
    merged = {name: lead.get(name, name) for name in item.block.inputs}
    merged |= {inner_name[name]: inner_name.get(lead.get(name, name), inner_name[name]) for name in item.block.outside}
    return sketch(item, None, flows=flows, merged=merged)


def _ports_of(shown: OpenBlock, merged: Mapping[str, str]) -> tuple[list[Node], list[Node]]:
    made = {name for item in shown.items for name in item_outputs(item)}
    come = list(dict.fromkeys(merged.get(name, name) for name in shown.block.inputs))
    go: dict[str, list[str]] = defaultdict(list)
    for name in shown.block.outputs:
        if name in made:
            go[merged.get(name, name)].append(name)
    return [_port((), (name,)) for name in come], [_port(tuple(names), ()) for names in go.values()]


def _pills(ends: Sequence[End]) -> tuple[list[Node], list[Node]]:
    before, after = [], []
    for end in ends:
        width, height = pill_size(end.words, end.second)
        if end.comes_in:
            before.append(Node(width, height, (), (end.tensor,), {}, {}))
        else:
            after.append(Node(width, height, (end.tensor,), (), {}, {}, port=True))
    return before, after


def _port(takes: tuple[str, ...], gives: tuple[str, ...]) -> Node:
    return Node(2.0, 0.0, takes, gives, {}, {}, port=True)


def _chained(node: Node, index: int) -> Node:
    return Node(node.width, node.height, (f"{index - 1}",) if index else (), (f"{index}",), {}, {}, port=node.port)


def _node(item: Item, inside: Sketch | None, lead: Mapping[str, str]) -> Node:
    takes = tuple(dict.fromkeys(lead.get(name, name) for name in item_inputs(item)))
    gives = tuple(dict.fromkeys(lead.get(name, name) for name in item_outputs(item)))
    if not isinstance(item, OpenBlock):
        width, height = size_of(item)
        return Node(width, height, takes, gives, {}, _spread(gives, width))
    assert inside is not None
    ports = list(_ports(inside))
    width = max(inside.placed.width + 2 * _PADDING, _NARROWEST)
    height = inside.placed.height + BAR + (0 if any(node.takes for node, _ in ports) else _PADDING)
    middle = inside.placed.width / 2
    enters = {name: spot.x - middle for node, spot in ports for name in node.gives}
    outs = {name: spot.x - middle for node, spot in ports for name in node.takes}
    outer = dict(zip(item.block.outputs, item.block.outside, strict=True))
    leaves = {lead.get(outer[name], outer[name]): x for name, x in outs.items() if name in outer}
    return Node(width, height, takes, gives, enters, leaves)


def _spread(names: Sequence[str], width: float, main: float | None = None) -> dict[str, float]:
    """Place tensors beside one another at the edge of a box, the `main` one in the middle."""
    center = (len(names) - 1) / 2 if main is None else main
    offsets = {name: (at - center) * _PORTS_APART for at, name in enumerate(names)}
    widest = max((abs(offset) for offset in offsets.values()), default=0.0)
    return {name: offset * (min(1.0, (width / 2 - 14) / widest) if widest else 1.0) for name, offset in offsets.items()}


def _ports(inside: Sketch) -> Iterator[tuple[Node, Spot]]:
    for node, spot in zip(inside.nodes, inside.placed.spots, strict=True):
        if node.port:
            yield node, spot


def _entered(nodes: Sequence[Node], placed: Placed) -> list[Node]:
    """Say where tensors enter and leave boxes that have several: in their order, that of the longest way in the middle."""
    coming: dict[int, dict[str, tuple[float, bool]]] = defaultdict(dict)
    going: dict[int, dict[str, tuple[float, bool]]] = defaultdict(dict)
    for route in placed.routes:
        coming[route.target][route.tensor] = (route.points[-2][0], route.main)
        before = going[route.source].get(route.tensor, (route.points[1][0], False))
        going[route.source][route.tensor] = (before[0], before[1] or route.main)
    changed = []
    for index, node in enumerate(nodes):
        if node.port:
            changed.append(node)
            continue
        enters = node.enters or _ordered(coming[index], node.width)
        # An open block's data leaves where it comes out inside, which is known already.
        leaves = node.leaves if node.enters else _ordered(going[index], node.width)
        changed.append(replace(node, enters=enters, leaves=leaves))
    return changed


def _ordered(tensors: Mapping[str, tuple[float, bool]], width: float) -> dict[str, float]:
    names = sorted(tensors, key=lambda name: tensors[name][0])
    main = next((float(at) for at, name in enumerate(names) if tensors[name][1]), None)
    return _spread(names, width, main)


def read_count(inside: Sketch) -> Mapping[str, int]:
    """Return how many boxes read each tensor; what only leaves the frame has none."""
    reads = Counter(route.tensor for route in inside.placed.routes if inside.nodes[route.target].height)
    return reads
