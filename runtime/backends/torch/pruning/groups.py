"""Find what can only be removed together: channels of convolutions, neurons of linear layers, heads of attention.

torch-pruning (DepGraph, Fang et al. 2023) traces which dimensions of which layers belong together. What it finds is
tried before it is believed: the model without half of a group must answer as the whole model does whose other layers
read zeros there. What fails is left whole, with the reason.
"""

import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.pruning.attention import NarrowAttention
from titrant.runtime.backends.torch.pruning.cut import _CONVOLUTION as CONVOLUTION
from titrant.runtime.backends.torch.pruning.cut import (
    BOTH,
    HEADS,
    IN,
    OUT,
    is_depthwise,
    layout_of,
    record_of,
    width_of,
)
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import covered, first_line

# Of a group, what it is called: its units are channels, neurons or heads.
CHANNELS, NEURONS, ATTENTION = "channels", "neurons", "heads"
# What modules of people's own call the number of their heads, and the width of all of them together.
_HEAD_COUNTS = ("num_heads", "n_heads", "n_head", "nhead", "heads", "num_attention_heads", "h")
_ALL_HEADS = ("embed_dim", "all_head_size", "inner_dim", "hidden_size", "d_model", "dim", "n_embd", "width")
# What a module's forward, or the trace of it, may fail with.
FAILURES = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, AssertionError)
# Closures are asked for one by one up to this many units, where all at once are not told apart.
_MOST_CLOSURES = 512


@dataclass(frozen=True)
class Member:
    """One side of a layer that a group cuts: the places that go with each unit."""

    layer: str
    side: str
    places: tuple[tuple[int, ...], ...]

    def removed(self, units: Collection[int]) -> list[int]:
        """Return the places that go with some units."""
        return [place for unit in units for place in self.places[unit]]


@dataclass(frozen=True)
class Coupled:
    """What goes together: removing a unit takes its places from every member.

    `name` is the layer that makes the units. `counts` are (module, attribute, of one unit): numbers that a module of
    the user's own keeps of its heads.
    """

    name: str
    kind: str
    members: tuple[Member, ...]
    counts: tuple[tuple[str, str, int], ...] = ()

    @property
    def units(self) -> int:
        """The number of units."""
        return len(self.members[0].places)

    @property
    def sides(self) -> frozenset[tuple[str, str]]:
        """The sides of layers that it cuts."""
        return frozenset((member.layer, member.side) for member in self.members)


@dataclass(frozen=True)
class Left:
    """A layer that is left whole, and why."""

    name: str
    because: str


def record_without(module: torch.nn.Module, removed: Sequence[tuple[Coupled, Sequence[int]]]) -> dict[str, Any]:
    """Return the record of what is left without some units of some groups."""
    places: dict[tuple[str, str], list[int]] = {}
    counts: dict[tuple[str, str], int] = {}
    for group, units in removed:
        for member in group.members if units else ():
            places.setdefault((member.layer, member.side), []).extend(member.removed(units))
        for name, attribute, each in group.counts if units else ():
            counts[(name, attribute)] = each * (group.units - len(units))
    return record_of(module, places, counts)


def own_attention(module: torch.nn.Module) -> Iterator[Coupled]:
    """Yield each way in which a module may have heads: torch's own layer, or linear layers below one with a count."""
    for name, part in module.named_modules():
        if isinstance(part, (torch.nn.MultiheadAttention, NarrowAttention)):
            if (
                name
                and part.num_heads > 1
                and getattr(part, "bias_k", None) is None
                and not getattr(part, "add_zero_attn", False)
            ):
                yield Coupled(name, ATTENTION, (Member(name, HEADS, tuple((head,) for head in range(part.num_heads))),))
            continue
        heads = [(key, vars(part).get(key)) for key in _HEAD_COUNTS]
        for attribute, count in heads:
            if isinstance(count, int) and count > 1:
                yield from _linear_heads(name, part, attribute, count)


