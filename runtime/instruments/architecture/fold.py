"""Fold copies of a block that follow one another into one, times how many they are."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from titrant.runtime.instruments.architecture.architecture import MODULES, Architecture, Operation
from titrant.runtime.instruments.architecture.blocks import (
    ArchitectureBlock,
    Child,
    Wiring,
    block_tree,
    children_outputs,
    stretch,
    without_shells,
)
from titrant.runtime.instruments.architecture.names import family, is_light
from titrant.schema.values.frozen import dataclass

# A flat list of layers is only folded where it is long, and a unit of them where it comes often enough.
_LONG_LIST, _FEWEST_COPIES, _LONG_UNIT = 12, 3, 6
_MOST_PERIODS, _MOST_TURNS = 16, 48
# A block of more children than this is divided, into stretches of about so many.
_MOST_CHILDREN, _STRETCH = 64, 24

Shapes = Mapping[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Folded:
    """A model with its copies folded; `merged` gives for a tensor of the model's own all those that it stands for."""

    root: ArchitectureBlock
    merged: Mapping[str, tuple[str, ...]]


def folded(architecture: Architecture) -> Folded:
    """Return the architecture as a block of blocks, in which copies stand once."""
    root, wiring = block_tree(architecture)
    return fold(root, wiring, architecture.shapes, architecture.inputs, flows=architecture.basis != MODULES)


def fold(
    root: ArchitectureBlock, wiring: Wiring, shapes: Shapes, inputs: Sequence[str], *, flows: bool = True
) -> Folded:
    """Fold each run of copies: the same layers, shapes and wiring, each reading from the one before it.

    Copies may share further inputs, and each may take and give tensors of the model's own, as caches are. `inputs` are
    those that the model takes. Where no data flow is known (`flows` false), copies in a row are enough.
    """
    folding = _Folding(wiring, shapes, frozenset(inputs), flows=flows)
    whole = folding.folded(root, 0)
    whole = without_shells(_divided(whole, folding))
    return Folded(whole, {name: tuple(members) for name, members in folding.merged.items()})


