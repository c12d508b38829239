"""Quantize products, embeddings and LSTMs to int8 for onnxruntime, with activation scales computed at run time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.matrices import quantized_already, recurrent_sizes
from titrant.runtime.cost.sizes import (
    CONVOLUTIONS,
    EMBEDDINGS,
    PRODUCTS_IN_FILE,
    SCALE_BYTES,
    channels,
    layers_of,
    missing,
    saved_by_int8,
    short_onnx_bytes,
    takes_none,
    zero_point_bytes,
)
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import onnx

    from titrant.runtime.values import OnnxModel

RECURRENT = ("LSTM",)
QUANTIZED = (*PRODUCTS_IN_FILE, *EMBEDDINGS, *RECURRENT)
# What it is known to leave in fp32, each for a reason of its own.
LEFT = (*CONVOLUTIONS, "GRU", "RNN")
_MATRIX = 2

# Nodes that replace one product, with their names.
NODES_BYTES = 250
# Reading, rewriting and opening the graph: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.04, 0.001
_READ_BYTES_PER_SECOND = 20e6
_VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")


class OrtDynamicParams(Params):
    """How weights are scaled."""

    per_channel: bool = Field(True, description="a scale for each output channel rather than for the whole weight")
    reduce_range: bool = Field(
        True, description="7-bit weights: needed for true sums where the processor multiplies without VNNI"
    )
    weight_type: Literal["int8", "uint8"] = Field("int8", description="number format of the weights")
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def leaves(layer: Layer) -> str:
    """Say why a layer keeps its weights in fp32; "" where it does not."""
    if layer.type in CONVOLUTIONS:
        return "with scales found anew for each batch convolutions take 8 to 16 times as long in onnxruntime"
    if layer.type in ("GRU", "RNN"):
        return f"onnxruntime has an int8 kernel for LSTM and none for {layer.type}"
    if layer.type != "MatMul" or not layer.weight_shape:
        return ""
    shape = layer.weight_shape
    if layer.weight_operand == 0:
        return "its weight is the left operand, and onnxruntime quantizes the right one"
    if len(shape) < _MATRIX or set(shape[:-_MATRIX]) - {1}:
        return f"its weight is {' × '.join(map(str, shape))}, and onnxruntime has a scale for each column of a matrix"
    return ""


def requires(params: OrtDynamicParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need onnxruntime and a matrix product, embedding or LSTM with constant weights: convolutions become slower."""
    unmet = missing(hardware, "onnx", "onnxruntime")
    if model is None:
        return unmet
    if again := quantized_already(model):
        return (*unmet, *again)
    left = [because for layer in model.layers if layer.type in QUANTIZED and (because := leaves(layer))]
    kept = replace(model, layers=tuple(layer for layer in model.layers if not leaves(layer)))
    if not takes_none(kept, *QUANTIZED):
        return unmet
    nothing = "ort.dynamic quantizes matrix products, embeddings and LSTMs only, and the model has none in fp32"
    return (*unmet, Unmet(f"{nothing} that it takes: {left[0]}" if left else nothing, "use ort.static"))


