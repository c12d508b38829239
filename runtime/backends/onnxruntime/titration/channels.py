"""Tell which channels of a graph's tensors have to be scaled alike, and which may not be scaled at all."""

from collections.abc import Collection, Mapping
from dataclasses import field

import numpy as np
import onnx  # noqa: TID253 - its very subject

from titrant.schema.values.frozen import dataclass

# Why the channels of what a graph gives out may not be scaled.
ANSWER = "graph_output"


@dataclass(frozen=True)
class Tracked:
    """A tensor whose places along one axis are channels: `channels` (places,) holds the number of each."""

    channels: np.ndarray
    axis: int  # counted from the front


@dataclass(frozen=True)
class Factor:
    """A constant that is scaled with the channels: times the scale of `inputs`, divided by that of `outputs`.

    Both are arrays of channels of as many dimensions as the constant has, or None. `shape` is what the constant is
    broadcast to beforehand.
    """

    node: str
    place: int  # among the node's operands
    constant: str
    shape: tuple[int, ...]
    inputs: np.ndarray | None
    outputs: np.ndarray | None
    multiplies: bool  # the numbers are a layer's weights, rather than added


@dataclass(frozen=True)
class Group:
    """Channels that stand side by side in some tensors, and are scaled together; those with the same scale are one."""

    channels: np.ndarray  # (number,) sorted; those that may be scaled
    factors: tuple[int, ...]  # the factors that any of them takes part in
    reason: str  # why none of them may be scaled; "" where some may
    anchored: bool  # some channel beside them may not be scaled


@dataclass
class Channels:
    """Channels by number; those that are made one have one scale, and those that are fixed have the scale 1."""

    parents: list[int] = field(default_factory=list)
    tensors: dict[str, Tracked] = field(default_factory=dict)
    factors: list[Factor] = field(default_factory=list)
    fixed: list[tuple[np.ndarray, str]] = field(default_factory=list)

    def new(self, count: int) -> np.ndarray:
        """Return the numbers of so many new channels."""
        start = len(self.parents)
        self.parents += range(start, start + count)
        return np.arange(start, start + count)

    def fix(self, names: Collection[str], reason: str) -> None:
        """Let the channels of some tensors have the scale 1, because of a reason of one or two words."""
        self.fixed += [(self.tensors[name].channels, reason) for name in names if name in self.tensors]

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Make channels one, place by place."""
        if not np.array_equal(first, second):
            for pair in zip(first.tolist(), second.tolist(), strict=True):
                roots = sorted(self._root(channel) for channel in pair)
                self.parents[roots[1]] = roots[0]

    def _root(self, channel: int) -> int:
        parents = self.parents
        while parents[channel] != channel:
            parents[channel] = channel = parents[parents[channel]]
        return channel

    def roots(self) -> np.ndarray:
        """Return the channel that each stands for: (channels,)."""
        return np.array([self._root(channel) for channel in range(len(self.parents))], np.int64)

    def groups(self) -> tuple[Group, ...]:
        """Return the channels by the tensors that they share: those that a layer makes, but for the graph's answers.

        In the order in which the graph makes them.
        """
        roots = self.roots()
        reasons = {int(root): reason for channels, reason in reversed(self.fixed) for root in set(roots[channels])}
        beside = _components(len(roots), [roots[tracked.channels] for tracked in self.tensors.values()])
        held: dict[int, list[int]] = {}
        for root in np.unique(roots):
            held.setdefault(int(beside[root]), []).append(int(root))
        made, read = self._ends(roots)
        readers: dict[int, list[int]] = {}
        for place, factor in enumerate(self.factors):
            ends = [roots[end].ravel() for end in (factor.inputs, factor.outputs) if end is not None]
            for group in {int(beside[root]) for end in ends for root in np.unique(end)}:
                readers.setdefault(group, []).append(place)
        groups = []
        for group, channels in sorted(held.items()):
            free = [channel for channel in channels if channel not in reasons]
            reason = "" if free else next(reasons[channel] for channel in channels)
            answers = reason in ("", ANSWER) and read.isdisjoint(channels)
            if made.isdisjoint(channels) or answers:
                continue
            groups.append(Group(np.array(free, np.int64), tuple(readers[group]), reason, len(free) < len(channels)))
        return tuple(groups)

    def _ends(self, roots: np.ndarray) -> tuple[set[int], set[int]]:
        """Return the channels that some layer's weights make, and those that some layer's weights are multiplied by."""
        made: set[int] = set()
        read: set[int] = set()
        for factor in self.factors:
            if factor.multiplies and factor.outputs is not None:
                made |= set(roots[factor.outputs].ravel().tolist())
            if factor.multiplies and factor.inputs is not None:
                read |= set(roots[factor.inputs].ravel().tolist())
        return made, read


def _components(count: int, beside: Collection[np.ndarray]) -> np.ndarray:
    """Return a number for each channel that those have in common which stand in one tensor, at any remove."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first = np.concatenate([np.repeat(channels[:1], len(channels)) for channels in beside] or [np.empty(0, np.int64)])
    second = np.concatenate([*beside] or [np.empty(0, np.int64)])
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    firsts = np.full(labels.max(initial=-1) + 1, count)
    np.minimum.at(firsts, labels, np.arange(count))
    return firsts[labels]


def dimensions(graph: onnx.GraphProto) -> Mapping[str, tuple[int | None, ...]]:
    """Return the shape of each tensor that the graph notes one of, None for a size that is free."""
    shapes: dict[str, tuple[int | None, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            shapes[value.name] = tuple(
                size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim
            )
    return shapes
