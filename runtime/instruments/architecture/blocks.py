"""Gather operations into blocks, and say which tensors each block takes and gives."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush

from titrant.runtime.instruments.architecture.layer_graph import MODULES, PRECISION, LayerGraph, Operation
from titrant.runtime.instruments.architecture.names import is_light
from titrant.schema.values.frozen import dataclass

# Deeper blocks than this are drawn in the one that they stand in: no net is nested so deep, and a picture is not.
_DEEPEST = 24


@dataclass(frozen=True)
class ArchitectureBlock:
    """A part of a model: blocks and operations, each after what it reads from.

    `inputs` are tensors that it reads from outside, `outputs` those that are read outside. Where it stands for several
    copies in a row, `copies` names all of them, the first of which has the children, and `outside` names the outputs
    as the rest of the model reads them: those of the last copy. Parameters and FLOPs are those of all copies.
    """

    name: str
    kind: str
    children: "tuple[ArchitectureBlock | Operation, ...]"
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    outside: tuple[str, ...]
    copies: tuple[str, ...]
    operations: int  # of one copy
    parameters: int
    flops: int | None
    made_of: tuple[str, ...] = ()  # the kinds of its layers, where it is a stretch of layers and no block of its own


# Between the names of the first and last layer of a stretch.
JOINED = " … "
_MOST_KINDS = 4

Child = ArchitectureBlock | Operation


def children_outputs(child: Child) -> tuple[str, ...]:
    """Return the tensors that others read of a child."""
    return child.outside if isinstance(child, ArchitectureBlock) else child.outputs


def drawn_operations(architecture: LayerGraph) -> tuple[Operation, ...]:
    """Return the operations that are drawn, wired past those that are not."""
    if architecture.basis == MODULES:  # no data flows
        return tuple(operation for operation in architecture.operations if not operation.hidden)
    past: dict[str, str] = {}
    drawn = []
    for operation in architecture.operations:
        if operation.hidden:
            if operation.hidden == PRECISION and operation.inputs:
                first = past.get(operation.inputs[0], operation.inputs[0])
                past |= dict.fromkeys(operation.outputs, first)
            continue
        drawn.append(_rewired(operation, past) if any(name in past for name in operation.inputs) else operation)
    made = {name for operation in drawn for name in operation.outputs} | set(architecture.inputs)
    return tuple(_without(operation, made) for operation in drawn)


def _rewired(operation: Operation, past: Mapping[str, str]) -> Operation:
    return _with_inputs(operation, tuple(past.get(name, name) for name in operation.inputs))


def _without(operation: Operation, made: set[str]) -> Operation:
    """Drop the inputs that nothing drawn makes: constants, and what is computed of shapes."""
    kept = tuple(dict.fromkeys(name for name in operation.inputs if name in made))
    return operation if kept == operation.inputs else _with_inputs(operation, kept)


def _with_inputs(operation: Operation, inputs: tuple[str, ...]) -> Operation:
    return Operation(
        operation.name, operation.kind, operation.block, inputs, operation.outputs, operation.parameters,
        operation.flops, operation.precision, operation.quantized, operation.detail, operation.shared_with,
    )  # fmt: skip


@dataclass(frozen=True)
class Wiring:
    """Who makes and who reads each tensor, by place in `order`; `given` are the model's outputs."""

    order: tuple[Operation, ...]
    readers: Mapping[str, tuple[int, ...]]
    given: frozenset[str]

    def leaves(self, name: str, first: int, last: int) -> bool:
        """Tell whether a tensor is read by an operation outside first ≤ place < last, or is an output of the model."""
        return name in self.given or any(not first <= place < last for place in self.readers.get(name, ()))


def block_tree(architecture: LayerGraph) -> tuple[ArchitectureBlock, Wiring]:
    """Return the whole model as a block of blocks, nothing of it folded, and its wiring."""
    operations = drawn_operations(architecture)
    nested = _grouped(operations, range(len(operations)), 0)
    order = tuple(operations[place] for place in _flat(nested))
    readers: dict[str, list[int]] = defaultdict(list)
    for place, operation in enumerate(order):
        for name in operation.inputs:
            readers[name].append(place)
    wiring = Wiring(order, {name: tuple(places) for name, places in readers.items()}, frozenset(architecture.outputs))
    kinds = architecture.kinds
    root, _ = _block(_Nested("", nested), wiring, kinds, 0)
    return root, wiring


@dataclass(frozen=True)
class _Nested:
    name: str
    children: "list[int | _Nested]"


def _flat(nested: "Sequence[int | _Nested]") -> Iterator[int]:
    for child in nested:
        if isinstance(child, _Nested):
            yield from _flat(child.children)
        else:
            yield child


def _grouped(operations: Sequence[Operation], places: Sequence[int], depth: int) -> "list[int | _Nested]":
    """Gather the operations at these places by the block that they stand in at this depth, in an order of execution."""
    paths = [operations[place].block for place in places]
    if depth >= _DEEPEST or all(len(path) <= depth for path in paths):
        return list(places)
    keys: list[object] = [
        path[depth] if len(path) > depth else place for place, path in zip(places, paths, strict=True)
    ]
    groups: dict[object, list[int]] = defaultdict(list)
    for key, place in zip(keys, places, strict=True):
        groups[key].append(place)
    order = _sorted_groups(operations, groups)
    if order is None:  # a block that another part runs in the middle of: as many blocks as it is run in pieces
        groups, run = defaultdict(list), 0
        for index, (key, place) in enumerate(zip(keys, places, strict=True)):
            run += bool(index) and key != keys[index - 1]
            groups[(run, key)].append(place)
        order = list(groups)
    children: list[int | _Nested] = []
    for key in order:
        members = groups[key]
        block = operations[members[0]].block
        if len(block) > depth:
            inner = _grouped(operations, members, depth + 1)
            # A block of one layer is that layer.
            alone = len(inner) == 1 and isinstance(inner[0], int)
            children += inner if alone else [_Nested(".".join(block[: depth + 1]), inner)]
        else:
            children += members
    return children


