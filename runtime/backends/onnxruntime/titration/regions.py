"""Part a graph into regions whose layers change their precision together: blocks, between tensors that all go through.

Where int8 and float meet, numbers are converted. Between two tensors that every path goes through that happens once.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import LOOKUPS, STANDARD, WEIGHTED, reads
from titrant.runtime.backends.onnxruntime.layer_names import GraphNames, layers_by_node
from titrant.runtime.backends.onnxruntime.left_float import owners
from titrant.schema.values.frozen import dataclass

MOST_REGIONS = 20
# A block of so many layers stays whole: of as many under any names, or of one module.
_ANY_NAMES, _ONE_MODULE, _SHARE = 4, 6, 4
# Tensors that cross a border besides the one that all goes through: skip connections, another branch's answer.
_CROSSING = 3
_SIZES = ("Shape", "Size")
_STEP = re.compile(r"[./]*[^./]+")


@dataclass(frozen=True)
class Region:
    """Layers of the original that change together, and the nodes of the graph that go with them.

    `nodes` are those with weights and what belongs to them (`owners`), in the graph's order.
    `inseparable`: more than a block, yet no tensor inside it is one that all paths, or all but three, go through.
    """

    name: str
    layers: tuple[str, ...]
    nodes: tuple[str, ...]
    inseparable: bool = False


@dataclass(frozen=True)
class _Piece:
    """A stretch of the graph: its nodes as places in the order."""

    places: tuple[int, ...]
    layers: tuple[str, ...]
    inseparable: bool = False


def regions(graph: onnx.ModelProto, layers: Sequence[str]) -> tuple[Region, ...]:
    """Return at most twenty regions, in the order of computing; each layer with int8 kernels is in exactly one.

    `layers` are names of the original's layers; those that no node with weights in fp32 computes are in none. Residual
    blocks, inverted residuals, attention and feed-forward stay whole. A layer that is called twice joins what lies
    around both calls.
    """
    names = GraphNames.of(graph.graph)
    owned = {node: layer for node, layer in layers_by_node(graph.graph, layers).items() if _has_kernel(names, node)}
    if not owned:
        return ()
    flow = _Flow.of(graph, names, owned)
    pieces = flow.pieces(range(len(flow.order)))
    pieces = _fewer(_modules_whole(_joined(pieces), tuple(dict.fromkeys(owned.values()))))
    made_by = owners(names)
    computed = set(owned.values())
    first = {layer: place for place, layer in enumerate(layers) if layer in computed}
    made = []
    for piece in pieces:
        mine = {node for node, layer in owned.items() if layer in piece.layers}
        nodes = tuple(node for node in names.nodes if made_by.get(node) in mine)
        ordered = tuple(sorted(piece.layers, key=first.__getitem__))
        made.append(Region(_name(ordered, tuple(first)), ordered, nodes, piece.inseparable))
    return tuple(made)


def _has_kernel(names: GraphNames, node: str) -> bool:
    return names.nodes[node].op_type in (*WEIGHTED, *LOOKUPS) and names.nodes[node].domain in STANDARD


@dataclass(frozen=True)
class _Flow:
    """The nodes of a graph, one branch after the other, and from where to where each tensor is needed."""

    order: tuple[str, ...]
    layers: Mapping[int, str]  # place → layer, of nodes that have one
    spans: Mapping[str, tuple[int, ...]]  # tensor → the place where it is made, and those where it is read

    @classmethod
    def of(cls, graph: onnx.ModelProto, names: GraphNames, owned: Mapping[str, str]) -> "_Flow":
        top = {name for node in graph.graph.node for name in [names.makers.get(node.output[0], "")] if name}
        order = tuple(_branch_by_branch(graph, names, top))
        places = {name: place for place, name in enumerate(order)}
        made: dict[str, int] = {}
        spans: dict[str, tuple[int, ...]] = {}
        weighed: set[str] = set()  # tensors that depend on a node with weights
        for place, name in enumerate(order):
            node = names.nodes[name]
            if node.op_type in _SIZES:
                continue
            read = [tensor for tensor in reads(node) if tensor in made or tensor not in names.makers]
            read = [tensor for tensor in read if tensor and tensor not in names.constants]
            for tensor in read:
                # What no weights made is not carried over: it is there when it is first read.
                start = made[tensor] if tensor in weighed else place
                spans[tensor] = (*spans.get(tensor, (start,)), place)
            if read or name in owned:
                made |= {tensor: place for tensor in node.output if tensor}
            if name in owned or weighed.intersection(read):
                weighed |= {*node.output}
        layers = {places[node]: layer for node, layer in owned.items() if node in places}
        return cls(order, layers, spans)

    def pieces(self, places: Iterable[int], without: frozenset[str] = frozenset()) -> list[_Piece]:
        """Part a stretch where one tensor or none is needed on both sides, not counting those of `without`."""
        parted: list[_Piece] = []
        for stretch in self._parted(tuple(places), without):
            piece = _Piece(stretch, self._layers(stretch))
            crossing = self._way_in(piece, without)
            if crossing:
                parted += self.pieces(stretch, crossing)
            else:
                parted.append(replace(piece, inseparable=not self._is_block(piece.layers)))
        return [piece for piece in parted if piece.layers]

    def _way_in(self, piece: _Piece, without: frozenset[str]) -> frozenset[str]:
        """Return the tensors that may cross the borders inside a stretch, the fewest that part it; none to leave it.

        A block is parted only into blocks, where one tensor from elsewhere waits for its end.
        """
        if len(piece.layers) <= 1:
            return frozenset()
        block = self._is_block(piece.layers)
        for crossing in self._longest(piece.places, without):
            sizes = [len(layers) for part in self._parted(piece.places, crossing) if (layers := self._layers(part))]
            waits = all(self._waits(tensor, piece.places) for tensor in crossing - without)
            if len(sizes) > 1 and (not block or (waits and min(sizes) > 1)):
                return crossing
            if block:
                break
        return frozenset()

    def _waits(self, tensor: str, places: Sequence[int]) -> bool:
        """Whether a tensor is made before a stretch, and read there once."""
        made, *read = self.spans[tensor]
        return made < places[0] and sum(place in places for place in read) == 1

    def _layers(self, places: Collection[int]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.layers[place] for place in places if place in self.layers))

    def _is_block(self, layers: Sequence[str]) -> bool:
        """Whether so many layers may be one block."""
        total = len(set(self.layers.values()))
        if len(layers) <= 1:
            return True
        inner = len(_shared(layers)) > len(_shared(tuple(self.layers.values())))
        return len(layers) <= (max(_ONE_MODULE, total // _SHARE) if inner else _ANY_NAMES)

    def _longest(self, places: Sequence[int], without: frozenset[str]) -> Iterator[frozenset[str]]:
        """Yield ever more tensors that may cross borders within a stretch: all that pass it, and the longest held."""
        first, last = places[0], places[-1]
        passing = frozenset(tensor for tensor, span in self.spans.items() if span[0] < first and span[-1] > last)
        held = []
        for tensor, span in self.spans.items():
            start, end = max(span[0], first), min(span[-1], last)
            spanned = sum(place in self.layers for place in range(start + 1, end))
            if tensor not in passing and spanned:
                held.append((-spanned, start, tensor))
        crossing = without | passing
        left = _CROSSING - sum(tensor in without for _, _, tensor in held)
        fresh = [tensor for _, _, tensor in sorted(held) if tensor not in without]
        for tensor in fresh[: max(left, 0)]:
            crossing |= {tensor}
            yield crossing

    def _parted(self, places: Sequence[int], without: frozenset[str]) -> Iterator[tuple[int, ...]]:
        """Yield the stretches between places where one tensor or none is needed on both sides."""
        changes = dict.fromkeys(range(places[0], places[-1] + 2), 0)
        for tensor, span in self.spans.items():
            start, end = max(span[0], places[0]), min(span[-1], places[-1])
            if tensor not in without and start < end:
                changes[start] += 1
                changes[end] -= 1
        begin, held = 0, 0
        for index, place in enumerate(places):
            held += changes[place]
            if held <= 1 or index == len(places) - 1:
                yield tuple(places[begin : index + 1])
                begin = index + 1


def _branch_by_branch(graph: onnx.ModelProto, names: GraphNames, top: Collection[str]) -> Iterator[str]:
    """Yield nodes so that each follows what it reads, and a branch is whole before the next begins."""
    done: set[str] = set()
    ends = [names.makers[value.name] for value in graph.graph.output if value.name in names.makers]
    for end in (*ends, *(name for name in names.nodes if name in top)):
        waiting = [(end, False)]
        while waiting:
            name, complete = waiting.pop()
            if complete:
                yield name
            if complete or name in done or name not in top:
                continue
            done.add(name)
            waiting.append((name, True))
            node = names.nodes[name]
            inside = sorted(reads(node) - set(node.input))
            makers = [names.makers[tensor] for tensor in (*node.input, *inside) if tensor in names.makers]
            waiting += [(maker, False) for maker in reversed(makers)]


def _joined(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Join pieces that compute the same layer: it has one precision wherever it is called."""
    joined: list[_Piece] = []
    for piece in pieces:
        same = [other for other in joined if set(other.layers) & set(piece.layers)]
        joined = [other for other in joined if other not in same]
        joined.append(_union((*same, piece)))
    return sorted(joined, key=lambda piece: piece.places[0])


