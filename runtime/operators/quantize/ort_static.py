"""Quantize a whole graph to int8 for onnxruntime, with activation ranges measured on calibration rows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, Port, operator
from titrant.runtime.cost.forward import (
    fixed_batch,
    forward_seconds,
    is_product,
    layer_output_bytes,
    modelled,
    speed_of,
)
from titrant.runtime.cost.matrices import quantized_already
from titrant.runtime.cost.sizes import (
    CONVOLUTIONS,
    EMBEDDINGS,
    LAYER_NORMS,
    PRODUCTS_IN_FILE,
    QDQ_LAYER_BYTES,
    layers_of,
    missing,
    qdq_scale_bytes,
    saved_by_int8,
    short_onnx_bytes,
    takes_none,
)
from titrant.runtime.method import FakeQuantization, Method, Mixing, Repair
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Variant, Work
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.backends.onnxruntime.titration.mixture import Int8

MULTIPLIED = (*CONVOLUTIONS, *PRODUCTS_IN_FILE)
QUANTIZED = (*MULTIPLIED, *EMBEDDINGS, *LAYER_NORMS)

# Reading, rewriting and opening the graph: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.08, 0.006
_READ_BYTES_PER_SECOND = 20e6
# Bytes of answers that are looked at in a second, for the largest and smallest or for a histogram.
_REDUCED_BYTES_PER_SECOND = {"minmax": 4e9, "entropy": 500e6, "percentile": 500e6, "mse": 500e6}
_VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")
# Measured with onnxruntime 1.31 on one thread: products of 256 to 768 inputs and networks of them, ResNet-20 and a
# depthwise network. Of activations in int8 half as many bytes are held as in fp32, since some stay.
_CONVOLUTIONS = (
    Speedup(("convolution",), {1: 2.0, 1024: 2.0}, on=_VNNI),
    Speedup(("depthwise",), {1: 1.1}, on=_VNNI),
    Speedup(("convolution", "depthwise"), {1: 1.2}),
    Speedup(("product",), {1: 1.2}),
)
_ARITHMETIC = Arithmetic(
    speedups=(Speedup(("product",), {1: 2.4, 8: 2.7, 32: 3.2, 256: 3.0}, on=_VNNI), *_CONVOLUTIONS),
    held=0.5,
    layer_seconds=0.9e-6,
    weights=0.25,
    work=2.0,  # of what stays in fp32 between quantized nodes, with what quantizes it anew
)
_PER_TENSOR = replace(
    _ARITHMETIC, speedups=(Speedup(("product",), {1: 3.8, 8: 3.6, 32: 3.5, 256: 3.1}, on=_VNNI), *_CONVOLUTIONS)
)
# From this share of the arithmetic on, matrix products decide how fast a model is.
_MANY = 0.5


class OrtStaticParams(Params):
    """Number formats, and how activation ranges are found."""

    per_channel: bool = Field(True, description="a scale for each output channel rather than for the whole weight")
    reduce_range: bool = Field(
        True, description="7-bit weights: needed for true sums where the processor multiplies without VNNI"
    )
    activation_type: Literal["uint8", "int8"] = Field("uint8", description="number format of the activations")
    weight_type: Literal["int8", "uint8"] = Field("int8", description="number format of the weights")
    calibration: Literal["minmax", "entropy", "percentile", "mse"] = Field(
        "minmax", description="how a range is chosen from the activations seen"
    )
    percentile: float = Field(99.999, gt=50, le=100, description="share of activations kept, for percentile")
    rows: int = Field(512, ge=1, description="calibration rows that are used, at most")
    batch_size: int = Field(50, ge=1, description="calibration rows run at once")
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")

    @model_validator(mode="after")
    def _has_kernels(self) -> "OrtStaticParams":
        if self.activation_type == "int8" and self.weight_type == "uint8":
            raise ValueError("onnxruntime has no kernels for int8 activations with uint8 weights")
        return self


def requires(params: OrtStaticParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need onnxruntime, a convolution or matrix product with weights, and activations that kernels take.

    Those for x86 take uint8. onnxruntime rewrites int8 activations as it loads a file, but for results that several
    layers read: those layers it runs in fp32.
    """
    unmet = missing(hardware, "onnx", "onnxruntime")
    if params.activation_type == "int8" and hardware.identity.machine == "x86_64":
        cause = "onnxruntime's int8 kernels for x86_64 take activations in uint8, and int8 ones partly run in fp32"
        unmet = (*unmet, Unmet(cause, "write activation_type: uint8"))
    if model is not None and (again := quantized_already(model)):
        return (*unmet, *again)
    if model is None or not takes_none(model, *MULTIPLIED):
        return unmet
    return (*unmet, Unmet("the model has no convolution and no matrix product in fp32", "use quantization.method none"))


def chooses(layer: Layer) -> bool:
    """Whether nothing is asked of the precision of a layer: weights kept in int8 that onnxruntime has no kernel for.

    It unpacks those of a transposed convolution, and multiplies in fp32.
    """
    return layer.type.startswith("ConvTranspose")


