"""Tell which layer of the original each node of an ONNX graph computes, through exporters, tools and fusions.

A layer is a module by its name (layer1.0.conv1) or a node of the original's own graph. Neither exporters nor engines
keep it: what is left of it stands in the names of nodes and weights, and in what reads what. A node's own metadata are
dropped by onnxruntime's optimizer.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import onnx  # noqa: TID253 - its very subject

from titrant.schema.values.frozen import dataclass

# What only moves or unpacks numbers: a weight is looked for behind it.
MOVES = (
    "Cast", "DequantizeLinear", "Expand", "Flatten", "Identity", "QuantizeLinear", "ReorderInput", "Reshape", "Slice",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
# What takes numbers one by one: a constant operand is no layer's weight, such as that of a position.
_ELEMENTWISE = (
    "Add", "And", "Clip", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Greater", "If", "Less", "Loop",
    "Max", "Min", "Mod", "Mul", "Or", "PRelu", "Pad", "Pow", "QLinearAdd", "QLinearConcat", "QLinearMul", "Range",
    "ReduceMean", "Resize", "ScatterElements", "ScatterND", "Sub", "Sum", "Where",
)  # fmt: skip
_WIDE, _SUMS = 2, ("Add", "QLinearAdd")
_WHOLE = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING)
# What onnxruntime and its tools put before or behind the name of a node or tensor.
_BEFORE = "fused "
_BEHIND = re.compile(
    r"(_token_\d+|_nchwc|_nhwc|_pre_q|_q|_dq|_q_to_dq|_quant\w*|_Q\d\w*|_matmul_Q\d\w*|_product|_bias|_pooled|_transposed|_output_\d+|_scale|"
    r"_zero_point|_DequantizeLinear\w*|_QuantizeLinear\w*|/\w*(Fusion|Quantization|Transformer)\w*|_alpha|_beta|_flat|_\d+)$"
)
# The operator at the end of a name that an exporter makes of the way to a module: /layer1/layer1.0/conv1/Conv_1.
_OPERATOR = re.compile(r"[A-Z]\w*")
# What an optimizer puts in the place of one, with a name of its own: /fc/MatMul/MatMulAddFusion.
_MADE = re.compile("Fusion|Quantization|Transformer")
_FUSED = re.compile(r"/\w*(Fusion|Quantization|Transformer)\w*$")
_REPEATED = re.compile(r"_\d+(?=\.|$)")


@dataclass(frozen=True)
class GraphNames:
    """A graph with the graphs inside it: its nodes by name, its constants, and what makes and reads each tensor."""

    nodes: Mapping[str, onnx.NodeProto]
    constants: Mapping[str, onnx.TensorProto]
    makers: Mapping[str, str]  # tensor → node
    readers: Mapping[str, tuple[str, ...]]
    # {node: weight} of every node that multiplies by a constant of two or more dimensions, or looks rows up in one.
    # What comes unpacked, cast or moved counts as what it is made of.
    weights: Mapping[str, str]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> "GraphNames":
        """Read a graph; nodes without a name, or with another's, are called after their operator and place."""
        nodes: dict[str, onnx.NodeProto] = {}
        constants: dict[str, onnx.TensorProto] = {}
        for place, node, held in _inside(graph):
            constants |= {tensor.name: tensor for tensor in held}
            nodes[node.name if node.name and node.name not in nodes else _free(f"{node.op_type}_{place}", nodes)] = node
            values = [item.t for item in node.attribute if node.op_type == "Constant" and item.t.dims]
            constants |= dict(zip(node.output, values, strict=False))
        readers: dict[str, list[str]] = {}
        for name, node in nodes.items():
            for tensor in dict.fromkeys(node.input):
                readers.setdefault(tensor, []).append(name)
        makers = {tensor: name for name, node in nodes.items() for tensor in node.output if tensor}
        names = cls(nodes, constants, makers, {tensor: tuple(reading) for tensor, reading in readers.items()}, {})
        weights = {name: weight for name, node in nodes.items() if (weight := names._weight(node))}
        return replace(names, weights=weights)

    def _weight(self, node: onnx.NodeProto) -> str:
        if node.op_type in (*MOVES, *_ELEMENTWISE):
            return ""
        held = (self.constant(tensor) for tensor in node.input)
        wide = (name for name in held if name and len(self.constants[name].dims) >= _WIDE)
        return next((name for name in wide if self.constants[name].data_type not in _WHOLE), "")

    def constant(self, tensor: str) -> str:
        """Name the constant that a tensor is, or is moved or unpacked from; "" for what is computed."""
        while tensor and tensor not in self.constants:
            maker = self.nodes.get(self.makers.get(tensor, ""))
            if maker is None or maker.op_type not in MOVES or not maker.input:
                return ""
            tensor = maker.input[0]
        return tensor

    def nearest(self, name: str) -> Iterator[str]:
        """Yield the nodes with weights whose answers a node is made of: itself, or the nearest, none behind one."""
        waiting, seen = [name], {name}
        while waiting:
            at = waiting.pop(0)
            if at in self.weights:
                yield at
                continue
            for tensor in self.nodes[at].input:
                maker = self.makers.get(tensor)
                if maker is not None and maker not in seen:
                    seen.add(maker)
                    waiting.append(maker)

    def ahead(self, name: str) -> Iterator[str]:
        """Yield the tensors that are made of a node's answer, the nearest first, up to the next nodes with weights."""
        waiting, seen = [*self.nodes[name].output], {*self.nodes[name].output}
        while waiting:
            tensor = waiting.pop(0)
            yield tensor
            for reader in self.readers.get(tensor, ()):
                fresh = (
                    [] if reader in self.weights else [made for made in self.nodes[reader].output if made not in seen]
                )
                waiting += fresh
                seen |= {*fresh}


