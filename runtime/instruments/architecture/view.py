"""Choose which blocks of a model are drawn open, and stack light layers onto the layer that they follow."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping

from titrant.runtime.instruments.architecture.architecture import Operation
from titrant.runtime.instruments.architecture.blocks import ArchitectureBlock, Child
from titrant.runtime.instruments.architecture.names import is_light
from titrant.schema.values.frozen import dataclass

# Fewer boxes than this say too little: then blocks are opened one by one, and not all of a kind at once.
_FEW_BOXES = 10
# So many layers stand in one box at most.
_TALLEST = 6


@dataclass(frozen=True)
class Stack:
    """Layers that data passes one after the other, drawn as one box: the first, then what is light."""

    layers: tuple[Operation, ...]

    @property
    def name(self) -> str:
        """The name of the first layer."""
        return self.layers[0].name

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the first layer reads, and what the others read from elsewhere."""
        made = {name for layer in self.layers for name in layer.outputs}
        return tuple(dict.fromkeys(name for layer in self.layers for name in layer.inputs if name not in made))

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the last layer makes."""
        return self.layers[-1].outputs


@dataclass(frozen=True)
class OpenBlock:
    """A block with what stands in it."""

    block: ArchitectureBlock
    items: "tuple[Item, ...]"


Item = Stack | ArchitectureBlock | OpenBlock


def item_inputs(item: Item) -> tuple[str, ...]:
    """Return the tensors that an item reads."""
    return item.block.inputs if isinstance(item, OpenBlock) else item.inputs


def item_outputs(item: Item) -> tuple[str, ...]:
    """Return the tensors that others read of an item, as they name them."""
    if isinstance(item, Stack):
        return item.outputs
    return item.block.outside if isinstance(item, OpenBlock) else item.outside


def view(root: ArchitectureBlock, boxes: int) -> OpenBlock:
    """Open a block, and of those in it as many as leave at most `boxes` boxes; blocks of one kind open together."""
    opened = {id(root)}
    _open_kinds(root, opened, boxes)
    if _boxes(root, opened) < _FEW_BOXES:
        _open_singly(root, opened, boxes)
    return _open(root, opened)


def _open(block: ArchitectureBlock, opened: Collection[int]) -> OpenBlock:
    items: list[Item] = []
    for item in stacked(block):
        items.append(_opened(item, opened) if isinstance(item, ArchitectureBlock) and id(item) in opened else item)
    return OpenBlock(block, tuple(items))


def _opened(block: ArchitectureBlock, opened: Collection[int]) -> Item:
    inside = _open(block, opened)
    alone = len(inside.items) == 1 and len(block.copies) == 1 and isinstance(inside.items[0], Stack)
    return inside.items[0] if alone else inside  # a frame around one box says nothing


def _open_kinds(root: ArchitectureBlock, opened: set[int], boxes: int) -> None:
    """Open all blocks of a kind at a depth, the highest first, and of one depth those first that add least."""
    refused: set[object] = set()
    while True:
        closed: dict[object, list[ArchitectureBlock]] = defaultdict(list)
        for depth, block in _closed(root, opened, 0):
            closed[depth, block.kind, len(block.copies) > 1 and not block.kind].append(block)
        choices = [(key, blocks) for key, blocks in closed.items() if key not in refused]
        if not choices:
            return
        key, blocks = min(choices, key=lambda choice: (choice[0][0], sum(map(_inside, choice[1]))))  # type: ignore[index]
        more = {id(block) for block in blocks}
        if _boxes(root, opened | more) <= boxes:
            opened |= more
        else:
            refused.add(key)


def _open_singly(root: ArchitectureBlock, opened: set[int], boxes: int) -> None:
    refused: set[int] = set()
    while True:
        closed = [(depth, block) for depth, block in _closed(root, opened, 0) if id(block) not in refused]
        if not closed:
            return
        _, block = min(closed, key=lambda choice: (choice[0], _inside(choice[1])))
        if _boxes(root, opened | {id(block)}) <= boxes:
            opened.add(id(block))
        else:
            refused.add(id(block))


def _closed(block: ArchitectureBlock, opened: Collection[int], depth: int) -> Iterator[tuple[int, ArchitectureBlock]]:
    for child in block.children:
        if isinstance(child, ArchitectureBlock):
            if id(child) in opened:
                yield from _closed(child, opened, depth + (len(block.children) > 1))
            else:
                yield depth, child


def _inside(block: ArchitectureBlock) -> int:
    return sum(1 for _ in stacked(block))


def _boxes(block: ArchitectureBlock, opened: Collection[int]) -> int:
    return sum(
        _boxes(item, opened) if isinstance(item, ArchitectureBlock) and id(item) in opened else 1
        for item in stacked(block)
    )


def stacked(block: ArchitectureBlock) -> "tuple[Stack | ArchitectureBlock, ...]":
    """Return the children of a block, each light layer in one box with what it follows, where nothing else reads that."""
    readers = Counter(name for child in block.children for name in child.inputs)
    for name in block.outputs:
        readers[name] += 1
    tops: dict[str, int] = {}  # the tensor that a stack ends with → its place among the items
    items: list[list[Operation] | ArchitectureBlock] = []
    for child in block.children:
        place = _beneath(child, tops, readers, items)
        if place is None:
            place = len(items)
            items.append([child] if isinstance(child, Operation) else child)
        else:
            items[place].append(child)  # type: ignore[union-attr, arg-type]
        if isinstance(child, Operation) and len(child.outputs) == 1:
            tops[child.outputs[0]] = place
    return tuple(Stack(tuple(item)) if isinstance(item, list) else item for item in items)


def _beneath(
    child: Child,
    tops: Mapping[str, int],
    readers: Mapping[str, int],
    items: "list[list[Operation] | ArchitectureBlock]",
) -> int | None:
    """Return the place of the box that a layer is added to; None where it has one of its own."""
    if not isinstance(child, Operation) or not is_light(child.kind) or len(child.inputs) != 1:
        return None
    place = tops.get(child.inputs[0])
    if place is None or readers[child.inputs[0]] != 1:
        return None
    above = items[place]
    return place if isinstance(above, list) and len(above) < _TALLEST else None


def closed_blocks(view_of: OpenBlock) -> Iterator[ArchitectureBlock]:
    """Yield the blocks that a drawing leaves closed."""
    for item in view_of.items:
        if isinstance(item, OpenBlock):
            yield from closed_blocks(item)
        elif isinstance(item, ArchitectureBlock):
            yield item
