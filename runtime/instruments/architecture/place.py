"""Place boxes in layers, each below those that it reads from, with little bending: a small layered graph layout.

The steps are those of Sugiyama, Tagawa and Toda (1981): ranks by the longest path, an order within each rank by
barycenters, places by weighted least squares. What passes several ranks is one trunk for all its readers.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from titrant.schema.values.frozen import dataclass

_BESIDE, _TRUNKS_APART, _TRUNK_BESIDE = 26.0, 11.0, 16.0
_SWEEPS = 10
# How much an edge resists being drawn aslant: on the longest way, within a trunk, any other.
_ANCHORED, _ON_WAY, _IN_TRUNK, _BETWEEN, _PLAIN = 1e9, 60.0, 12.0, 8.0, 1.0


@dataclass(frozen=True)
class Node:
    """What is placed: a box of a width and height; `takes` and `gives` name tensors, with where they enter and leave.

    A place of entry is counted from the middle of the box; None leaves it to the layout.
    """

    width: float
    height: float
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    enters: Mapping[str, float]
    leaves: Mapping[str, float]
    port: bool = False  # the edge of the block that is laid out: a tensor that comes in, or goes out


@dataclass(frozen=True)
class Spot:
    """Where a node is: the middle of its upper edge, and the rank that it stands in."""

    x: float
    y: float
    rank: int


@dataclass(frozen=True)
class Route:
    """The way of a tensor to one reader: (x, upper y, lower y) of every rank that it passes, ends included.

    At the ends both heights are those of the box's edge. `main` says that it lies on the longest way.
    """

    tensor: str
    points: tuple[tuple[float, float, float], ...]
    source: int
    target: int
    main: bool = False


@dataclass(frozen=True)
class Placed:
    """A layout: spots by the place of their nodes, and the routes between them."""

    width: float
    height: float
    spots: tuple[Spot, ...]
    routes: tuple[Route, ...]


def place(nodes: Sequence[Node], gap: float) -> Placed:
    """Lay nodes out, each of which stands after those it reads from; `gap` lies between two ranks."""
    maker = {name: index for index, node in enumerate(nodes) for name in node.gives}
    assert all(maker.get(name, -1) < index for index, node in enumerate(nodes) for name in node.takes), "a circle"
    ranks = _ranks(nodes, maker)
    way = _longest_way(nodes, maker)
    grid = _Grid(nodes, maker, ranks, way)
    grid.sort()
    xs = grid.across()
    tops, bottoms, height = _rows(nodes, ranks, gap)
    spots = tuple(Spot(xs[index], tops[ranks[index]], ranks[index]) for index, node in enumerate(nodes))
    routes = tuple(grid.routes(spots, xs, tops, bottoms))
    edges = [(xs[index] - item.width / 2, xs[index] + item.width / 2) for index, item in enumerate(grid.cells)]
    left, right = min(low for low, _ in edges), max(high for _, high in edges)
    moved = tuple(Spot(spot.x - left, spot.y, spot.rank) for spot in spots)
    aside = tuple(
        Route(
            route.tensor, tuple((x - left, top, low) for x, top, low in route.points), route.source, route.target,
            route.main,
        )
        for route in routes
    )  # fmt: skip
    return Placed(right - left, height, moved, aside)


def _ranks(nodes: Sequence[Node], maker: Mapping[str, int]) -> list[int]:
    ranks = [0] * len(nodes)
    for index, node in enumerate(nodes):
        ranks[index] = max((ranks[maker[name]] + 1 for name in node.takes if name in maker), default=0)
    last = max(ranks, default=0)
    readers: dict[int, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for name in node.takes:
            if name in maker:
                readers[maker[name]].append(index)
    for index in reversed(range(len(nodes))):
        node = nodes[index]
        if node.port and not node.gives:
            ranks[index] = last  # what goes out stands at the lower edge
        elif not node.port and not any(name in maker for name in node.takes) and readers[index]:
            ranks[index] = max(ranks[index], min(ranks[each] for each in readers[index]) - 1)
    return ranks


def _longest_way(nodes: Sequence[Node], maker: Mapping[str, int]) -> set[tuple[int, int]]:
    """Return the edges of the longest way through the nodes: it is drawn straight."""
    lengths, before = [0.0] * len(nodes), [-1] * len(nodes)
    for index, node in enumerate(nodes):
        for name in node.takes:
            source = maker.get(name, -1)
            if source >= 0 and lengths[source] + 1 > lengths[index]:
                lengths[index], before[index] = lengths[source] + 1, source
    index = max(range(len(nodes)), key=lambda each: lengths[each], default=-1)
    way = set()
    while index >= 0 and before[index] >= 0:
        way.add((before[index], index))
        index = before[index]
    return way


def _rows(nodes: Sequence[Node], ranks: Sequence[int], gap: float) -> tuple[dict[int, float], dict[int, float], float]:
    """Return the upper and lower edge of each rank, and the height of all."""
    heights: dict[int, float] = defaultdict(float)
    for node, rank in zip(nodes, ranks, strict=True):
        heights[rank] = max(heights[rank], node.height)
    tops, bottoms, y = {}, {}, 0.0
    for rank in range(max(ranks, default=0) + 1):
        tops[rank], bottoms[rank] = y, y + heights[rank]
        y = bottoms[rank] + gap
    return tops, bottoms, y - gap


@dataclass(frozen=True)
class _Cell:
    """A node, or a piece of a trunk in one rank."""

    rank: int
    width: float
    tensor: str = ""  # of a trunk


class _Grid:
    """Nodes and the pieces of trunks by rank, with the edges between neighboring ranks."""

    def __init__(
        self, nodes: Sequence[Node], maker: Mapping[str, int], ranks: Sequence[int], way: set[tuple[int, int]]
    ) -> None:
        self.nodes = nodes
        self.way = way
        self.cells = [_Cell(rank, node.width) for node, rank in zip(nodes, ranks, strict=True)]
        self.trunks: dict[str, dict[int, int]] = defaultdict(dict)  # tensor → rank → cell
        self.reads: list[tuple[str, int, int]] = []
        # (upper cell, lower cell, weight, where it leaves, where it enters)
        self.edges: dict[tuple[int, int], tuple[float, float, float]] = {}
        for target, node in enumerate(nodes):
            for name in node.takes:
                if name in maker:
                    self.reads.append((name, maker[name], target))
        spans = sorted(self.reads, key=lambda read: ranks[read[2]] - ranks[read[1]])
        for name, source, target in spans:
            upper = source
            for rank in range(ranks[source] + 1, ranks[target]):
                lower = self._trunk(name, rank)
                self._join(upper, lower, _IN_TRUNK if upper != source else _PLAIN, name)
                upper = lower
            straight = (source, target) in way and upper == source
            weight = _ON_WAY if straight else _BETWEEN if upper == source else _PLAIN
            self._join(upper, target, weight, name)
        self.rows: list[list[int]] = [[] for _ in range(max(ranks, default=0) + 1)]
        for index, cell in enumerate(self.cells):
            self.rows[cell.rank].append(index)
        on_way = {index for edge in way for index in edge}
        for row in self.rows:
            row.sort(key=lambda index: (index not in on_way, index))

    def _trunk(self, name: str, rank: int) -> int:
        if rank not in self.trunks[name]:
            self.trunks[name][rank] = len(self.cells)
            self.cells.append(_Cell(rank, 2.0, name))
        return self.trunks[name][rank]

    def _join(self, upper: int, lower: int, weight: float, name: str) -> None:
        nodes = len(self.nodes)  # the cells after them are pieces of trunks
        leaves = self.nodes[upper].leaves.get(name, 0.0) if upper < nodes else 0.0
        enters = self.nodes[lower].enters.get(name, 0.0) if lower < nodes else 0.0
        self.edges.setdefault((upper, lower), (weight, leaves, enters))

    def sort(self) -> None:
        """Order each rank by barycenters, down and up, and keep the order with the fewest crossings."""
        best = (self._crossings(), [list(row) for row in self.rows])
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            beside: dict[int, list[int]] = defaultdict(list)
            for upper, lower in self.edges:
                beside[lower if down else upper].append(upper if down else lower)
            for row in self.rows if down else reversed(self.rows):
                at = {index: place for other in self.rows for place, index in enumerate(other)}
                center = {
                    index: sum(at[other] for other in beside[index]) / len(beside[index])
                    if beside[index]
                    else at[index]
                    for index in row
                }
                row.sort(key=lambda index: (center[index], at[index]))
            crossings = self._crossings()
            if crossings < best[0]:
                best = (crossings, [list(row) for row in self.rows])
        self.rows = best[1]

    def _crossings(self) -> int:
        at = {index: place for row in self.rows for place, index in enumerate(row)}
        by_rank: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for upper, lower in self.edges:
            by_rank[self.cells[upper].rank].append((at[upper], at[lower]))
        return sum(
            (one[0] - other[0]) * (one[1] - other[1]) < 0
            for edges in by_rank.values()
            for place, one in enumerate(edges)
            for other in edges[:place]
        )

    def across(self) -> list[float]:
        """Return the middle of each cell: near its neighbors above and below, and clear of those beside it."""
        xs = [0.0] * len(self.cells)
        for row in self.rows:
            x = 0.0
            for before, index in pairwise([None, *row]):
                x += 0.0 if before is None else self._apart(before, index)  # type: ignore[arg-type]
                xs[index] = x  # type: ignore[index]
        anchors = self._anchors()
        for index, x in anchors.items():
            xs[index] = x
        pulls: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
        for (upper, lower), (weight, leaves, enters) in self.edges.items():
            pulls[lower].append((upper, weight, leaves - enters))
            pulls[upper].append((lower, weight, enters - leaves))
        for sweep in range(3 * _SWEEPS):
            for row in self.rows if sweep % 2 == 0 else reversed(self.rows):
                self._settle(row, xs, pulls, anchors)
        self._straighten(xs, anchors)
        return xs

    def _anchors(self) -> dict[int, float]:
        """Return the places of what stands on the longest way, which is one straight line."""
        step = dict(self.way)
        index = next(iter(set(step) - set(step.values())), -1)
        anchors = {index: 0.0} if index >= 0 else {}
        while index in step:
            target = step[index]
            name = next(name for name, source, other in self.reads if (source, other) == (index, target))
            x = anchors[index] + self.nodes[index].leaves.get(name, 0.0)
            for rank in range(self.cells[index].rank + 1, self.cells[target].rank):
                anchors[self.trunks[name][rank]] = x
            anchors[target] = x - self.nodes[target].enters.get(name, 0.0)
            index = target
        return anchors

    def _straighten(self, xs: list[float], anchors: Mapping[int, float]) -> None:
        """Draw each trunk as one straight line where there is room for it, those furthest out first."""
        beside: dict[int, tuple[int | None, int | None]] = {}
        for row in self.rows:
            for before, index, after in zip([None, *row[:-1]], row, [*row[1:], None], strict=True):
                beside[index] = (before, after)
        trunks = [list(cells.values()) for cells in self.trunks.values() if not anchors.keys() & set(cells.values())]
        for cells in sorted(trunks, key=lambda cells: -max(abs(xs[index]) for index in cells)):
            low = max(
                (xs[left] + self._apart(left, index) for index in cells if (left := beside[index][0]) is not None),
                default=-math.inf,
            )
            high = min(
                (xs[right] - self._apart(index, right) for index in cells if (right := beside[index][1]) is not None),
                default=math.inf,
            )
            if low <= high:
                middle = sum(xs[index] for index in cells) / len(cells)
                for index in cells:
                    xs[index] = min(max(middle, low), high)

    def _settle(
        self,
        row: Sequence[int],
        xs: list[float],
        pulls: Mapping[int, list[tuple[int, float, float]]],
        anchors: Mapping[int, float],
    ) -> None:
        """Move the cells of a row to where they are pulled, by least squares that keep their order and distances."""
        offsets = [0.0]
        for before, index in pairwise(row):
            offsets.append(offsets[-1] + self._apart(before, index))
        blocks: list[list[float]] = []  # mean, weight, number of cells: pooled while they would overlap
        for place, index in enumerate(row):
            weights = sum(weight for _, weight, _ in pulls.get(index, ())) or 0.01
            pulled = sum(weight * (xs[other] + shift) for other, weight, shift in pulls.get(index, ()))
            goal = pulled / weights if pulls.get(index) else xs[index]
            if index in anchors:
                goal, weights = anchors[index], _ANCHORED
            blocks.append([goal - offsets[place], weights, 1])
            while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
                mean, weight, count = blocks.pop()
                total = blocks[-1][1] + weight
                blocks[-1][0] = (blocks[-1][0] * blocks[-1][1] + mean * weight) / total
                blocks[-1][1] = total
                blocks[-1][2] += count
        place = 0
        for mean, _, count in blocks:
            for _ in range(int(count)):
                xs[row[place]] = mean + offsets[place]
                place += 1

    def _apart(self, before: int, after: int) -> float:
        one, other = self.cells[before], self.cells[after]
        if one.tensor and other.tensor:
            space = _TRUNKS_APART
        else:
            space = _TRUNK_BESIDE if one.tensor or other.tensor else _BESIDE
        return (one.width + other.width) / 2 + space

    def routes(
        self, spots: Sequence[Spot], xs: Sequence[float], tops: Mapping[int, float], bottoms: Mapping[int, float]
    ) -> "Sequence[Route]":
        """Return the way of each tensor to each of its readers."""
        routes = []
        for name, source, target in self.reads:
            start, end = self.nodes[source], self.nodes[target]
            x = xs[source] + start.leaves.get(name, 0.0)
            points = [(x, spots[source].y + start.height, bottoms[spots[source].rank])]
            points += [
                (xs[self.trunks[name][rank]], tops[rank], bottoms[rank])
                for rank in range(spots[source].rank + 1, spots[target].rank)
            ]
            points.append((xs[target] + end.enters.get(name, 0.0), spots[target].y, spots[target].y))
            routes.append(Route(name, tuple(points), source, target, (source, target) in self.way))
        return routes