def _inside(graph: onnx.GraphProto) -> Iterator[tuple[int, onnx.NodeProto, Collection[onnx.TensorProto]]]:
    """Yield every node with its place in its own graph, and with the first of a graph the weights of that."""
    held: Collection[onnx.TensorProto] = graph.initializer
    for place, node in enumerate(graph.node):
        yield place, node, held
        held = ()
        for item in node.attribute:  # the branches of an If, the body of a Loop
            for branch in (*item.graphs, *([item.g] if item.HasField("g") else [])):
                yield from _inside(branch)


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name = f"{name}_inside"
    return name


def layers_by_node(graph: onnx.GraphProto, layers: Collection[str], *, inside: bool = False) -> dict[str, str]:
    """Return {node: layer} of every node with weights that computes one of some layers of the original.

    The graph is exported, or made of an exported one by folding and quantizing it. `layers` may be a part of the
    original's. With `inside` they are all of them, and a node also counts as of the layer that its own lies in, such as
    what a layer was split into.
    """
    names = GraphNames.of(graph)
    owned = {}
    for node, weight in names.weights.items():
        layer = _layer(names, node, weight, layers, inside=inside)
        if layer:
            owned[node] = layer
    return owned | (_root(names, owned, layers) if inside else {})


def _layer(names: GraphNames, node: str, weight: str, layers: Collection[str], *, inside: bool) -> str:
    for name in spellings(node, whole=inside):
        if name in layers:
            return name
    owners = list(_owners(names, node, weight, whole=inside))
    exact = next((owner for owner in owners if owner in layers), "")
    if exact or not inside:
        return exact
    above = (owner.rsplit(".", dropped)[0] for owner in owners for dropped in range(1, owner.count(".") + 1))
    return next((owner for owner in above if owner in layers), "")


def spellings(name: str, *, whole: bool = True) -> Iterator[str]:
    """Yield what a name may have been before something was put in front or behind, itself first.

    A name that ends in a number may be another layer's: only where the `whole` is known is it cut, too.
    """
    name = name.removeprefix(_BEFORE)
    yield name
    while (shorter := (_BEHIND if whole else _FUSED).sub("", name)) != name:
        name = shorter
        yield name


def _owners(names: GraphNames, node: str, weight: str, *, whole: bool) -> Iterator[str]:
    """Yield the modules that a node may compute, the likeliest first.

    Where its name says in which module it was called, that is it, or the one inside it whose weights it reads: a tied
    weight has the name of another.
    """
    for called in _calls(node):
        yield from _owners_in(called, names, node, weight, whole=whole)


def _owners_in(called: str | None, names: GraphNames, node: str, weight: str, *, whole: bool) -> Iterator[str]:
    holders = [owner for name in (weight, *_biases(names, node)) if (owner := _holder(name)) is not None]
    inner = [owner for owner in holders if called is not None and (not called or owner.startswith(f"{called}."))]
    yield from inner
    if called and (whole or not inner):
        yield called
        again = _REPEATED.sub("", called)
        if again != called and (whole or _shares(names, node, weight, again)):
            yield again
    if not called or whole:
        yield from holders


def _shares(names: GraphNames, node: str, weight: str, called: str) -> bool:
    """Whether the module of that name multiplies by the same weight: the node is a further call of it."""
    others = (other for other, held in names.weights.items() if held == weight and other != node)
    return any(_called(other) == called for other in others)


def _called(node: str) -> str | None:
    """Return the module in whose call a node was traced, "" for the whole model; None where its name does not say.

    A module that is called by another than its parent has its whole name: /layer1/layer1.0/conv1/Conv.
    """
    return _calls(node)[0]


