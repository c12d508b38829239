"""Tell which layers of the original, and which nodes of the file, each node of an optimized graph computes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.executed import precision_of
from titrant.runtime.backends.onnxruntime.layer_names import (
    GraphNames,
    called_layer,
    layers_by_node,
    module_called,
    same_nodes,
    spellings,
)

# What onnxruntime itself puts between nodes, to bring numbers into another order or format.
_BETWEEN = (
    "ReorderInput", "ReorderOutput", "Cast", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
    "MemcpyToHost", "MemcpyFromHost",
)  # fmt: skip
# What multiplies computed arrays or constants: a layer, whoever calls it.
_MULTIPLY = (
    "Attention", "Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul", "MultiHeadAttention", "QLinearConv",
    "QLinearMatMul", "MatMulInteger", "ConvInteger",
)  # fmt: skip


@dataclass(frozen=True)
class ComputedNodes:
    """What each node of the optimized graph computes: a layer of the original, nodes of the file, in which precision.

    `layers` has the first layer of each, "" for what is none, `joined` the others, `parts` the file's nodes.
    """

    layers: Mapping[str, str]
    joined: Mapping[str, tuple[str, ...]]
    parts: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, str]  # layer → the operator of the file's node that multiplies, else the first one's
    precisions: Mapping[str, str]  # of nodes with weights

    @classmethod
    def of(cls, ran: onnx.GraphProto, written: onnx.GraphProto, layers: Collection[str]) -> "ComputedNodes":
        """Follow the nodes of a file into what the engine made of them.

        A node that is not there any more lies in the one whose answer is the next that both graphs have.
        """
        engine, file = GraphNames.of(ran), GraphNames.of(written)
        same = same_nodes(ran, written)
        owners = _makers(engine, file, same)
        of_node = _layers_of_nodes(file, layers_by_node(written, layers, inside=True), layers)
        parts: dict[str, list[str]] = {}
        for node in file.nodes:
            if not _is_constant(file, node) and (owner := _owner(node, file, owners)):
                parts.setdefault(owner, []).append(node)
        named: dict[str, list[str]] = {}
        for owner, nodes in parts.items():
            for node in sorted(nodes, key=lambda node: (node not in file.weights, not _multiplies(file, node))):
                layer = of_node.get(node, "")
                if layer and layer not in named.setdefault(owner, []):
                    named[owner].append(layer)
        telling = sorted(of_node, key=lambda node: (node in file.weights, _multiplies(file, node)))
        kinds = {of_node[node]: file.nodes[node].op_type for node in telling}
        return cls(
            {owner: layer[0] for owner, layer in named.items() if layer},
            {owner: tuple(layer[1:]) for owner, layer in named.items()},
            {owner: tuple(nodes) for owner, nodes in parts.items()},
            kinds,
            {name: precision_of(engine, name, file, same) for name in engine.weights},
        )


def _layers_of_nodes(file: GraphNames, heavy: Mapping[str, str], layers: Collection[str]) -> dict[str, str]:
    """Return {node of the file: layer}; a module whose own code multiplies is one, with all that it calls itself."""
    named = {node: heavy.get(node) or called_layer(node, layers) for node in file.nodes}
    unnamed = [node for node, layer in named.items() if not layer]
    own = {module_called(node) or node for node in unnamed if _multiplies(file, node)}
    return {node: layer for node, layer in named.items() if layer} | {
        node: name for node in unnamed for name in (module_called(node) or node,) if name in own
    }


def _multiplies(file: GraphNames, node: str) -> bool:
    return file.nodes[node].op_type in _MULTIPLY


def _is_constant(file: GraphNames, node: str) -> bool:
    """Whether a node is made of constants alone, and so computed once."""
    return all(not name or name in file.constants for name in file.nodes[node].input)


def _makers(engine: GraphNames, file: GraphNames, same: Mapping[str, str]) -> dict[str, str]:
    """Return {node of the file: node of the optimized graph} of those whose own answer, or product, is still there."""
    owners = {node: name for name, node in same.items()}
    for between in (False, True):  # what only moves an answer on has its name, too
        for tensor, maker in engine.makers.items():
            if (engine.nodes[maker].op_type in _BETWEEN) is between:
                node = next((file.makers[name] for name in spellings(tensor) if name in file.makers), "")
                if node:
                    owners.setdefault(node, maker)
    return owners


def _owner(node: str, file: GraphNames, owners: Mapping[str, str]) -> str:
    """Return the engine's node that a node of the file is, or lies in; "" for one that was folded away."""
    waiting, seen = [node], {node}
    while waiting:
        at = waiting.pop(0)
        if at in owners:
            return owners[at]
        for tensor in file.nodes[at].output:
            for reader in file.readers.get(tensor, ()):
                if reader not in seen:
                    seen.add(reader)
                    waiting.append(reader)
    return ""
