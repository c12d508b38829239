"""Write out the modules in the names of an ONNX graph's nodes where a traced script leaves out what holds them.

What a trace records is which module calls which. A list of modules is called by nobody, so that a node of
`enc.layers.0.fc` may be /enc/0/fc/Gemm, and whoever looks for the layer by its name does not find it.
"""

import re
from collections.abc import Collection, Mapping, Sequence

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.layer_names import module_called
from titrant.runtime.backends.torch.program.weight_names import nodes_of

_AGAIN = re.compile(r"_\d+$")

# The modules in a node's name, one in the other.
ModulePath = tuple[str, ...]


def name_scopes(model: onnx.ModelProto, layers: Collection[str]) -> None:
    """Name nodes, in place, after the modules that they were traced in, by their names in the file.

    The weight that a node reads is called after one of `layers`, and says which modules are left out. A node without
    one has the same modules around it as those have, where all agree.
    """
    nodes = [node for node in nodes_of(model.graph) if _scope(node.name)]
    whole: dict[str, ModulePath] = {}
    around: dict[ModulePath, set[ModulePath]] = {}
    for node in nodes:
        layer = next((owner for name in node.input if (owner := name.rpartition(".")[0]) in layers), "")
        scope = _scope(node.name)
        written = _written_out(scope, layer, module_called(node.name)) if layer else ()
        if written:
            whole[node.name] = written
            for depth in range(1, len(scope) + 1):
                around.setdefault(scope[:depth], set()).add(written[:depth])
    taken = {node.name for node in nodes}
    for node in nodes:
        scope = _scope(node.name)
        written = whole.get(node.name) or _as_others(scope, around)
        if written != scope:
            name = free = "/".join(("", *written, node.name.rpartition("/")[2]))
            count = 0
            while free in taken:
                count += 1
                free = f"{name}_{count}"
            taken.add(free)
            node.name = free


def _scope(node: str) -> ModulePath:
    """Return the modules in a node's name; a sequence, whose name stands in that of what it holds too, once."""
    way = node.split("/")[1:-1] if node.startswith("/") else []
    return tuple(
        part for part, after in zip(way, (*way[1:], ""), strict=False) if part and not after.startswith(f"{part}.")
    )


def _written_out(scope: ModulePath, layer: str, called: str) -> ModulePath:
    """Return the modules with what holds them, one by one, as a layer's name has them; () where it has others."""
    if f"{layer}.".startswith(f"{called}."):
        return scope
    parts = layer.split(".")
    places = _places([part for module in scope for part in module.split(".")], parts)
    if places is None:  # of what has the same name as another in a trace, the second has a number behind
        scope = tuple(_AGAIN.sub("", module) for module in scope)
        places = _places([part for module in scope for part in module.split(".")], parts)
    if places is None or places[-1] + 1 == len(places):
        return ()
    written, start, count = [], 0, 0
    for module in scope:
        count += module.count(".") + 1
        end = places[count - 1] + 1
        written.append(".".join(parts[start:end]))
        start = end
    return tuple(written)


def _places(called: Sequence[str], parts: Sequence[str]) -> list[int] | None:
    """Return where each of some names stands among others, in order; None where they do not.

    From the end where both end alike: what holds a module is left out, and seldom what it holds.
    """
    turned = called[-1:] == parts[-1:]
    places, place = [], 0
    among = parts[::-1] if turned else parts
    for name in called[::-1] if turned else called:
        while place < len(among) and among[place] != name:
            place += 1
        if place == len(among):
            return None
        places.append(place)
        place += 1
    return [len(parts) - 1 - place for place in reversed(places)] if turned else places


def _as_others(scope: ModulePath, around: Mapping[ModulePath, set[ModulePath]]) -> ModulePath:
    """Return the modules with what holds the outer ones, as far as all that lie in them agree."""
    for depth in range(len(scope), 0, -1):
        others = around.get(scope[:depth], set())
        if len(others) == 1:
            return (*next(iter(others)), *scope[depth:])
    return scope