def _calls(node: str) -> tuple[str | None, ...]:
    """Return what `_called` does, and what else it may be: a number has the name of what holds it in front.

    /layers/layers.0/norm is layers.0.norm, or layers.layers.0.norm of an encoder that is called layers itself.
    """
    name = node.removeprefix(_BEFORE)
    if not name.startswith("/"):
        return (None,)
    parts = name[1:].split("/")
    operators = [place for place, part in enumerate(parts) if _OPERATOR.fullmatch(part) and not _MADE.search(part)]
    if not operators:
        return (None,)
    way = parts[: operators[-1]]
    kept = [part for part, after in zip(way, (*way[1:], ""), strict=False) if not after.startswith(f"{part}.")]
    return (".".join(kept),) if kept == way else (".".join(kept), ".".join(way))


def called_layer(node: str, layers: Collection[str]) -> str:
    """Return the layer in whose call a node was traced, by the node's name, or the node itself; "" where none is."""
    for name in spellings(node):
        if name in layers:
            return name
    ways = (called for called in _calls(node) if called)
    again = (name for way in ways for name in (way, _REPEATED.sub("", way)))
    return next((name for name in again if name in layers), "")


def module_called(node: str) -> str:
    """Return the module in whose call a node was traced, by the node's name; "" where that does not say."""
    return next((called for called in _calls(node) if called), "")


def _holder(tensor: str) -> str | None:
    """Return the module that holds a parameter of this name, "" for the whole model; None for what has no name."""
    if "::" in tensor or "/" in tensor:
        return None
    return tensor.rpartition(".")[0]


def _biases(names: GraphNames, node: str) -> Iterator[str]:
    """Yield the constants of one dimension that a node reads, or that are added to its answer."""
    read = list(names.nodes[node].input)
    for reader in names.readers.get(names.nodes[node].output[0], ()):
        read += names.nodes[reader].input if names.nodes[reader].op_type in _SUMS else ()
    for tensor in read:
        held = names.constant(tensor)
        if held and len(names.constants[held].dims) == 1 and _holder(held):
            yield held


def _root(names: GraphNames, owned: Mapping[str, str], layers: Collection[str]) -> dict[str, str]:
    """Give what the model itself holds to the first of the layers, which then is called after its class."""
    first = next(iter(layers), "")
    if not first[:1].isupper() or "." in first or first in owned.values():
        return {}
    return {
        node: first
        for node, weight in names.weights.items()
        if node not in owned and _called(node) in ("", None) and _holder(weight) == ""
    }


def same_nodes(optimized: onnx.GraphProto, written: onnx.GraphProto) -> dict[str, str]:
    """Return {node of the optimized graph: node of the file} of every node with weights that can be told.

    By its own name, by its weight's, by the tensor that it is named after or makes: what is fused behind a product
    gives it its name, and the way back from there leads to it. At last by the tensors that are made of its answer. A
    constant that is no weight tells nothing: equal ones become one.
    """
    engine, file = GraphNames.of(optimized), GraphNames.of(written)
    heavy = file.weights
    readers: dict[str, list[str]] = {}
    for node, weight in heavy.items():
        readers.setdefault(weight, []).append(node)
    same: dict[str, str] = {}
    for find in (_by_name, _by_weight, _by_tensor, _by_readers):
        for node, weight in engine.weights.items():
            if node in same:
                continue
            taken = set(same.values())
            left = [other for other in find(engine, file, node, weight, readers) if other in heavy]
            fresh = [other for other in left if other not in taken]
            if fresh:
                same[node] = fresh[0]
    return same


def _by_name(
    engine: GraphNames, file: GraphNames, node: str, weight: str, readers: Mapping[str, list[str]]
) -> Iterator[str]:
    if engine.nodes[node].name == node:  # else it is called so only here
        yield from (name for name in spellings(node) if name in file.nodes)


def _by_weight(
    engine: GraphNames, file: GraphNames, node: str, weight: str, readers: Mapping[str, list[str]]
) -> Iterator[str]:
    same = next((readers[name] for name in spellings(weight) if name in readers), [])
    if len(same) == 1:
        yield from same


def _by_tensor(
    engine: GraphNames, file: GraphNames, node: str, weight: str, readers: Mapping[str, list[str]]
) -> Iterator[str]:
    for tensor in (*spellings(node), *engine.nodes[node].output):
        if tensor in file.makers:
            yield from file.nearest(file.makers[tensor])


def _by_readers(
    engine: GraphNames, file: GraphNames, node: str, weight: str, readers: Mapping[str, list[str]]
) -> Iterator[str]:
    for tensor in engine.ahead(node):
        if tensor in file.makers:
            yield from file.nearest(file.makers[tensor])
