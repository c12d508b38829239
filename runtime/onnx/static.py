"""Quantize a whole graph to int8 with calibrated activation ranges."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.catalog import Context
from titrant.runtime.engines.onnxruntime_engine import load
from titrant.runtime.onnx.calibration import ranges
from titrant.runtime.onnx.folding import folded
from titrant.runtime.onnx.graph_file import read, write
from titrant.runtime.onnx.modern import modern
from titrant.runtime.onnx.order import products_first
from titrant.runtime.onnx.pooling import pooled
from titrant.runtime.onnx.products import WEIGHTED, weighted_nodes
from titrant.runtime.onnx.quiet import quiet
from titrant.runtime.onnx.tool_errors import explained
from titrant.runtime.values import OnnxModel, Rows
from titrant.schema.diagnostics import Diagnostic, PreconditionError

if TYPE_CHECKING:
    from titrant.runtime.operators.quantize_ort_static import OrtStaticParams


def quantize(model: OnnxModel, rows: Rows, params: "OrtStaticParams", context: Context) -> tuple[OnnxModel, int]:
    """Return the written file and how many nodes have int8 weights."""
    graph = modern(read(model.path))
    if not weighted_nodes(graph):
        raise PreconditionError(
            Diagnostic(
                "X210",
                "the graph has no convolution and no matrix product with constant fp32 weights",
                help="use quantization.method none",
            )
        )
    prepared = folded(pooled(graph), context.scratch)
    with explained("static"):
        found = ranges(prepared, rows, params, context)
        result = _with_int8(prepared, found, params, context.scratch)
    prepared.unlink()
    written = write(result, context.scratch / "model.onnx")
    load(written.path, threads=1)  # proves that it can be loaded
    return written, int8_products(result)


def _with_int8(prepared: Path, found: Any, params: "OrtStaticParams", scratch: Path) -> onnx.ModelProto:
    from onnxruntime.quantization import QDQQuantizer, QuantType
    from onnxruntime.quantization.registry import QDQRegistry

    types = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}
    with quiet(scratch):
        quantizer = QDQQuantizer(
            products_first(read(prepared)),
            per_channel=params.per_channel,
            reduce_range=params.reduce_range,
            weight_qType=types[params.weight_type],
            activation_qType=types[params.activation_type],
            tensors_range=found,
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({*QDQRegistry, "GlobalAveragePool"}),
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    return result


def int8_products(graph: onnx.ModelProto) -> int:
    """Count the convolutions and matrix products whose weights come out of a DequantizeLinear of a constant."""
    constants = {one.name for one in graph.graph.initializer}
    weights = {
        node.output[0] for node in graph.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    return sum(
        node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in weights for node in graph.graph.node
    )
