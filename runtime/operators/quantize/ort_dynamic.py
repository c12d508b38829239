"""Quantize matrix products to int8 for onnxruntime, with activation scales computed at run time."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Method, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import (
    DYNAMIC_CHANNEL_BYTES,
    FOLDED_ATTENTION_BYTES,
    PRODUCTS_IN_FILE,
    channels,
    layers_of,
    missing,
    onnx_bytes,
    saved_by_int8,
    takes_none,
)
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import OnnxModel

# Nodes that replace one product, with their names.
NODES_BYTES = 900
# Reading, rewriting and opening the graph: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.04, 0.001
_READ_BYTES_PER_SECOND = 20e6


class OrtDynamicParams(Params):
    """How weights are scaled."""

    per_channel: bool = Field(True, description="a scale for each output channel rather than for the whole weight")
    reduce_range: bool = Field(
        True, description="7-bit weights: needed for true sums where the processor multiplies without VNNI"
    )
    weight_type: Literal["int8", "uint8"] = Field("int8", description="number format of the weights")


def requires(params: OrtDynamicParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need onnxruntime and a matrix product with constant weights: convolutions would become slower."""
    unmet = missing(hardware, "onnx", "onnxruntime")
    if model is None or not takes_none(model, *PRODUCTS_IN_FILE):
        return unmet
    return (
        *unmet,
        Unmet("ort.dynamic quantizes matrix products only and the model has none in fp32", "use ort.static"),
    )


def predict(
    params: OrtDynamicParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte for each weight of a matrix product and four elsewhere."""
    if model is None:
        return Prediction()
    scales = DYNAMIC_CHANNEL_BYTES * channels(model, *PRODUCTS_IN_FILE) if params.per_channel else 0
    nodes = NODES_BYTES * len(layers_of(model, *PRODUCTS_IN_FILE))
    size = onnx_bytes(model, FOLDED_ATTENTION_BYTES) - saved_by_int8(model, *PRODUCTS_IN_FILE) + scales + nodes
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _READ_BYTES_PER_SECOND
    peak = 4 * model.weight_bytes
    return modelled(hardware, seconds, peak, size)


@operator(
    "quantize.ort_dynamic",
    version=1,
    family="quantize",
    params=OrtDynamicParams,
    inputs={"model": "onnx"},
    outputs={"model": "onnx"},
    requires=requires,
    predict=predict,
    loads=("onnx", "onnxruntime", "onnxruntime.quantization", "titrant.runtime.backends.onnxruntime.tools"),
    libraries=("onnx", "onnxruntime"),
    method=Method(
        "ort.dynamic",
        takes="onnx",
        engine="onnxruntime",
        format="onnx",
        bits=(8,),
        rank=3,
        dynamic_activations=True,
        devices=("cpu",),
        arithmetic=Arithmetic(products=0.5),
        layers=PRODUCTS_IN_FILE,
        named="matrix products",
    ),
)
def quantize_ort_dynamic(params: OrtDynamicParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Quantize the constant weights of MatMul and Gemm to int8; activations are quantized batch by batch.

    Helps when: most of the time goes into matrix products and there is nothing to calibrate with.
    Inputs:     model - an fp32 ONNX file with at least one MatMul or Gemm whose weights are constant
    Outputs:    model - an ONNX file; convolutions stay in fp32, since dynamic scales make them up to five times
                slower. The measurements quantized_nodes and fp32_nodes count the nodes with weights. An answer can
                depend on who shares the batch
    Fails:      PreconditionError when there is nothing to quantize; StepError when onnxruntime cannot load the result
    Cost:       one pass over the weights; peak memory is four times the file
    """
    quantized, nodes, left = quantize(model, params, context)
    context.measure("quantized_nodes", nodes)
    context.measure("fp32_nodes", left)
    return {"model": quantized}


def quantize(model: "OnnxModel", params: OrtDynamicParams, context: Context) -> "tuple[OnnxModel, int, int]":
    """Return the written file, how many nodes are quantized, and how many with weights are not."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from titrant.runtime.backends.onnxruntime.graph import (
        PRODUCTS,
        count,
        read,
        upgraded,
        weighted_nodes,
        without_gemm,
        write,
    )
    from titrant.runtime.backends.onnxruntime.session import load
    from titrant.runtime.backends.onnxruntime.tools import explained, folded, quiet

    graph = upgraded(read(model.path))
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
