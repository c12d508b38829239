"""Read back from onnxruntime in which precision it runs each node with weights: it may differ from what a file says.

While it loads a file onnxruntime fuses, folds and quantizes anew; the graph that it then runs it writes on request.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.backends.backend import ExecutedLayer

if TYPE_CHECKING:
    import onnx

    from titrant.runtime.values import OnnxModel

# Nodes whose products are of whole numbers, besides all those whose names begin or end so.
_INTEGER = ("DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention", "QGemm", "QOrderedMatMul", "QMoE")
_INTEGER_BEGINS, _INTEGER_ENDS = "QLinear", ("Integer", "IntegerToFloat")
# What stores weights in fewer bits and says in how many.
_FEW_BITS = "MatMulNBits"
_UNPACKS = "DequantizeLinear"
# What only moves or looks up numbers, or packs them.
_MOVES = ("Cast", "Constant", "Expand", "Gather", "QuantizeLinear", "Reshape", "Slice", "Tile", "Transpose", _UNPACKS)
_LEAST_DIMENSIONS = 2


def executed(model: "OnnxModel", *, threads: int = 1, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    """Return every node of the optimized graph that has weights.

    Weights that are unpacked before a product count as what they are unpacked to. Raises StepError X212 for a file that
    onnxruntime cannot load.
    """
    import onnx

    from titrant.runtime.backends.onnxruntime.session import load

    with tempfile.TemporaryDirectory(prefix="titrant-") as folder:
        optimized = Path(folder) / "optimized.onnx"
        load(model.path, threads=threads, written_to=optimized)
        graph = onnx.load(optimized).graph
    return tuple(_executed(graph, layers))


def _executed(graph: "onnx.GraphProto", layers: Collection[str]) -> Iterator[ExecutedLayer]:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    unpacked = {node.output[0]: node for node in graph.node if node.op_type == _UNPACKS}
    for place, node in enumerate(graph.node):
        for item in node.attribute:  # the branches of an If, the body of a Loop
            for branch in (*item.graphs, *([item.g] if item.HasField("g") else [])):
                yield from _executed(branch, layers)
        if node.op_type in _MOVES:
            continue
        precision = _of_integers(node) or _of_weights(node, weights, unpacked)
        if precision:
            name = node.name if node.name in layers else ""
            yield ExecutedLayer(name, node.name or f"{node.op_type}_{place}", precision, node.op_type)


def _of_integers(node: "onnx.NodeProto") -> str:
    """Return the width of a node that multiplies whole numbers or unpacks few bits itself; "" for any other."""
    if node.op_type == _FEW_BITS:
        return f"int{next((item.i for item in node.attribute if item.name == 'bits'), 4)}"
    whole = node.op_type in _INTEGER or node.op_type.endswith(_INTEGER_ENDS)
    return "int8" if whole or node.op_type.startswith(_INTEGER_BEGINS) else ""


def _of_weights(
    node: "onnx.NodeProto", weights: "Mapping[str, onnx.TensorProto]", unpacked: "Mapping[str, onnx.NodeProto]"
) -> str:
    """Return the number format of a node's weights as they are multiplied; "" where it has none."""
    for name in node.input:
        unpacking = unpacked.get(name)
        tensor = weights.get(name if unpacking is None else unpacking.input[0])
        if tensor is not None and len(tensor.dims) >= _LEAST_DIMENSIONS:
            scale = tensor if unpacking is None else weights.get(unpacking.input[1], tensor)
            return _format(scale.data_type)
    return ""


def _format(data_type: int) -> str:
    import onnx

    types = onnx.TensorProto
    name = types.DataType.Name(data_type)  # type: ignore[arg-type]
    return {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "DOUBLE": "fp64"}.get(name, name.lower())
