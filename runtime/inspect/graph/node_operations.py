"""Read an ONNX graph as operations by torch's names, where what OpenVINO fuses by a pattern is one operation."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from titrant.runtime.inspect.graph.range_graph import (
    ATTENTION,
    LSTM,
    PLAIN_ATTENTION,
    RECURRENT,
    RangeGraph,
    RangeOperation,
)

if TYPE_CHECKING:
    import onnx

# Node → what torch calls the same, how many nodes OpenVINO makes of it, and how many constants they read at least: axes
# and shapes, which older nodes have as attributes. Others, of which it may make anything, are not read.
_NAMES = {
    "Conv": ("convolution", 2, 2), "ConvTranspose": ("convolution", 2, 2), "Gemm": ("addmm", 2, 2),
    "MatMul": ("mm", 1, 0), "Add": ("add", 1, 0), "Sub": ("sub", 1, 0), "Mul": ("mul", 1, 0), "Div": ("div", 1, 0),
    "Pow": ("pow", 1, 0), "Relu": ("relu", 1, 0), "LeakyRelu": ("leaky_relu", 1, 1), "PRelu": ("_prelu_kernel", 1, 0),
    "Sigmoid": ("sigmoid", 1, 0), "Tanh": ("tanh", 1, 0), "Erf": ("erf", 1, 0), "Sqrt": ("sqrt", 1, 0),
    "Neg": ("neg", 1, 1), "Reciprocal": ("reciprocal", 1, 1), "Clip": ("clamp", 1, 0), "Exp": ("exp", 1, 0),
    "Softmax": ("_softmax", 1, 0), "HardSigmoid": ("hard_sigmoid", 1, 2), "HardSwish": ("hard_swish", 1, 0),
    "Gelu": ("gelu", 1, 0), "LayerNormalization": ("native_layer_norm", 3, 3), "Concat": ("cat", 1, 0),
    "Reshape": ("view", 1, 1), "Flatten": ("view", 1, 1), "Squeeze": ("squeeze", 1, 1),
    "Unsqueeze": ("unsqueeze", 1, 1), "Transpose": ("permute", 1, 1), "Slice": ("select", 1, 4),
    "Split": ("split", 1, 2), "Gather": ("select", 1, 2), "Expand": ("expand", 1, 1), "Tile": ("repeat", 1, 1),
    "Pad": ("constant_pad_nd", 1, 3), "MaxPool": ("max_pool2d_with_indices", 1, 0),
    "AveragePool": ("avg_pool2d", 1, 0), "GlobalAveragePool": ("mean", 1, 1), "ReduceMean": ("mean", 1, 1),
    "Resize": ("resize", 1, 2), "Upsample": ("resize", 1, 2), "Where": ("where", 1, 0), "Cast": ("alias", 1, 0),
    "Not": ("logical_not", 1, 0), "And": ("logical_and", 1, 0), "Equal": ("eq", 1, 0), "Less": ("lt", 1, 0),
    "Greater": ("gt", 1, 0),
    "LSTM": (LSTM, 8, 9), "GRU": (RECURRENT, 8, 9), "RNN": (RECURRENT, 8, 9),
    # Nothing is left of them: a normalization is a part of the convolution before it.
    "Identity": ("alias", 0, 0), "Dropout": ("alias", 0, 0), "BatchNormalization": ("alias", 0, 0),
}  # fmt: skip
# They read shapes, from which no number of an activation comes.
_OF_SHAPES = ("Shape", "Constant", "ConstantOfShape", "Size", "Range")
# What an activation that is written out has before its function, at most so many.
_BY_ELEMENT, _MOST_ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Pow"), 8
# What is left of the nodes of a pattern: a normalization with its axes, scale and shift; an attention that scales its
# queries by the length of a head, which is read from a shape, or by a number.
_NORM_NODES, _SCALED_NODES, _SCALED_BY_NUMBER_NODES = 6, 13, 3


@dataclass(frozen=True)
class NodeOperations:
    """Operations of an ONNX graph, with the inputs' numbers and how many tensors there are in all.

    `nodes` says how many OpenVINO makes of them, constants included, estimated.
    """

    operations: tuple[RangeOperation, ...]
    sources: tuple[int, ...]
    tensors: int
    nodes: int

    def ranges(self) -> int:
        """Return how many activations NNCF gives a range of int8."""
        return RangeGraph(self.operations).ranges(self.sources, self.tensors)


@dataclass(frozen=True)
class _Pattern:
    """Nodes, by their places, that become one operation; what it takes, and what the last of them makes."""

    name: str
    places: frozenset[int]
    given: tuple[str, ...]
    nodes: int

    @property
    def last(self) -> int:
        """The place of the node that makes what the operation makes."""
        return max(self.places)


def node_operations(graph: "onnx.GraphProto", constants: Collection[str]) -> NodeOperations | None:
    """Return the operations of a graph; None where one of its nodes is not known here.

    `constants` are the names of what the graph holds.
    """
    reader = _Reader(graph, constants)
    patterns = {pattern.last: pattern for pattern in reader.patterns()}
    within = {place for pattern in patterns.values() for place in pattern.places}
    numbers = {value.name: place for place, value in enumerate(graph.input, 1) if value.name in reader.computed}
    sources, count, nodes = tuple(numbers.values()), len(graph.input), len(numbers)
    operations: list[RangeOperation] = []
    for place, node in reader.nodes():
        pattern = patterns.get(place)
        if pattern is None and place in within:
            continue
        if pattern is None and node.op_type not in _NAMES:
            return None
        name = pattern.name if pattern else reader.named(node)
        operands = pattern.given if pattern else tuple(name for name in node.input if name)
        made = tuple(range(count + 1, count + 1 + len(node.output)))
        count += len(made)
        given = tuple(numbers[operand] for operand in operands if operand in numbers)
        weights = tuple(number for number, operand in enumerate(operands) if operand not in numbers)
        numbers.update(zip(node.output, made, strict=True))
        operations.append(RangeOperation(name, given, made, weights))
        nodes += pattern.nodes if pattern else _nodes(node, len(weights))
    return NodeOperations(tuple(operations), sources, count, nodes + len(graph.output))


def _nodes(node: "onnx.NodeProto", constants: int) -> int:
    _, nodes, least = _NAMES[node.op_type]
    return nodes + max(least, constants) if nodes else 0


class _Reader:
    """An ONNX graph with who makes and who reads each tensor, and which are computed from its inputs' numbers."""

    def __init__(self, graph: "onnx.GraphProto", constants: Collection[str]) -> None:
        self._nodes = graph.node
        self._held = frozenset(constants)
        self.computed = {value.name for value in graph.input if value.name not in self._held}
        self._maker: dict[str, int] = {}
        self._readers: Mapping[str, list[int]] = defaultdict(list)
        self._computing: list[int] = []
        for place, node in enumerate(graph.node):
            for name in node.input:
                self._readers[name].append(place)
            self._maker.update(dict.fromkeys(node.output, place))
            if node.op_type not in _OF_SHAPES and any(name in self.computed for name in node.input):
                self.computed.update(node.output)
                self._computing.append(place)

    def nodes(self) -> "Iterator[tuple[int, onnx.NodeProto]]":
        """List the nodes that compute on numbers of the inputs, with their places."""
        return ((place, self._nodes[place]) for place in self._computing)

    def named(self, node: "onnx.NodeProto") -> str:
        """Return what torch calls a node."""
        if node.op_type == "MatMul" and all(each in self.computed for each in node.input):
            return "bmm"
        if node.op_type == "Gather" and node.input[0] not in self.computed:
            return "embedding"
        return _NAMES[node.op_type][0]

    def patterns(self) -> Iterator[_Pattern]:
        """Yield what is one operation, no node in two of them."""
        taken: set[int] = set()
        for place, node in self.nodes():
            pattern = _FINDERS[node.op_type](self, place) if node.op_type in _FINDERS else None
            if pattern is not None and not pattern.places & taken:
                taken |= pattern.places
                yield pattern

    def _before(self, name: str, *kinds: str) -> int | None:
        """Return the place of the node that makes a tensor, if it is of these kinds and computes."""
        place = self._maker.get(name)
        fits = place is not None and name in self.computed and self._nodes[place].op_type in kinds
        return place if fits else None

    def _after(self, place: int, *kinds: str) -> int | None:
        """Return the place of the only node that reads what another makes, if it is of these kinds."""
        readers = self._readers[self._nodes[place].output[0]]
        return readers[0] if len(readers) == 1 and self._nodes[readers[0]].op_type in kinds else None

    def _operand(self, place: int) -> str:
        """Return the first computed operand of a node."""
        return next((name for name in self._nodes[place].input if name in self.computed), "")

    def _constant(self, place: int) -> str:
        """Return the first operand of a node that is none of the computed ones."""
        return next((name for name in self._nodes[place].input if name not in self.computed), "")

    def activation(self, place: int) -> _Pattern | None:
        """Find x · f(…x…) behind a sigmoid, an error function or a hyperbolic tangent: SiLU, or GELU in either form."""
        places, end = {place}, place
        shift = self._after(place, "Add")
        if shift is not None and self._constant(shift):
            places.add(end := shift)
        gated = ""
        while (product := self._after(end, "Mul")) is not None and not (gated and not self._constant(product)):
            places.add(end := product)
            others = [name for name in self._nodes[product].input if name in self.computed]
            gated = gated or next((name for name in others if self._maker.get(name) not in places), "")
        ahead = self._elements_between(self._nodes[place].input[0], self._source(gated))
        if not gated or ahead is None:
            return None
        name = "silu" if self._nodes[place].op_type == "Sigmoid" else "gelu"
        return _Pattern(name, frozenset(places | ahead | self._halved(gated)), (self._source(gated),), 1)

    def _halved(self, name: str) -> set[int]:
        place = self._before(name, "Mul")
        return {place} if place is not None and self._constant(place) else set()

    def _source(self, name: str) -> str:
        """Return what a tensor is a multiple of."""
        return next((self._operand(place) for place in self._halved(name)), name)

    def _elements_between(self, name: str, source: str) -> set[int] | None:
        """Return the nodes by which a tensor is computed from another element by element; None where it is not."""
        places: set[int] = set()
        ahead = [name]
        while ahead:
            name = ahead.pop()
            if name == source or name not in self.computed:
                continue
            place = self._before(name, *_BY_ELEMENT)
            if place is None or len(places) > _MOST_ELEMENTWISE:
                return None
            if place not in places:
                places.add(place)
                ahead += self._nodes[place].input
        return places

    def norm(self, place: int) -> _Pattern | None:
        """Find (x - mean) / sqrt(mean((x - mean)²) + ε), with a scale and a shift, behind its division."""
        node = self._nodes[place]
        centered, root = self._before(node.input[0], "Sub"), self._before(node.input[1], "Sqrt")
        shifted = self._before(self._operand(root), "Add") if root is not None else None
        variance = self._before(self._operand(shifted), "ReduceMean") if shifted is not None else None
        squares = self._before(self._operand(variance), "Pow", "Mul") if variance is not None else None
        if centered is None or root is None or shifted is None or variance is None or squares is None:
            return None
        given, mean = self._nodes[centered].input[0], self._before(self._nodes[centered].input[1], "ReduceMean")
        if mean is None or self._operand(mean) != given or self._operand(squares) != node.input[0]:
            return None
        places = {place, centered, root, shifted, variance, squares, mean}
        for kind in ("Mul", "Add"):
            after = self._after(max(places), kind)
            if after is not None and self._constant(after):
                places.add(after)
        return _Pattern("native_layer_norm", frozenset(places), (given,), _NORM_NODES)

    def attention(self, place: int) -> _Pattern | None:
        """Find the products before and behind a softmax; of scores that are divided OpenVINO makes no attention."""
        product = self._after(place, "MatMul")
        scores, places = self._nodes[place].input[0], {place}
        for kind in ("Add", "Mul"):  # a mask, and a scale
            ahead = self._before(scores, kind)
            if ahead is not None and (kind == "Add" or self._constant(ahead)):
                places.add(ahead)
                scores = self._operand(ahead)
        first = self._before(scores, "MatMul")
        if product is None or first is None or any(name not in self.computed for name in self._nodes[first].input):
            return None
        queries, keys = self._nodes[first].input
        values = self._nodes[product].input[1]
        scaled = [each for each in (self._before(name, "Mul") for name in (queries, keys)) if each is not None]
        scaled = [each for each in scaled if self._constant(each)]
        places |= {product, first, *scaled}
        given = (self._source(queries), self._source(keys), values)
        if not scaled:
            return _Pattern(PLAIN_ATTENTION, frozenset(places), given, 2)
        by_number = self._constant(scaled[0]) in self._held
        return _Pattern(ATTENTION, frozenset(places), given, _SCALED_BY_NUMBER_NODES if by_number else _SCALED_NODES)


_FINDERS: Mapping[str, Callable[[_Reader, int], _Pattern | None]] = {
    "Sigmoid": _Reader.activation, "Erf": _Reader.activation, "Tanh": _Reader.activation, "Div": _Reader.norm,
    "Softmax": _Reader.attention,
}  # fmt: skip
