"""Quantize linear layers to int8 with activation scales found at run time, in torch."""

from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Method, Params, operator
from titrant.runtime.forward_cost import modelled
from titrant.runtime.installed import missing
from titrant.runtime.sizes import PACKED_CHANNEL_BYTES, channels, layers_of, saved_by_int8, torchscript_bytes
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

# Copying, rewriting and tracing four times: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.06, 0.008
_READ_BYTES_PER_SECOND = 50e6
# What the quantization engine takes when it is first used.
_PACKER_BYTES = 9 << 19


class TorchDynamicParams(Params):
    """How weights are scaled."""

    per_channel: bool = Field(True, description="a scale for each output channel rather than for the whole weight")


def requires(params: TorchDynamicParams, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
    """Need torch and a linear layer: convolutions stay as they are."""
    unmet = missing(hardware, "torch")
    if model is None or any(layer.dtype in ("", "float32") for layer in layers_of(model, "Linear")):
        return unmet
    return (*unmet, "torch.dynamic quantizes linear layers only and the model has none in fp32: use ort.static")


def predict(
    params: TorchDynamicParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte for each weight of a linear layer and four elsewhere."""
    if model is None:
        return Prediction()
    scales = PACKED_CHANNEL_BYTES * channels(model, "Linear") if params.per_channel else 0
    size = torchscript_bytes(model) - saved_by_int8(model, "Linear") + scales
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _READ_BYTES_PER_SECOND
    peak = 3 * model.weight_bytes + _PACKER_BYTES
    return modelled(hardware, seconds, peak, size)


@operator(
    "quantize.torch_dynamic",
    version=1,
    family="quantize",
    params=TorchDynamicParams,
    inputs={"model": "torch", "example": "rows"},
    outputs={"model": "torchscript"},
    requires=requires,
    predict=predict,
    loads=("torch", "torch.ao.quantization", "titrant.runtime.torch.dynamic"),
    libraries=("torch",),
    user_code=True,
    method=Method(
        "torch.dynamic",
        takes="torch",
        engine="torch",
        format="torchscript",
        bits=(8,),
        rank=2,
        dynamic_activations=True,
        layers=("Linear",),
        named="linear layers",
    ),
)
def quantize_torch_dynamic(params: TorchDynamicParams, context: Context, *, model: Any, example: Any) -> dict[str, Any]:
    """Quantize the weights of linear layers to int8; each batch's activations are quantized as they come.

    Helps when: most of the time goes into large linear layers and there is nothing to calibrate with.
    Inputs:     model - on the CPU, with at least one torch.nn.Linear in fp32; example - rows to trace it with
    Outputs:    model - a TorchScript file with packed int8 weights; all other layers in fp32. The measurements
                quantized_layers and fp32_layers count the layers with weights. An answer can depend on who shares
                the batch
    Fails:      PreconditionError when there is no linear layer in fp32, when the machine has no int8 kernels for
                torch, or when the forward takes decisions on tensor values
    Cost:       a copy of the model, four forward passes of two rows
    """
    from titrant.runtime.torch.dynamic import quantize

    quantized, layers, left = quantize(model, example, params.per_channel, context)
    context.measure("quantized_layers", layers)
    context.measure("fp32_layers", left)
    return {"model": quantized}
