"""Find the layers of one model in another, through export, folding and quantization."""

from collections.abc import Iterator, Mapping

from titrant.runtime.instruments.subject.subject import Subject
from titrant.runtime.instruments.weights.layer_tensor import LayerTensor
from titrant.schema.values.frozen import dataclass

_COMPARED = ("weight", "table")
_ONLY_WEIGHT = ".weight"
# What trainers and wrappers put in front of every name.
_WRAPPERS = ("module.", "model.", "state_dict.", "_orig_mod.", "encoder.module.")


@dataclass(frozen=True)
class WeightedLayers:
    """The matrices of a model by the name of their layer; of a graph, by the node that multiplies by them."""

    subject: Subject
    tensors: Mapping[str, LayerTensor]

    @classmethod
    def of(cls, subject: Subject) -> "WeightedLayers":
        """List the weights and tables of a model, in its order; nothing is read yet."""
        if subject.graph is None:
            kept = (tensor for tensor in subject.tensors() if tensor.role in _COMPARED)
            return cls(subject, {tensor.name.removesuffix(_ONLY_WEIGHT): tensor for tensor in kept})
        from titrant.runtime.backends.onnxruntime.layer_names import GraphNames
        from titrant.runtime.instruments.weights.of_graph import weight_of

        names = GraphNames.of(subject.graph.graph)
        held = {node: weight_of(names, node, weight, subject.folder) for node, weight in names.weights.items()}
        read = {*names.weights.values()}
        added = (tensor for tensor in subject.tensors() if tensor.role == "table" and tensor.name not in read)
        return cls(subject, held | {tensor.name: tensor for tensor in added})


def matched(first: WeightedLayers, second: WeightedLayers) -> dict[str, tuple[str, ...]]:
    """Return {layer of the first: layers of the second} of those that are found, in the first's order.

    A layer that was split, such as the projections of an attention, has several.
    """
    pairs: dict[str, list[str]] = {}
    for ours, theirs in _pairs(first, second):
        pairs.setdefault(ours, []).append(theirs)
    return {name: tuple(pairs[name]) for name in first.tensors if name in pairs}


def _pairs(first: WeightedLayers, second: WeightedLayers) -> Iterator[tuple[str, str]]:
    if first.subject.graph is not None and second.subject.graph is not None:
        from titrant.runtime.backends.onnxruntime.layer_names import same_nodes

        same = same_nodes(second.subject.graph.graph, first.subject.graph.graph)
        yield from ((ours, theirs) for theirs, ours in same.items() if theirs in second.tensors)
        yield from ((name, name) for name in first.tensors if name in second.tensors and name not in same.values())
    elif second.subject.graph is not None:
        yield from ((layer, node) for node, layer in _in_graph(second, first) if node in second.tensors)
    elif first.subject.graph is not None:
        yield from ((node, layer) for node, layer in _in_graph(first, second) if node in first.tensors)
    else:
        plain = {_bare(name): name for name in second.tensors}
        yield from ((name, plain[_bare(name)]) for name in first.tensors if _bare(name) in plain)


def _in_graph(graph: WeightedLayers, modules: WeightedLayers) -> Iterator[tuple[str, str]]:
    """Yield (node, layer) of the nodes of a graph that compute one of the other model's layers."""
    from titrant.runtime.backends.onnxruntime.layer_names import layers_by_node

    assert graph.subject.graph is not None
    bare = {_bare(name): name for name in modules.tensors}
    owners = {
        name.rpartition(".")[0] if tensor.name == name else name: name for name, tensor in modules.tensors.items()
    }
    names = {**{owner: name for owner, name in owners.items() if owner}, **bare}
    for node, layer in layers_by_node(graph.subject.graph.graph, tuple(names), inside=True).items():
        yield node, names[layer]
    yield from ((name, bare[name]) for name in graph.tensors if name in bare)  # what is added, such as positions


def _bare(name: str) -> str:
    wrapper = next((each for each in _WRAPPERS if name.startswith(each)), "")
    return _bare(name.removeprefix(wrapper)) if wrapper else name
