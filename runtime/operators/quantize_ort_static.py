"""Quantize a whole graph to int8 with calibrated activation scales, for onnxruntime."""

from typing import Any, Literal

from pydantic import Field, model_validator

from titrant.runtime.catalog import Context, Method, Params, operator
from titrant.runtime.forward_cost import fixed_batch, forward_seconds, modelled, speed_of
from titrant.runtime.installed import missing
from titrant.runtime.layer_work import layer_output_bytes
from titrant.runtime.sizes import (
    CONVOLUTIONS,
    EMBEDDINGS,
    LAYER_NORMS,
    PRODUCTS_IN_FILE,
    QDQ_ATTENTION_BYTES,
    QDQ_BYTES,
    QDQ_CHANNEL_BYTES,
    QDQ_LAYER_BYTES,
    channels,
    layers_of,
    onnx_bytes,
    saved_by_int8,
    takes_none,
)
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

MULTIPLIED = (*CONVOLUTIONS, *PRODUCTS_IN_FILE)
QUANTIZED = (*MULTIPLIED, *EMBEDDINGS, *LAYER_NORMS)


# Reading, rewriting and opening the graph: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.08, 0.006
_READ_BYTES_PER_SECOND = 20e6
# Bytes of answers that are looked at in a second, for the largest and smallest or for a histogram.
_LOOKED_BYTES_PER_SECOND = {"minmax": 4e9, "entropy": 500e6, "percentile": 500e6}


class OrtStaticParams(Params):
    """Number formats, and how activation ranges are found."""

    per_channel: bool = Field(True, description="a scale for each output channel rather than for the whole weight")
    reduce_range: bool = Field(
        True, description="7-bit weights: needed for true sums where the processor multiplies without VNNI"
    )
    activation_type: Literal["uint8", "int8"] = Field("uint8", description="number format of the activations")
    weight_type: Literal["int8", "uint8"] = Field("int8", description="number format of the weights")
    calibration: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax", description="how a range is chosen from the activations seen"
    )
    percentile: float = Field(99.999, gt=50, le=100, description="share of activations kept, for percentile")
    rows: int = Field(512, ge=1, description="calibration rows that are used, at most")
    batch_size: int = Field(50, ge=1, description="calibration rows run at once")

    @model_validator(mode="after")
    def _has_kernels(self) -> "OrtStaticParams":
        if self.activation_type == "int8" and self.weight_type == "uint8":
            raise ValueError("onnxruntime has no kernels for int8 activations with uint8 weights")
        return self


def requires(params: OrtStaticParams, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
    """Need onnxruntime and a convolution or matrix product with weights."""
    unmet = missing(hardware, "onnx", "onnxruntime")
    if model is None or not takes_none(model, *MULTIPLIED):
        return unmet
    return (*unmet, "the model has no convolution and no matrix product in fp32: use quantization.method none")


def predict(
    params: OrtStaticParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte a weight, and add scales and the quantize and dequantize nodes."""
    if model is None:
        return Prediction()
    quantized = layers_of(model, *QUANTIZED)
    scales = QDQ_CHANNEL_BYTES * channels(model, *MULTIPLIED) if params.per_channel else 0
    size = (
        onnx_bytes(model, QDQ_ATTENTION_BYTES)
        - saved_by_int8(model, *QUANTIZED)
        + scales
        + QDQ_LAYER_BYTES * len(quantized)
        + QDQ_BYTES
    )
    speed = speed_of(hardware, work.threads)
    rows = min(params.rows, work.rows.get("calibration", params.rows))
    batch = fixed_batch(model) or min(params.batch_size, max(rows, 1))
    # Every answer is kept and reduced; a histogram of each looks at its numbers again and again.
    forward = rows / batch * forward_seconds(model, speed, "torch", batch)
    looked = rows * layer_output_bytes(model) / _LOOKED_BYTES_PER_SECOND[params.calibration]
    seconds = (
        _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _READ_BYTES_PER_SECOND + forward + looked
    )
    activations = batch * max(layer_output_bytes(model), model.activation_bytes or 0)
    peak = 6 * model.weight_bytes + activations * 8 // 5
    return modelled(hardware, seconds, peak, size)


@operator(
    "quantize.ort_static",
    version=2,
    family="quantize",
    params=OrtStaticParams,
    inputs={"model": "onnx", "calibration": "rows"},
    outputs={"model": "onnx"},
    requires=requires,
    predict=predict,
    loads=("onnx", "onnxruntime", "onnxruntime.quantization", "titrant.runtime.onnx.static"),
    libraries=("onnx", "onnxruntime", "numpy"),
    method=Method(
        "ort.static",
        takes="onnx",
        engine="onnxruntime",
        format="onnx",
        bits=(8,),
        rank=4,
        calibrated=True,
        layers=QUANTIZED,
        named="convolutions, matrix products, embeddings and layer norms",
    ),
)
def quantize_ort_static(params: OrtStaticParams, context: Context, *, model: Any, calibration: Any) -> dict[str, Any]:
    """Quantize weights and activations to int8, with activation ranges measured on calibration rows.

    Helps when: the model is convolutional, or latency counts most: products run in integers end to end.
    Inputs:     model - an fp32 ONNX file; calibration - rows like those to come, whose arrays the file takes by name
    Outputs:    model - an ONNX file that onnxruntime has loaded once. Its graph is optimized first, and
                quantize and dequantize nodes (QDQ) stand around every operator that has int8 kernels. The measurement
                quantized_nodes counts the nodes with int8 weights
    Fails:      PreconditionError when there are no rows, or nothing to quantize; StepError when rows and file do not
                fit together, or onnxruntime cannot quantize or load the graph
    Cost:       a forward pass over `rows` rows with every activation kept for one batch; entropy costs several times
                that
    """
    from titrant.runtime.onnx.static import quantize

    quantized, nodes = quantize(model, calibration, params, context)
    context.measure("quantized_nodes", nodes)
    return {"model": quantized}
