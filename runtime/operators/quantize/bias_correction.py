"""Correct the biases of a graph in int8 by what quantization did to the mean of every channel."""

from typing import Any

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import forward_seconds, layer_output_bytes, modelled, speed_of
from titrant.runtime.cost.sizes import CONVOLUTIONS, PRODUCTS_IN_FILE, layers_of, missing, saved_by_int8
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Opening a graph and its rows: for each layer that is corrected.
_SECONDS, _LAYER_SECONDS = 0.3, 0.05
# A graph that is run as it is written, unpacking every number, beside one that multiplies in fp32.
_UNFUSED = 4


class BiasCorrectionParams(Params):
    """The rows of which means are taken."""

    rows: int = Field(128, ge=1, description="calibration rows whose means are matched, at most")
    batch_size: int = Field(64, ge=1, description="rows that are answered at once")


def requires(params: BiasCorrectionParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need onnx and onnxruntime."""
    return missing(hardware, "onnx", "onnxruntime")


def predict(
    params: BiasCorrectionParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count a forward pass for every layer, and the file as it was."""
    if model is None:
        return Prediction()
    multiplied = layers_of(model, *CONVOLUTIONS, *PRODUCTS_IN_FILE)
    rows = min(params.rows, work.rows.get("calibration", params.rows))
    batch = min(params.batch_size, max(rows, 1))
    forward = forward_seconds(model, speed_of(hardware, work.threads), run_cost("torch", "torch"), batch)
    passes = (len(multiplied) + 1) * rows / batch
    seconds = _SECONDS + _LAYER_SECONDS * len(multiplied) + passes * _UNFUSED * forward
    size = model.weight_bytes - saved_by_int8(model, *CONVOLUTIONS, *PRODUCTS_IN_FILE)
    return modelled(hardware, seconds, 6 * model.weight_bytes + 2 * batch * layer_output_bytes(model), size)


def idle(params: BiasCorrectionParams, model: ModelFacts) -> bool:
    """Have nothing to do without a layer whose bias is a part of its kernel."""
    return not layers_of(model, *CONVOLUTIONS, *PRODUCTS_IN_FILE) and not any(layer.custom for layer in model.layers)


@operator(
    "quantize.bias_correction",
    version=1,
    family="quantize",
    params=BiasCorrectionParams,
    inputs={"model": "onnx", "float": "onnx", "calibration": "rows"},
    outputs={"model": "onnx"},
    requires=requires,
    predict=predict,
    loads=("onnx", "onnxruntime", "titrant.runtime.backends.onnxruntime.titration.bias"),
    libraries=("onnx", "onnxruntime", "numpy"),
    idle=idle,
)
def quantize_bias_correction(
    params: BiasCorrectionParams,
    context: Context,
    *,
    model: Any,
    float: Any,
    calibration: Any,
) -> dict[str, Any]:
    """Take from each bias by how much quantization moved the mean of its channel, layer after layer.

    Helps when: weights of few numbers each are rounded all in one direction, as in depthwise convolutions
    Inputs:     model - what ort.static made: an ONNX file with quantize and dequantize nodes; float - the fp32 file
                that it was made of; calibration - rows like those to come, whose arrays the file takes by name
    Outputs:    model - the same nodes with other biases of 32 bits; a convolution or Gemm without a bias is given one,
                which its kernel takes. The measurements corrected_layers and left_layers count convolutions and Gemms
                in int8; largest_shift is that of a channel's mean, relative to the root mean square of what its layer
                answers in float
    Fails:      PreconditionError X217 when there are no rows; StepError when rows and file do not fit together
    Cost:       a forward pass over `rows` rows for every layer, of a graph that is not optimized
    """
    from titrant.runtime.backends.onnxruntime.calibration import RangeRule, feeds_of
    from titrant.runtime.backends.onnxruntime.graph import read, write
    from titrant.runtime.backends.onnxruntime.normalize import Renamed
    from titrant.runtime.backends.onnxruntime.session import load
    from titrant.runtime.backends.onnxruntime.titration.bias import correct
    from titrant.runtime.backends.onnxruntime.tools import prepared

    plain, names = prepared(float.path, context.scratch)
    quantized = read(model.path)
    rule = RangeRule("minmax", 100.0, params.rows, params.batch_size)
    done = correct(
        quantized,
        plain,
        feeds_of(quantized, Renamed({}), model, calibration, rule),
        feeds_of(plain, names, float, calibration, rule),
        context,
    )
    context.measure("corrected_layers", done.layers)
    context.measure("left_layers", done.left)
    context.measure("largest_shift", done.largest_shift)
    if not done.layers:
        return {"model": model}
    written = write(quantized, context.scratch / "model.onnx")
    load(written.path, threads=1)  # proves that it can be loaded
    return {"model": written}