def _sorted_groups(operations: Sequence[Operation], groups: Mapping[object, list[int]]) -> list[object] | None:
    """Return the groups, each after those it reads from and as early as its first operation; None: a circle."""
    group_of = {place: key for key, members in groups.items() for place in members}
    maker = {name: key for place, key in group_of.items() for name in operations[place].outputs}
    if not maker:  # no data flow is known
        return list(groups)
    after: dict[object, set[object]] = {key: set() for key in groups}
    ahead = dict.fromkeys(groups, 0)
    for place, key in group_of.items():
        for name in operations[place].inputs:
            source = maker.get(name, key)
            if source != key and key not in after[source]:
                after[source].add(key)
                ahead[key] += 1
    first = {key: members[0] for key, members in groups.items()}
    by_first = {place: key for key, place in first.items()}
    ready = [first[key] for key, count in ahead.items() if not count]
    heapify(ready)
    order = []
    while ready:
        key = by_first[heappop(ready)]
        order.append(key)
        for other in after[key]:
            ahead[other] -= 1
            if not ahead[other]:
                heappush(ready, first[other])
    return order if len(order) == len(groups) else None


def _block(nested: _Nested, wiring: Wiring, kinds: Mapping[str, str], first: int) -> tuple[ArchitectureBlock, int]:
    children: list[Child] = []
    place = first
    for child in nested.children:
        if isinstance(child, _Nested):
            block, place = _block(child, wiring, kinds, place)
            children.append(block)
        else:
            children.append(wiring.order[place])
            place += 1
    leaving = {name for name in _in_order(children) if wiring.leaves(name, first, place)}
    return made_block(nested.name, kinds.get(nested.name, ""), children, leaving), place


def made_block(name: str, kind: str, children: Sequence[Child], leaving: Collection[str]) -> ArchitectureBlock:
    """Return a block of children; `leaving` are the tensors that are read outside it."""
    made = {output for child in children for output in children_outputs(child)}
    inputs = dict.fromkeys(name for child in children for name in child.inputs if name not in made)
    outputs = tuple(name for name in _in_order(children) if name in leaving)
    counts = [child.flops for child in children if child.flops is not None]
    return ArchitectureBlock(
        name, kind, tuple(children), tuple(inputs), outputs, outputs, (name,), sum(map(count_of, children)),
        sum(child.parameters for child in children), sum(counts) if counts else None,
    )  # fmt: skip


def stretch(children: Sequence[Child], leaving: Collection[str]) -> ArchitectureBlock:
    """Return a block of layers that follow one another, and are no block of the model's."""
    kinds = Counter(child.kind for child in _leaves(children))
    name = children[0].name if len(children) == 1 else f"{_end(children[0], 0)}{JOINED}{_end(children[-1], -1)}"
    block = made_block(name, "", children, leaving)
    heavy = sorted(kinds, key=lambda kind: (is_light(kind), -kinds[kind]))
    return replace(block, made_of=tuple(heavy[:_MOST_KINDS]))


def _end(child: Child, place: int) -> str:
    """Return the name of a child, of a stretch that of its first or last layer."""
    return child.name if isinstance(child, Operation) or not child.made_of else child.copies[place].split(JOINED)[place]


def count_of(child: Child) -> int:
    """Return how many operations a child is, all its copies together."""
    return child.operations * len(child.copies) if isinstance(child, ArchitectureBlock) else 1


def _leaves(children: Sequence[Child]) -> Iterator[Operation]:
    for child in children:
        if isinstance(child, ArchitectureBlock):
            yield from _leaves(child.children)
        else:
            yield child


def without_shells(block: ArchitectureBlock) -> ArchitectureBlock:
    """Return a block in which none holds nothing but one other: such a one is drawn as the one that it holds."""
    children = tuple(
        without_shells(child) if isinstance(child, ArchitectureBlock) else child for child in block.children
    )
    block = replace(block, children=children)
    if len(children) == 1 and isinstance(only := children[0], ArchitectureBlock):
        if len(block.copies) == 1 and block.name:
            return only
        if len(only.copies) == 1:
            return replace(block, children=only.children, kind=only.kind or block.kind)
    return block


def _in_order(children: Sequence[Child]) -> Iterator[str]:
    for child in children:
        yield from children_outputs(child)


def span_name(block: ArchitectureBlock) -> str:
    """Name a block, or the first and last of its copies."""
    names = block.copies
    if block.made_of:
        return f"{names[0].partition(JOINED)[0]}{JOINED}{names[-1].rpartition(JOINED)[2]}"
    if len(names) == 1:
        return names[0]
    begin, end = names[0], names[-1]
    parts, others = begin.split("."), end.split(".")
    same = 0
    while same < min(len(parts), len(others)) - 1 and parts[same] == others[same]:
        same += 1
    return f"{begin} … {'.'.join(others[same:])}"


def common_name(block: ArchitectureBlock) -> str:
    """Return what a block without a class is called: the last part of its name, or the kinds of its layers."""
    if block.made_of:
        return ", ".join(block.made_of)
    return block.name.rpartition(".")[2]