def _union(pieces: Iterable[_Piece]) -> _Piece:
    every = tuple(pieces)
    places = tuple(sorted(place for piece in every for place in piece.places))
    layers = tuple(dict.fromkeys(layer for piece in every for layer in piece.layers))
    return _Piece(places, layers, any(piece.inseparable for piece in every))


def _modules_whole(pieces: list[_Piece], layers: tuple[str, ...]) -> list[_Piece]:
    """Join what belongs to one small module, the innermost first, where a single layer would else stand alone."""
    modules = {_path(layer)[:depth] for layer in layers for depth in range(1, len(_path(layer)))}
    modules -= {_shared(layers)[:depth] for depth in range(len(_shared(layers)) + 1)}
    for module in sorted(modules, key=lambda path: (-len(path), path)):
        of_module = {layer for layer in layers if _path(layer)[: len(module)] == module}
        run = [place for place, piece in enumerate(pieces) if of_module.issuperset(piece.layers)]
        covered = {layer for place in run for layer in pieces[place].layers}
        alone = any(len(pieces[place].layers) == 1 for place in run)
        if covered == of_module and alone and 1 < len(run) == run[-1] - run[0] + 1 and len(covered) <= _ONE_MODULE:
            pieces = [*pieces[: run[0]], _union(pieces[run[0] : run[-1] + 1]), *pieces[run[-1] + 1 :]]
    return pieces


