"""Read back from onnxruntime in which precision it runs each node with weights: it may differ from what a file says.

While it loads a file onnxruntime fuses, folds and quantizes anew; the graph that it then runs it writes on request.
"""

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.backends.backend import ExecutedLayer

if TYPE_CHECKING:
    import onnx

    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames
    from titrant.runtime.values import OnnxModel

# Nodes whose products are of whole numbers, besides all those whose names begin or end so.
_INTEGER = ("DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention", "QGemm", "QOrderedMatMul", "QMoE")
_INTEGER_BEGINS, _INTEGER_ENDS = "QLinear", ("Integer", "IntegerToFloat")
# What stores weights in fewer bits and says in how many.
_FEW_BITS = ("GatherBlockQuantized", "MatMulNBits")
_UNPACKS = "DequantizeLinear"
# ONNX's numbers of element types: what has fractions, and what is a byte.
_FLOATS, _BYTES = (1, 10, 11, 16), (2, 3)
# Rows are looked up as they are stored.
_LOOKS_UP = ("Gather", "GatherElements", "GatherND")


def executed(model: "OnnxModel", *, threads: int = 1, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    """Return every node of the optimized graph that multiplies by constant weights or looks rows up in them.

    Weights that are unpacked before a product count as what they are unpacked to. `layers` are all of the original's.
    Raises StepError X212 for a file that onnxruntime cannot load.
    """
    import onnx

    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames, layers_by_node, same_nodes
    from titrant.runtime.backends.onnxruntime.session import load

    with tempfile.TemporaryDirectory(prefix="titrant-") as folder:
        optimized = Path(folder) / "optimized.onnx"
        load(model.path, threads=threads, written_to=optimized)
        graph = onnx.load(optimized, load_external_data=False).graph
    written = onnx.load(model.path, load_external_data=False).graph
    of_file, same = layers_by_node(written, layers, inside=True), same_nodes(graph, written)
    ran, file = GraphNames.of(graph), GraphNames.of(written)
    return tuple(
        ExecutedLayer(
            of_file.get(same.get(name, ""), ""), name, precision_of(ran, name, file, same), ran.nodes[name].op_type
        )
        for name in ran.weights
    )


def precision_of(ran: "GraphNames", name: str, file: "GraphNames", same: Mapping[str, str]) -> str:
    """Return in what a node runs; int8 also where its weights were rounded to that anew, to be unpacked again."""
    node, weight = ran.nodes[name], ran.weights[name]
    before = file.constants[file.weights[same[name]]].data_type if name in same else None
    anew = before in _FLOATS and ran.constants[weight].data_type in _BYTES
    return _of_integers(node) or ("int8" if anew else _of_weight(ran, node, weight))


def _of_integers(node: "onnx.NodeProto") -> str:
    """Return the width of a node that multiplies whole numbers or unpacks few bits itself; "" for any other."""
    if node.op_type in _FEW_BITS:
        return f"int{next((item.i for item in node.attribute if item.name == 'bits'), 4)}"
    whole = node.op_type in _INTEGER or node.op_type.endswith(_INTEGER_ENDS)
    return "int8" if whole or node.op_type.startswith(_INTEGER_BEGINS) else ""


def _of_weight(names: "GraphNames", node: "onnx.NodeProto", weight: str) -> str:
    """Return the number format of a node's weights as they are multiplied, or of a table as it is stored."""
    data_type = names.constants[weight].data_type
    if node.op_type in _LOOKS_UP:
        return _format(data_type)
    at = next(tensor for tensor in node.input if names.constant(tensor) == weight)
    while at not in names.constants:
        maker = names.nodes[names.makers[at]]
        if maker.op_type == _UNPACKS:
            scale = names.constants.get(names.constant(maker.input[1]))
            return _format(data_type if scale is None else scale.data_type)
        if maker.op_type == "Cast":
            return _format(next(item.i for item in maker.attribute if item.name == "to"))
        at = maker.input[0]
    return _format(data_type)


def _format(data_type: int) -> str:
    import onnx

    types = onnx.TensorProto
    name = types.DataType.Name(data_type)  # type: ignore[arg-type]
    formats = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "DOUBLE": "fp64"}
    return formats.get(name, name.lower().removeprefix("u"))