def predict(
    params: OrtStaticParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte a weight, and add scales and the quantize and dequantize nodes."""
    if model is None:
        return Prediction()
    quantized = layers_of(model, *QUANTIZED)
    scales = qdq_scale_bytes(model, *MULTIPLIED) if params.per_channel else 0
    nodes = QDQ_LAYER_BYTES * len(quantized)
    size = short_onnx_bytes(model) - saved_by_int8(model, *QUANTIZED) + scales + nodes
    speed = speed_of(hardware, work.threads)
    rows = min(params.rows, work.rows.get("calibration", params.rows))
    batch = fixed_batch(model) or min(params.batch_size, max(rows, 1))
    # Every answer is kept and reduced; a histogram of each looks at its numbers again and again.
    forward = rows / batch * forward_seconds(model, speed, run_cost("torch", "torch"), batch)
    reduced = rows * layer_output_bytes(model) / _REDUCED_BYTES_PER_SECOND[params.calibration]
    seconds = (
        _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _READ_BYTES_PER_SECOND + forward + reduced
    )
    activations = batch * max(layer_output_bytes(model), model.activation_bytes or 0)
    peak = 6 * model.weight_bytes + activations * 8 // 5
    return modelled(hardware, seconds, peak, size)


def fake_quantization(params: OrtStaticParams) -> FakeQuantization:
    """Return what a training imitates: reduced weights go up to 64, as onnxruntime has it."""
    return FakeQuantization(64 if params.reduce_range else 127, params.per_channel)


def _few_products(model: ModelFacts) -> str:
    """Say why one scale for a weight gains nothing: only matrix products are faster by it, by a third at one row."""
    total = sum(layer.flops or 0 for layer in model.layers)
    products = sum(layer.flops or 0 for layer in model.layers if is_product(layer))
    if not total:
        return "one scale for a weight makes products faster, and how much is computed in them is not known"
    if products < _MANY * total:
        return f"one scale for a weight makes products faster, and they are {products / total:.0%} of the arithmetic"
    return ""


@operator(
    "quantize.ort_static",
    version=9,
    family="quantize",
    params=OrtStaticParams,
    inputs={"model": "onnx", "calibration": "rows", "allocation": Port(("value",), optional=True)},
    outputs={"model": "onnx"},
    requires=requires,
    predict=predict,
    loads=("onnx", "onnxruntime", "onnxruntime.quantization", "titrant.runtime.backends.onnxruntime.titration.mixture"),
    libraries=("onnx", "onnxruntime", "numpy"),
    method=Method(
        "ort.static",
        takes="onnx",
        engine="onnxruntime",
        format="onnx",
        bits=(8,),
        rank=4,
        calibrated=True,
        devices=("cpu",),
        arithmetic=_ARITHMETIC,
        layers=QUANTIZED,
        named="convolutions, matrix products, embeddings and layer norms",
        chooses=chooses,
        repairs=(
            Repair("equalize", "equalized", before="quantize.equalize", exact=True),
            Repair("clip", "clipped", options={"calibration": "mse"}),
            Repair("clip", "cut", options={"calibration": "percentile"}, unasked="the least squared error is tried"),
            Repair(
                "bias_correction",
                "corrected",
                after="quantize.bias_correction",
                unasked="it gained least where repairs were measured, and takes a forward pass for every layer",
            ),
            Repair(
                "smooth",
                "smoothed",
                before="quantize.smoothquant",
                unasked="it is for activations with outlier channels behind a normalization, as in transformers",
            ),
        ),
        mixing=Mixing("sensitivity.regions", "profile.regions", "quantize.allocate", "sensitivity.fisher"),
        variants=(Variant("per_tensor", {"per_channel": False}, _few_products, _PER_TENSOR, smaller=True),),
        fake_quantization=fake_quantization,
    ),
)
def quantize_ort_static(
    params: OrtStaticParams,
    context: Context,
    *,
    model: Any,
    calibration: Any,
    allocation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Quantize weights and activations to int8, with activation ranges measured on calibration rows.

    Helps when: the model is convolutional, or latency counts most: products run in integers end to end.
    Inputs:     model - an fp32 ONNX file; calibration - rows like those to come, whose arrays the file takes by name;
                allocation - of a mixture: {"leave": the layers that stay in fp32}, beside those of `leave`
    Outputs:    model - an ONNX file that onnxruntime has loaded once. Its graph is optimized first, and
                quantize and dequantize nodes (QDQ) stand around every operator that has int8 kernels, but for the
                layers of `leave` and what is computed of their answers up to the next layers, such as the sum at a
                block's end, which stay in float in any session, and for what reads or
                writes infinite values, such as masks. The measurement quantized_nodes counts the nodes with int8
                weights
    Fails:      PreconditionError when there are no rows, or nothing to quantize; StepError when rows and file do not
                fit together, or onnxruntime cannot quantize or load the graph
    Cost:       a forward pass over `rows` rows with every activation kept for one batch, whatever the rows; entropy,
                percentile and mse count every number in a histogram, which takes several times that
    """
    from titrant.runtime.backends.onnxruntime.titration.mixture import Mixtures

    left = () if allocation is None else allocation["leave"]
    quantized, nodes = Mixtures(model, calibration, int8(params), context).file((*params.leave, *left))
    context.measure("quantized_nodes", nodes)
    return {"model": quantized}


def int8(params: OrtStaticParams) -> "Int8":
    """Return the number formats and the rule for ranges that parameters ask for."""
    from titrant.runtime.backends.onnxruntime.calibration import RangeRule
    from titrant.runtime.backends.onnxruntime.titration.mixture import Int8

    rule = RangeRule(params.calibration, params.percentile, params.rows, params.batch_size)
    return Int8(params.per_channel, params.reduce_range, params.activation_type, params.weight_type, rule)
