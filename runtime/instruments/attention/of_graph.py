"""Capture the attention of an ONNX graph: the softmax of a product of two computed tensors, or a fused operator's."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from titrant.runtime.backends.onnxruntime.graph import MICROSOFT, STANDARD
from titrant.runtime.instruments.attention.attention_map import AttentionMap
from titrant.runtime.instruments.attention.fused_operators import FUSED, operator_weights, read_tensors
from titrant.runtime.instruments.calls.graph_call import graph_tensors_at
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

if TYPE_CHECKING:
    import onnx

    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

_PRODUCTS = ("Einsum", "FusedMatMul", "Gemm", "MatMul", "QLinearMatMul", "TransposeMatMul")
_SOFTMAX = ("Softmax", "QLinearSoftmax")
# What leaves scores scores: scaling, masks, caps, formats and shapes.
_PASSES = (
    "Add", "Cast", "Clip", "DequantizeLinear", "Div", "Expand", "Identity", "Max", "Min", "Mul", "Neg",
    "QuantizeLinear", "Reshape", "Slice", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
# Attention of onnxruntime's that this cannot take apart.
_OTHERS = (
    "DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "GroupQueryAttention", "LongformerAttention",
    "PackedAttention", "PackedMultiHeadAttention", "PagedAttention", "QAttention", "SparseAttention",
)  # fmt: skip


def capture(model: "onnx.ModelProto", inputs: Mapping[str, np.ndarray]) -> tuple[AttentionMap, ...]:
    """Run a graph with its weights inside and return the attention of each layer, in the order of the nodes.

    Layers are the modules that the nodes were traced in where their names say so, else the nodes. Raises StepError X685
    for attention that cannot be taken apart, and what `graph_tensors_at` does.
    """
    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames

    names = GraphNames.of(model.graph)
    own = {node.name or id(node) for node in model.graph.node}
    weighed = list(_weighed(model, names))
    inside = [node for node in names.nodes.values() if (node.name or id(node)) not in own]
    if not weighed and any(node.op_type in (*_SOFTMAX, "Attention", *_OTHERS) for node in inside):
        message = "the attention lies within a loop or a branch of the graph, whose tensors cannot be read"
        raise StepError(Diagnostic("X685", message, help="export the model without control flow, for a fixed length"))
    asked = [tensor for _, node in weighed for tensor in read_tensors(node)]
    held = dict(graph_tensors_at(model, inputs, asked)) if asked else {}
    maps, calls = [], dict[str, int]()
    for name, node in weighed:
        layer = _layer(name)
        calls[layer] = calls.get(layer, 0) + 1
        layer = layer if calls[layer] == 1 else f"{layer}#{calls[layer]}"
        fused = node.op_type in FUSED
        weights = operator_weights(layer, node, held) if fused else _of_softmax(names, node, held)
        maps.append(AttentionMap(layer, _by_head(weights.astype(np.float32), inputs), fused))
    return tuple(maps)


def _weighed(model: "onnx.ModelProto", names: "GraphNames") -> "Iterator[tuple[str, onnx.NodeProto]]":
    by_output = {node.output[0]: name for name, node in names.nodes.items() if node.output}
    for node in model.graph.node:
        name = by_output[node.output[0]]
        if node.op_type in _OTHERS and node.domain == MICROSOFT:
            message = f"{name} is a fused {node.op_type}, which keeps its weights to itself"
            advice = "capture them of the module, or of a file that is exported without onnxruntime's fusions"
            raise StepError(Diagnostic("X685", message, help=advice))
        if (node.op_type in FUSED and node.domain in (*STANDARD, MICROSOFT)) or (
            node.op_type in _SOFTMAX and _of_product(names, node.input[0])
        ):
            yield name, node


def _of_product(names: "GraphNames", tensor: str) -> bool:
    """Whether a tensor is made, by what leaves scores scores, of a product of two computed tensors."""
    waiting, seen = [tensor], {tensor}
    while waiting:
        maker = names.nodes.get(names.makers.get(waiting.pop(0), ""))
        if maker is None:
            continue
        if maker.op_type in _PRODUCTS:
            read = (0, 3) if maker.op_type == "QLinearMatMul" else (0, 1)
            if all(place < len(maker.input) and not names.constant(maker.input[place]) for place in read):
                return True
            continue
        if maker.op_type in _PASSES:
            fresh = [name for name in maker.input if name and name not in seen and name not in names.constants]
            waiting += fresh
            seen |= {*fresh}
    return False


def _of_softmax(names: "GraphNames", node: "onnx.NodeProto", held: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what a softmax gave; of whole numbers the fractions that they stand for."""
    values = held[node.output[0]]
    if values.dtype.kind == "f":
        return values
    total: np.ndarray = values.astype(np.float32)
    return total / total.sum(axis=-1, keepdims=True)


def _layer(name: str) -> str:
    from titrant.runtime.backends.onnxruntime.layer_names import module_called

    return module_called(name) or name


def _by_head(weights: np.ndarray, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return (batch, heads, queries, keys); heads that lie in the batch are told from it by the rows of the inputs."""
    if weights.ndim >= 4:
        return weights.reshape(-1, *weights.shape[-3:])
    if weights.ndim < 3:
        return weights[None, None]
    rows = len(next(iter(inputs.values()), ())) if inputs else 0
    heads = weights.shape[0] // rows if rows and weights.shape[0] % rows == 0 else 1
    return weights.reshape(-1, heads, *weights.shape[1:])