def predict(
    params: OrtDynamicParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte for each weight of a matrix product, embedding or LSTM and four elsewhere."""
    if model is None:
        return Prediction()
    nodes = NODES_BYTES * len(layers_of(model, *QUANTIZED))
    saved = saved_by_int8(model, *PRODUCTS_IN_FILE, *EMBEDDINGS)
    if params.per_channel:
        saved -= SCALE_BYTES * channels(model, *PRODUCTS_IN_FILE) + zero_point_bytes(model, *PRODUCTS_IN_FILE)
    for layer in layers_of(model, *RECURRENT):
        weights, rows = recurrent_sizes(layer)
        saved += 3 * weights - ((2 * SCALE_BYTES + 1) * rows if params.per_channel else 0)
    size = short_onnx_bytes(model) - saved + nodes
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _READ_BYTES_PER_SECOND
    peak = 4 * model.weight_bytes
    return modelled(hardware, seconds, peak, size)


@operator(
    "quantize.ort_dynamic",
    version=5,
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
        # Measured with onnxruntime 1.31 on one thread, products of 256 to 768 inputs and LSTMs of 128 and 160.
        arithmetic=Arithmetic(
            speedups=(
                Speedup(("product",), {1: 2.9, 32: 3.0, 256: 2.8}, on=_VNNI),
                Speedup(("product",), {1: 1.2}),
                Speedup(("recurrent",), {1: 2.2, 32: 1.8}, on=_VNNI),
                Speedup(("recurrent",), {1: 1.3}),
            ),
            layer_seconds=0.8e-6,
            weights=0.25,
            work=1.15,
        ),
        layers=(*QUANTIZED, *LEFT),
        named="matrix products, embeddings and LSTMs",
        leaves=leaves,
    ),
)
def quantize_ort_dynamic(params: OrtDynamicParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Quantize the constant weights of MatMul, Gemm, Gather and LSTM to int8; activations are quantized as they come.

    Helps when: most of the time goes into matrix products or an LSTM, or most of the file is an embedding, and there is
                nothing to calibrate with.
    Inputs:     model - an fp32 ONNX file with at least one MatMul, Gemm, Gather or LSTM whose weights are constant,
                also where they are first transposed, cast or reshaped
    Outputs:    model - an ONNX file; convolutions stay in fp32, since dynamic scales make them 8 to 16 times slower,
                and so do GRU and RNN, for which there are no kernels, weights with batch axes or on the left, which
                kernels have no scale a column for, and the layers of `leave`. The measurements quantized_nodes and
                fp32_nodes count the nodes with weights. An answer can depend on who shares the batch
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

    from titrant.runtime.backends.onnxruntime.compact.compact import compact
    from titrant.runtime.backends.onnxruntime.graph import (
        PRODUCT,
        WEIGHTED,
        mend_order,
        read,
        weighted_nodes,
        without_gemm,
        write,
    )
    from titrant.runtime.backends.onnxruntime.layer_names import layers_by_node
    from titrant.runtime.backends.onnxruntime.left_float import part
    from titrant.runtime.backends.onnxruntime.normalize import restore_names
    from titrant.runtime.backends.onnxruntime.session import load
    from titrant.runtime.backends.onnxruntime.titration.int8_limits import scaled_as_one
    from titrant.runtime.backends.onnxruntime.tools import apply_tool, prepared, quiet

    graph, names = prepared(model.path, context.scratch)
    left = layers_by_node(graph.graph, params.leave)
    without_gemm(graph)
    # A kernel takes a scale for each column of a matrix, and no other per channel.
    taken = [*weighted_nodes(graph, ("MatMul",), but=scaled_as_one(graph)), *weighted_nodes(graph, ("Gather", "LSTM"))]
    chosen = [node for node in taken if node not in left and node.removesuffix(PRODUCT) not in left]
    if not chosen:
        raise PreconditionError(
            Diagnostic(
                "X210",
                "no MatMul, Gemm or LSTM has constant fp32 weights, no Gather an fp32 table; the rest stays as it is",
                help="use quantization.method ort.static",
            )
        )
    part(graph, chosen)
    source, raw = context.scratch / "source.onnx", context.scratch / "raw.onnx"
    onnx.save(graph, str(source))

    def make(nodes: Sequence[str]) -> None:
        with quiet(context.scratch):
            quantize_dynamic(
                source,
                raw,
                op_types_to_quantize=["MatMul", "Gather", "LSTM"],
                nodes_to_quantize=list(nodes),
                per_channel=params.per_channel,
                reduce_range=params.reduce_range,
                weight_type={"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}[params.weight_type],
                extra_options={"MatMulConstBOnly": True},
            )

    apply_tool("dynamic", chosen, make)
    result = mend_order(read(raw))
    for file in (source, raw):
        file.unlink()
    restore_names(result, names)
    compact(result)
    written = write(result, context.scratch / "model.onnx")
    load(written.path, threads=1)  # proves that it can be loaded
    return written, quantized_nodes(result), len(weighted_nodes(result, (*WEIGHTED, "Gather", "LSTM", "GRU", "RNN")))


def quantized_nodes(graph: "onnx.ModelProto") -> int:
    """Count the products and LSTMs of whole numbers, and the tables of whole numbers that rows are looked up in."""
    whole = ("MatMulInteger", "DynamicQuantizeLSTM")
    tables = {tensor.name for tensor in graph.graph.initializer if tensor.data_type in (2, 3) and len(tensor.dims) > 1}
    return sum(
        node.op_type in whole or (node.op_type == "Gather" and node.input[0] in tables) for node in graph.graph.node
    )
