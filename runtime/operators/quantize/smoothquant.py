"""Smooth the inputs of linear layers before they are quantized (SmoothQuant)."""

from typing import Annotated, Any, Literal

from pydantic import Field

from titrant.runtime import catalog
from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import forward_seconds, modelled, speed_of
from titrant.runtime.cost.sizes import layers_of, missing, torch_bytes
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

_STATIC = catalog.get("quantize.ort_static").method
assert _STATIC is not None
# Copying the model, watching a batch, and a layer's share of both.
_SECONDS, _LAYER_SECONDS = 0.1, 0.004
_BATCH = 50

# What a smoothed layer's input can be divided in, beside a linear layer before it.
_TAKING = ("LayerNorm", "RMSNorm", "BatchNorm1d")


class SmoothQuantParams(Params):
    """How much of an outlier's range moves into the weights, and how the static quantization after it is done."""

    alpha: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = Field(
        0.5,
        description="share of the range that moves, 0 to 1; auto: for each group of layers that read one input what is "
        "nearest to fp32 on calibration rows",
    )
    rows: int = Field(512, ge=1, description="calibration rows that are used, at most, also by the quantization after")
    per_channel: bool = Field(True, description="a scale for each output channel of a quantized weight")
    reduce_range: bool = Field(
        True, description="7-bit weights: needed for true sums where the processor multiplies without VNNI"
    )
    leave: tuple[str, ...] = Field(
        (), description="layers, by name, that the quantization after leaves in fp32; smoothing them is exact"
    )


def requires(params: SmoothQuantParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, onnxruntime, a linear layer in fp32, and something before one that can take its input's range."""
    packages = missing(hardware, "torch", "onnx", "onnxruntime")
    linear = () if model is None else layers_of(model, "Linear")
    if model is None or any(layer.dtype in ("", "float32") for layer in linear):
        custom = model is not None and any(layer.custom for layer in model.layers)
        if model is None or custom or len(linear) > 1 or layers_of(model, *_TAKING):
            return packages
        cause = f"no layer norm, RMS norm, batch norm or other linear layer stands before {linear[0].name}"
        return (*packages, Unmet(cause, "use ort.static"))
    return (*packages, Unmet("smoothquant smooths linear layers and the model has none in fp32", "use ort.static"))


def predict(
    params: SmoothQuantParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the module as it was: smoothing adds nothing and takes nothing."""
    if model is None:
        return Prediction()
    rows = min(params.rows, work.rows.get("calibration", params.rows))
    forward = forward_seconds(model, speed_of(hardware, work.threads), run_cost("torch", "torch"), _BATCH)
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + (rows / _BATCH + 3) * forward
    peak = 2 * model.weight_bytes + _BATCH * (model.activation_bytes or 0)
    return modelled(hardware, seconds, peak, torch_bytes(model))


@operator(
    "quantize.smoothquant",
    version=2,
    family="quantize",
    params=SmoothQuantParams,
    inputs={"model": "torch", "calibration": "rows"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.quantized.smoothing"),
    libraries=("torch",),
    user_code=True,
    method=Method(
        "smoothquant",
        takes="torch",
        engine=_STATIC.engine,
        format=_STATIC.format,
        bits=_STATIC.bits,
        rank=_STATIC.rank,
        calibrated=True,
        devices=_STATIC.devices,
        arithmetic=_STATIC.arithmetic,
        layers=_STATIC.layers,
        named=_STATIC.named,
        then=_STATIC.name,
        by_name="it is for activations with outlier channels, which ort.static loses by",
    ),
)
def quantize_smoothquant(
    params: SmoothQuantParams, context: Context, *, model: Any, calibration: Any
) -> dict[str, Any]:
    """Move the range of outlier channels from inputs into weights, exactly; ort.static then quantizes both to int8.

    Helps when: some channels of activations are far larger than others, as in transformers, and int8 loses by it.
    Inputs:     model - with at least one torch.nn.Linear in fp32; calibration - rows like those to come
    Outputs:    model - answers as before to rounding, smoothed where a layer norm, RMS norm, batch norm or linear layer
                (a ReLU between) makes the input and nobody else reads it; other layers stay as they are. The
                measurements smoothed_layers and left_layers count linear layers, alpha.LAYER is what was taken for it
                and those that read the same input
    Fails:      PreconditionError when no linear layer can be smoothed, a weight is NaN or infinite, the forward takes
                decisions on tensor values, or the model has recurrent state
    Cost:       a forward pass over `rows` rows and a copy of the model; `alpha: auto` tries six values on 256 rows of
                each layer's inputs
    """
    from titrant.runtime.backends.torch.quantized.smoothing import smooth
    from titrant.runtime.operators.model.fold import with_plain_weights

    alpha = None if params.alpha == "auto" else params.alpha
    made, smoothed = smooth(with_plain_weights(model), calibration, alpha, params.rows, context)
    context.measure("smoothed_layers", len(smoothed.layers))
    context.measure("left_layers", len(smoothed.left))
    for name, chosen in smoothed.alphas.items():
        context.measure(f"alpha.{name}", chosen)
    return {"model": made}
