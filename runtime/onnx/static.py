"""Quantize a whole graph to int8 with calibrated activation ranges."""

from pathlib import Path
from typing import TYPE_CHECKING

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.catalog import Context
from titrant.runtime.onnx.calibration import ranges
from titrant.runtime.onnx.graph_file import read, write
from titrant.runtime.onnx.loading import loaded_once, quantizing
from titrant.runtime.onnx.products import weighted_nodes
from titrant.runtime.onnx.quiet import quiet
from titrant.runtime.values import OnnxModel, Rows
from titrant.schema.diagnostics import Diagnostic, PreconditionError

if TYPE_CHECKING:
    from titrant.runtime.operators.quantize_ort_static import OrtStaticParams

# Quantize and dequantize nodes with a scale a channel came with this operator set.
LOWEST_OPSET = 13


def quantize(
    model: OnnxModel, rows: Rows, params: "OrtStaticParams", context: Context
) -> tuple[OnnxModel, int, bool]:
    """Return the written file, how many nodes have int8 weights, and whether the graph was prepared first."""
    if not weighted_nodes(read(model.path)):
        raise PreconditionError(
            Diagnostic(
                "X210",
                "the graph has no convolution and no matrix product with constant fp32 weights",
                help="use quantization.method none",
            )
        )
    graph, prepared = prepare(model.path, context.scratch)
    raw = context.scratch / "raw.onnx"
    found = None
    with quantizing("static", context.scratch):
        found = ranges(graph, rows, params, context)
        _quantize(graph, raw, found, params)
    result = read(raw)
    graph.unlink(), raw.unlink()
    written = loaded_once(write(result, context.scratch / "model.onnx"))
    return written, _int8_products(result), prepared


def prepare(path: Path, scratch: Path) -> tuple[Path, bool]:
    """Infer shapes and optimize the graph; where that fails, which it does on some transformers, copy it as it is.

    Quantization works either way; what was inferred lets it leave out needless conversions. Returns the file and
    whether it was prepared.
    """
    from onnxruntime.quantization import quant_pre_process

    target = scratch / "prepared.onnx"
    try:
        with quiet(scratch):
            quant_pre_process(str(path), str(target))
    # What symbolic shape inference raises on a graph that it does not understand.
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
        graph = read(path)
        del graph.graph.value_info[:]
        onnx.save(graph, str(target))
        return target, False
    return target, True