def _linear_heads(name: str, part: torch.nn.Module, attribute: str, count: int) -> Iterator[Coupled]:
    """Yield the ways in which linear layers may be projections to heads and the one that reads them."""
    prefix = f"{name}." if name else ""
    children = {f"{prefix}{key}": child for key, child in part.named_children() if isinstance(child, torch.nn.Linear)}
    for reading, output in reversed(children.items()):
        width = output.in_features
        others = {key: child for key, child in children.items() if key != reading}
        stacks = [child.out_features // width for child in others.values()]
        if width % count or sorted(stacks) not in ([3], [1, 1, 1]):
            continue
        each = width // count
        members = [
            Member(
                key,
                OUT,
                tuple(
                    tuple(layer * width + head * each + place for layer in range(stack) for place in range(each))
                    for head in range(count)
                ),
            )
            for key, stack in zip(others, stacks, strict=True)
        ]
        blocks = tuple(tuple(range(head * each, (head + 1) * each)) for head in range(count))
        whole = tuple((name, key, each) for key in _ALL_HEADS if vars(part).get(key) == width)
        group = Coupled(name or reading, ATTENTION, (*members, Member(reading, IN, blocks)))
        yield replace(group, counts=((name, attribute, 1),))
        if whole:
            yield replace(group, counts=((name, attribute, 1), *whole))


class Traced:
    """The dependency graph of a module, and the groups in it."""

    def __init__(self, module: torch.nn.Module, tensors: dict[str, torch.Tensor], call: Any) -> None:
        import torch_pruning

        self._names = {part: name for name, part in module.named_modules()}
        self._graph = torch_pruning.DependencyGraph()
        for weight in module.parameters():  # its trace follows gradients
            weight.requires_grad_(weight.is_floating_point())
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self._graph.build_dependency(module, example_inputs=tensors, forward_fn=call, verbose=False)
            except FAILURES as error:
                raise untraced(first_line(error) or type(error).__name__) from error
        self.shared = _shared(module)

    def groups(self, skipped: Collection[str]) -> Iterator[Coupled | Left]:
        """Yield every group that linear layers and convolutions begin, or why it stays whole."""
        for items in self._graph.get_all_groups():
            root = items[0].dep.target.module
            name = self._names[root]
            because = self._against(items, skipped)
            if because:
                yield Left(name, because)
            else:
                yield self._group(name, root, [(item.dep, item.idxs, item.root_idxs) for item in items])

    def _against(self, items: Any, skipped: Collection[str]) -> str:
        """Say why a group has to stay whole; "" for nothing."""
        for item in items:
            part = item.dep.target.module
            name = self._names.get(part, "")
            if item.dep.target.type == self._graph.ops.OPTYPE.OUTPUT:
                return "it makes an output of the model, which keeps its width"
            if isinstance(part, torch.nn.Parameter):
                return "it goes together with a parameter that a module of the model's own holds"
            if name in skipped:
                return "skip names it" if len(items) == 1 else f"skip names {name}, which goes with it"
            if name in self.shared:
                return f"{name} shares its weights with {self.shared[name]}"
            if name and layout_of(part) is None and (because := _unfit(name, part)):
                return because
        return ""

    def _group(self, name: str, root: torch.nn.Module, items: Sequence[tuple[Any, Any, Any]]) -> Coupled | Left:
        width = width_of(root, BOTH if is_depthwise(root) else OUT)
        sides: dict[tuple[str, str], list[list[int]]] = {}
        for dependency, places, units in items:
            side = self._side(dependency)
            if side is None:
                continue
            by_unit = sides.setdefault(side, [[] for _ in range(width)])
            for place, unit in zip(places, units, strict=True):
                if unit is None:
                    return Left(name, "heads share keys and values, which cannot be told apart")
                by_unit[unit].append(place)
        members = tuple(
            Member(layer, side, tuple(tuple(sorted({*places})) for places in by_unit))
            for (layer, side), by_unit in sides.items()
        )
        convolution = any(isinstance(self._module(layer), CONVOLUTION) for layer, _ in sides)
        return Coupled(name, CHANNELS if convolution else NEURONS, members)

    def _module(self, name: str) -> torch.nn.Module:
        return self._graph.model.get_submodule(name)  # type: ignore[no-any-return]

    def _side(self, dependency: Any) -> tuple[str, str] | None:
        """Return which side of which layer a dependency cuts; None for an operation, which has no tensors."""
        part = dependency.target.module
        layout = layout_of(part) if part in self._names else None
        if layout is None or not layout.tensors:
            return None
        sides = {side for every in layout.tensors.values() for side in every}
        outputs = self._graph.is_out_channel_pruning_fn(dependency.handler)
        return self._names[part], BOTH if BOTH in sides else OUT if outputs else IN

    def closed(self, group: Coupled) -> Coupled | None:
        """Return a group whose units are all that goes together, asked for one by one; None where they are too many."""
        root = self._module(group.name)
        if group.units > _MOST_CLOSURES:
            return None
        prune = self._graph.get_pruner_of_module(root).prune_out_channels
        begun: list[tuple[set[int], dict[tuple[str, str], set[int]]]] = []
        for unit in range(group.units):
            cut: dict[tuple[str, str], set[int]] = {}
            for item in self._graph.get_pruning_group(root, prune, [unit]):
                if (side := self._side(item.dep)) is not None:
                    cut.setdefault(side, set()).update(item.idxs)
            begun.append(({unit}, cut))
        merged = _merged(begun)
        sides = sorted({side for _, cut in merged for side in cut})
        members = tuple(
            Member(layer, side, tuple(tuple(sorted(cut.get((layer, side), ()))) for _, cut in merged))
            for layer, side in sides
        )
        return replace(group, members=members) if len(merged) > 1 else None


def _merged(
    begun: list[tuple[set[int], dict[tuple[str, str], set[int]]]],
) -> list[tuple[set[int], dict[tuple[str, str], set[int]]]]:
    """Join units that cut a place in common, until none do."""
    owner: dict[tuple[str, str, int], int] = {}
    parent = list(range(len(begun)))

    def root(unit: int) -> int:
        while parent[unit] != unit:
            unit = parent[unit]
        return unit

    for unit, (_, cut) in enumerate(begun):
        for (layer, side), places in cut.items():
            for place in places:
                parent[root(unit)] = root(owner.setdefault((layer, side, place), unit))
    joined: dict[int, tuple[set[int], dict[tuple[str, str], set[int]]]] = {}
    for unit, (_, cut) in enumerate(begun):
        units, places_by_side = joined.setdefault(root(unit), (set(), {}))
        units.add(unit)
        for both, places in cut.items():
            places_by_side.setdefault(both, set()).update(places)
    return list(joined.values())


def in_whole_groups(module: torch.nn.Module, group: Coupled) -> Coupled:
    """Return a group whose units are whole groups of every group normalization in it: only these go without a trace."""
    for member in group.members:
        layer = module.get_submodule(member.layer)
        if isinstance(layer, torch.nn.GroupNorm):
            size = layer.num_channels // layer.num_groups
            begun = [
                ({unit}, {("", ""): {place // size for place in member.places[unit]}}) for unit in range(group.units)
            ]
            units = [sorted(joined) for joined, _ in _merged(begun)]
            members = tuple(
                replace(
                    each,
                    places=tuple(tuple(place for unit in joined for place in each.places[unit]) for joined in units),
                )
                for each in group.members
            )
            group = replace(group, members=members)
    return group


def _unfit(name: str, part: torch.nn.Module) -> str:
    if isinstance(part, CONVOLUTION):
        return f"{name} is a grouped convolution ({part.groups} groups)"
    if isinstance(part, torch.nn.LayerNorm):
        return f"{name} normalizes over the whole width"
    if isinstance(part, torch.nn.MultiheadAttention):
        return f"the width of {name} is divided by its heads"
    if isinstance(part, torch.nn.RNNBase):
        return f"{name} is a recurrent layer"
    return ""


def _shared(module: torch.nn.Module) -> dict[str, str]:
    """Return {layer: another layer or parameter that has the same weights}."""
    owners: dict[int, list[str]] = {}
    for name, weight in module.named_parameters(remove_duplicate=False):
        owners.setdefault(id(weight), []).append(name.rpartition(".")[0])
    return {
        name: next(other for other in names if other != name)
        for names in owners.values()
        for name in names
        if len({*names}) > 1
    }


def matching(module: torch.nn.Module, patterns: Sequence[str]) -> frozenset[str]:
    """Name the modules that patterns cover: by one of their own names, by a module that they lie in, or by a part.

    Attention is covered by its projection: heads that go take inputs of it along.
    """
    names = {id(part): name for name, part in module.named_modules()}
    matched = {
        names[id(part)] for name, part in module.named_modules(remove_duplicate=False) if covered(name, patterns)
    }
    projected = {
        name
        for name, part in module.named_modules()
        if isinstance(part, (torch.nn.MultiheadAttention, NarrowAttention)) and names[id(part.out_proj)] in matched
    }
    return frozenset(matched | projected)


def untraced(why: str) -> PreconditionError:
    """Say that the dependencies of a model cannot be found."""
    message = f"prune.structured cannot follow the model's forward: {why}"
    advice = "write reduction.pruning.method: magnitude, which needs no trace, or a forward without decisions on values"
    return PreconditionError(Diagnostic("X542", message, help=advice))