def _fewer(pieces: list[_Piece]) -> list[_Piece]:
    """Join neighbours, those of one module and with the fewest layers first, until few enough are left."""
    while len(pieces) > MOST_REGIONS:
        together = [(*piece.layers, *after.layers) for piece, after in pairwise(pieces)]
        keys = [(-len(_shared(layers)), len(layers), place) for place, layers in enumerate(together)]
        place = min(keys)[-1]
        pieces = [*pieces[:place], _union(pieces[place : place + 2]), *pieces[place + 2 :]]
    return pieces


def _path(layer: str) -> tuple[str, ...]:
    """Return the steps of a name, separators included: layer1.0.conv1 and /layer1/conv1/Conv alike."""
    return tuple(_STEP.findall(layer)) or (layer,)


def _shared(layers: Sequence[str]) -> tuple[str, ...]:
    """Return the steps of the module that some layers lie in."""
    paths = [_path(layer) for layer in layers]
    shortest = min(len(path) - 1 for path in paths)
    alike = next((depth for depth in range(shortest) if len({path[depth] for path in paths}) > 1), shortest)
    return paths[0][:alike]


def _name(layers: tuple[str, ...], every: tuple[str, ...]) -> str:
    """Name a region after its only layer, or its module where that has no others, or its first and last layers."""
    if len(layers) == 1:
        return layers[0]
    module = _shared(layers)
    whole = {layer for layer in every if _path(layer)[: len(module)] == module}
    return "".join(module) if module and whole == set(layers) else f"{layers[0]}..{layers[-1]}"
