"""Quantize matrix products to int8 with dynamic activation scales."""

from typing import TYPE_CHECKING

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.catalog import Context
from titrant.runtime.engines.onnxruntime_engine import load
from titrant.runtime.onnx.folding import folded
from titrant.runtime.onnx.graph_file import read, write
from titrant.runtime.onnx.modern import modern
from titrant.runtime.onnx.products import PRODUCTS, count, weighted_nodes, without_gemm
from titrant.runtime.onnx.quiet import quiet
from titrant.runtime.onnx.tool_errors import explained
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics import Diagnostic, PreconditionError

if TYPE_CHECKING:
    from titrant.runtime.operators.quantize_ort_dynamic import OrtDynamicParams


def quantize(model: OnnxModel, params: "OrtDynamicParams", context: Context) -> tuple[OnnxModel, int, int]:
    """Return the written file, how many nodes are quantized, and how many with weights are not."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = modern(read(model.path))
    if not weighted_nodes(graph, PRODUCTS):
        raise PreconditionError(
            Diagnostic(
                "X210",
                "the graph has no MatMul or Gemm with constant fp32 weights; convolutions stay as they are",
                help="use quantization.method ort.static",
            )
        )
    source, raw = folded(graph, context.scratch), context.scratch / "raw.onnx"
    graph = read(source)
    weighted, products = weighted_nodes(graph), weighted_nodes(graph, PRODUCTS)
    without_gemm(graph)
    # Shapes that an exporter noted would contradict what the tools infer.
    del graph.graph.value_info[:]
    onnx.save(graph, str(source))
    with explained("dynamic"), quiet(context.scratch):
        quantize_dynamic(
            source,
            raw,
            op_types_to_quantize=["MatMul"],
            per_channel=params.per_channel,
            reduce_range=params.reduce_range,
            weight_type={"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}[params.weight_type],
            extra_options={"MatMulConstBOnly": True},
        )
    result = read(raw)
    for file in (source, raw):
        file.unlink()
    written = write(result, context.scratch / "model.onnx")
    load(written.path, threads=1)  # proves that it can be loaded
    quantized = count(result, "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
    return written, quantized, len(weighted) - len(products)