def _divided(block: ArchitectureBlock, folding: "_Folding") -> ArchitectureBlock:
    """Divide a long list of layers into stretches of about equal length, cut where least data crosses."""
    children = [_divided(child, folding) if isinstance(child, ArchitectureBlock) else child for child in block.children]
    if len(children) <= _MOST_CHILDREN:
        return replace(block, children=tuple(children))
    crossing = _crossings(children, block.outputs)
    parts = max(2, min(_MOST_CHILDREN // 2, round(len(children) / _STRETCH)))
    cuts, begin = [0], 0
    for number in range(1, parts):
        middle = round(number * len(children) / parts)
        reach = max(1, len(children) // parts // 3)
        near = range(max(begin + 1, middle - reach), min(len(children) - 1, middle + reach) + 1)
        begin = min(near, key=lambda place: (crossing[place], not _begins(children[place]), abs(place - middle)))
        cuts.append(begin)
    pieces = [children[low:high] for low, high in zip(cuts, [*cuts[1:], len(children)], strict=True)]
    stretches = [_divided(_piece(piece, children, block), folding) for piece in pieces]
    return replace(block, children=tuple(stretches))


def _piece(piece: Sequence[Child], whole: Sequence[Child], block: ArchitectureBlock) -> ArchitectureBlock:
    inside = set(map(id, piece))
    read = {name for child in whole if id(child) not in inside for name in child.inputs}
    return stretch(piece, read.union(block.outputs))


def _begins(child: Child) -> bool:
    return isinstance(child, ArchitectureBlock) or not is_light(child.kind)


def _crossings(children: Sequence[Child], outputs: Sequence[str]) -> list[int]:
    """Count the tensors that go from before each child to it or beyond."""
    born = {name: place for place, child in enumerate(children) for name in children_outputs(child)}
    last = {name: place for place, child in enumerate(children) for name in child.inputs if name in born}
    last |= {name: len(children) for name in outputs if name in born}
    steps = [0] * (len(children) + 2)
    for name, end in last.items():
        steps[born[name] + 1] += 1
        steps[end + 1] -= 1
    counts, crossing = [], 0
    for step in steps:
        crossing += step
        counts.append(crossing)
    return counts


class _Folding:
    """What is known while a model is folded: signatures by number, and which tensors are merged."""

    def __init__(self, wiring: Wiring, shapes: Shapes, inputs: frozenset[str], *, flows: bool) -> None:
        self.wiring, self.shapes, self.inputs, self.flows = wiring, shapes, inputs, flows
        self.merged: dict[str, list[str]] = {}
        self._numbers: dict[object, int] = {}
        self._signatures: dict[int, int] = {}
        self._kept: list[Child] = []

    def folded(self, block: ArchitectureBlock, first: int) -> ArchitectureBlock:
        """Fold the children of a block whose first operation stands at a place, then theirs."""
        children, places = list(block.children), list(_places(block.children, first))
        folded: list[Child] = []
        place = 0
        for run in self._runs(children, places):
            folded += self._each(children[place : run.start], places[place : run.start])
            folded.append(self._copies(run))
            place = run.start + run.period * len(run.units)
        folded += self._each(children[place:], places[place:])
        return replace(block, children=tuple(folded))

    def _each(self, children: Sequence[Child], places: Sequence[int]) -> Iterator[Child]:
        for child, place in zip(children, places, strict=True):
            yield self.folded(child, place) if isinstance(child, ArchitectureBlock) else child

    def _copies(self, run: "_Run") -> ArchitectureBlock:
        """Make one block of a run of units, and merge what each of them takes of, and gives to, the model's own."""
        first, last = run.units[0], run.units[-1]
        for before, after in zip(run.units, run.units[1:], strict=False):
            for one, other in zip(before.inputs, after.inputs, strict=True):
                if one != other and other in self.inputs:
                    self._merge(first.inputs[before.inputs.index(one)], other)
            for output, kept in zip(before.outputs, last.outputs, strict=True):
                if output in self.wiring.given:
                    self._merge(kept, output)
        inner = self.folded(first, run.place)
        flops = [unit.flops for unit in run.units if unit.flops is not None]
        return replace(
            inner,
            outside=last.outputs,
            copies=tuple(unit.name for unit in run.units),
            parameters=sum(unit.parameters for unit in run.units),
            flops=sum(flops) if flops else None,
        )

    def _merge(self, kept: str, other: str) -> None:
        members = self.merged.setdefault(kept, [kept])
        if other not in members:
            members.append(other)

    def _runs(self, children: Sequence[Child], places: Sequence[int]) -> "list[_Run]":
        """Find the runs of copies among children, those first that save most boxes; they do not overlap."""
        signatures = [self.signature(child) for child in children]
        taken = [False] * len(children)
        runs = []
        for start, period, copies in _repeats(signatures):
            if any(taken[start : start + period * copies]) or not _worthwhile(
                children[start : start + period], copies, len(children)
            ):
                continue
            run = self._run(children, places, start, period, copies)
            if run is not None:
                runs.append(run)
                for place in range(run.start, run.start + period * len(run.units)):
                    taken[place] = True
        return sorted(runs, key=lambda run: run.start)

    def _run(
        self, children: Sequence[Child], places: Sequence[int], start: int, period: int, copies: int
    ) -> "_Run | None":
        """Cut copies out of a repeating stretch where least data crosses the cut, and keep those that form a chain."""
        best: _Run | None = None
        for turn in range(min(period, _MOST_TURNS)):
            fit = copies if turn == 0 else copies - 1
            if fit < 2:
                break
            units = [self._unit(children, places, start + turn + period * number, period) for number in range(fit)]
            for begin, end in _chains(units, self._follows):
                chain = units[begin:end]
                if best is None or _worth(chain) > _worth(best.units):
                    at = start + turn + period * begin
                    best = _Run(at, period, tuple(chain), places[at])
            if period == 1:
                break
        if best is None or not _worthwhile(children[start : start + period], len(best.units), len(children)):
            return None
        return best

    def _unit(self, children: Sequence[Child], places: Sequence[int], start: int, period: int) -> ArchitectureBlock:
        child = children[start]
        if period == 1 and isinstance(child, ArchitectureBlock):
            return child
        part = children[start : start + period]
        end = places[start + period - 1] + _size(part[-1])
        given = {name for child in part for name in children_outputs(child)}
        return stretch(part, {name for name in given if self.wiring.leaves(name, places[start], end)})

    def _follows(self, before: ArchitectureBlock, after: ArchitectureBlock) -> tuple[object, ...] | None:
        """Return how the inputs of a copy are wired to the one before it; None where it does not follow it alone."""
        if len(before.inputs) != len(after.inputs) or len(before.outputs) != len(after.outputs):
            return None
        if self.signature(before) != self.signature(after):
            return None
        if not self.flows:
            return ()
        wired: list[object] = []
        for one, other in zip(before.inputs, after.inputs, strict=True):
            if other in before.outputs:
                wired.append(before.outputs.index(other))
            elif one == other:
                wired.append("shared")
            elif one in self.inputs and other in self.inputs:
                wired.append("own")
            else:
                return None
        linked = any(isinstance(each, int) for each in wired)
        return tuple(wired) if linked and self._read_by(before, after) else None

    def _read_by(self, before: ArchitectureBlock, after: ArchitectureBlock) -> bool:
        """Tell whether nobody but a block's operations, and the block after it, reads its outputs."""
        inside = {id(operation) for operation in (*_operations(before), *_operations(after))}
        order = self.wiring.order
        return all(id(order[place]) in inside for name in before.outputs for place in self.wiring.readers.get(name, ()))

    def signature(self, child: Child) -> int:
        """Number what a child is made of, so that two of the same number are copies; names play no part."""
        number = self._signatures.get(id(child))
        if number is None:
            key = self._block_key(child) if isinstance(child, ArchitectureBlock) else (
                child.kind, child.detail, child.parameters, child.precision, child.flops, len(child.inputs),
                tuple(self.shapes.get(name) for name in child.outputs),
            )  # fmt: skip
            number = self._numbers.setdefault(key, len(self._numbers))
            self._signatures[id(child)] = number
            self._kept.append(child)  # an id is only its own while the value lives
        return number

    def _block_key(self, block: ArchitectureBlock) -> tuple[object, ...]:
        places: dict[str, object] = {name: ("in", place) for place, name in enumerate(block.inputs)}
        keys: list[object] = [block.kind]
        for number, child in enumerate(block.children):
            keys.append((self.signature(child), tuple(places.get(name) for name in child.inputs)))
            places |= {name: (number, place) for place, name in enumerate(children_outputs(child))}
        return (*keys, tuple(places.get(name) for name in block.outputs))


@dataclass(frozen=True)
class _Run:
    start: int  # among the children
    period: int
    units: tuple[ArchitectureBlock, ...]
    place: int  # of the first operation


def _worth(chain: Sequence[ArchitectureBlock]) -> tuple[int, int]:
    """Rank chains of copies: many, which begin with a product as people think of layers, and read little."""
    begins = next(_operations(chain[0]), None)
    product = isinstance(begins, Operation) and family(begins.kind) in ("product", "attention", "recurrent")
    return len(chain) + 2 * product, -len(chain[0].inputs)


def _size(child: Child) -> int:
    return child.operations if isinstance(child, ArchitectureBlock) else 1


def _places(children: Sequence[Child], first: int) -> Iterator[int]:
    for child in children:
        yield first
        first += _size(child)


def _operations(child: Child) -> Iterator[Child]:
    if isinstance(child, ArchitectureBlock):
        for inner in child.children:
            yield from _operations(inner)
    else:
        yield child


def _worthwhile(unit: Sequence[Child], copies: int, children: int) -> bool:
    if any(isinstance(child, ArchitectureBlock) for child in unit):
        return True
    return children > _LONG_LIST and (copies >= _FEWEST_COPIES or len(unit) >= _LONG_UNIT)


def _chains(
    units: Sequence[ArchitectureBlock],
    follows: Callable[[ArchitectureBlock, ArchitectureBlock], tuple[object, ...] | None],
) -> Iterator[tuple[int, int]]:
    """Yield the stretches of two or more units in which each follows the one before it in the same way."""
    begin, way = 0, None
    for place in range(1, len(units) + 1):
        wired = follows(units[place - 1], units[place]) if place < len(units) else None
        if wired is None or (way is not None and wired != way):
            if place - begin > 1:
                yield begin, place
            begin, way = place, None
        else:
            way = wired


def _repeats(signatures: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (start, period, copies) of stretches that repeat themselves, those first that save most."""
    last: dict[int, int] = {}
    distances: Counter[int] = Counter()
    for place, signature in enumerate(signatures):
        if signature in last:
            distances[place - last[signature]] += 1
        last[signature] = place
    repeats = []
    for period, _ in distances.most_common(_MOST_PERIODS):
        start = None
        for place in range(len(signatures) - period + 1):
            same = place + period < len(signatures) and signatures[place] == signatures[place + period]
            if same and start is None:
                start = place
            elif not same and start is not None:
                copies = (place - start) // period + 1
                if copies > 1:
                    repeats.append((start, period, copies))
                start = None
    return sorted(repeats, key=lambda each: (-each[1] * (each[2] - 1), each[1], each[0]))
