"""Store weights in 8 or 4 bits for OpenVINO; activations stay in fp32."""

from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import CONVOLUTIONS, EMBEDDINGS, PRODUCTS_IN_FILE, takes_none
from titrant.runtime.method import Method
from titrant.runtime.operators.export.openvino import int4_bytes, int8_bytes, not_installed, unfit
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

QUANTIZED = (*CONVOLUTIONS, *PRODUCTS_IN_FILE, *EMBEDDINGS)
_EIGHT, _WIDTHS = 8, (8, 4)
IN_FOUR_BITS = (*PRODUCTS_IN_FILE, *EMBEDDINGS)
# Loading, rewriting and opening the graph: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.2, 0.01
_READ_BYTES_PER_SECOND = 30e6


class OpenvinoWeightsParams(Params):
    """How many bits a weight has, and how many weights share a scale."""

    bits: int = Field(8, description="8 or 4; convolutions still have 8")
    symmetric: bool = Field(True, description="no zero points: smaller; false is closer to the weights, above all of 4")
    group_size: int = Field(
        128, ge=2, description="of 4 bits: weights that share a scale; a product whose sums it does not divide gets "
        "the largest power of two that does, and below 32 a scale for each column"
    )  # fmt: skip
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def requires(params: OpenvinoWeightsParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need openvino, nncf, and a layer with weights; of 4 bits a matrix product."""
    unmet = (*not_installed(hardware, "openvino", "nncf"), *unfit(model))
    if params.bits not in _WIDTHS:
        unmet = (*unmet, Unmet(f"weights have 8 bits or 4, not {params.bits}", "set quantization.bits to 8 or 4"))
    if model is None or unfit(model):
        return unmet
    if params.bits != _EIGHT and takes_none(model, *IN_FOUR_BITS):
        return (*unmet, Unmet("4 bits are for matrix products and embeddings, and the model has none", "write bits: 8"))
    if not takes_none(model, *QUANTIZED):
        return unmet
    return (*unmet, Unmet("the model has no convolution and no matrix product in fp32", "use quantization.method none"))


def chooses(layer: Layer) -> bool:
    """Whether nothing is asked of the precision of a layer: kernels of convolutions take unpacked weights."""
    return layer.type in CONVOLUTIONS


def predict(
    params: OpenvinoWeightsParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the bits of each weight and the scales of each group."""
    if model is None:
        return Prediction()
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _READ_BYTES_PER_SECOND
    size = (
        int8_bytes(model, params.leave, ranges=False)
        if params.bits == _EIGHT
        else int4_bytes(model, params.leave, params.group_size)
    )
    return modelled(hardware, seconds, 4 * model.weight_bytes, size)


@operator(
    "quantize.openvino_weights",
    version=3,
    family="quantize",
    params=OpenvinoWeightsParams,
    inputs={"model": "onnx"},
    outputs={"model": "ir"},
    requires=requires,
    predict=predict,
    loads=("titrant.runtime.backends.openvino.compression", "onnx"),
    libraries=("openvino", "nncf", "onnx", "numpy"),
    method=Method(
        "openvino.weights",
        takes="onnx",
        engine="openvino",
        format="openvino",
        bits=(8, 4),
        rank=3,
        devices=("cpu",),
        # Measured with and without AMX, on an encoder and a multilayer perceptron; 4 bits are no faster than 8.
        arithmetic=Arithmetic(speedups=(Speedup(("product",), {1: 3.5, 32: 2.2, 1024: 1.5}),), weights=0.25),
        layers=QUANTIZED,
        named="convolutions, matrix products and embeddings",
        chooses=chooses,
    ),
)
def quantize_openvino_weights(params: OpenvinoWeightsParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Store weights in 8 or 4 bits by NNCF's weight compression; there is nothing to calibrate.

    Helps when: most of the file is matrix products or embeddings, and few rows are multiplied at once: OpenVINO's
                kernels unpack weights as they read them. Convolutions are unpacked once and run in f32: only the file
                gets smaller.
    Inputs:     model - an fp32 ONNX file
    Outputs:    model - an OpenVINO IR that was compiled once. The measurements int8_layers and int4_layers count the
                constants of weights by their bits
    Fails:      PreconditionError X210 when there is nothing to compress; StepError X250 when OpenVINO cannot take over
                the graph, X252 when NNCF fails on it
    Cost:       one pass over the weights; peak memory is four times the file
    """
    from titrant.runtime.backends.openvino.compression import compressed, left_alone, packed
    from titrant.runtime.backends.openvino.convert import converted, write_ir
    from titrant.runtime.backends.openvino.session import open_session

    graph, source = converted(model.path)
    left = left_alone(graph, source, params.leave)
    result = compressed(graph, params.model_dump(), left=left, threads=context.threads)
    counts = packed(result)
    context.measure("int8_layers", counts.get("i8", 0) + counts.get("u8", 0))
    context.measure("int4_layers", counts.get("i4", 0) + counts.get("u4", 0))
    written = write_ir(result, source, context.scratch / "ir")
    open_session(written, threads=context.threads).close()  # proves that it can be loaded
    return {"model": written}
