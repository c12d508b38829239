"""Quantize linear layers to 8-bit floating point by torchao, on CUDA devices."""

from typing import Any

from pydantic import Field

from titrant.runtime.backends.torch.program.torchao_cost import (
    LINEAR,
    PEAK_BYTES,
    lacking_gpu,
    needs,
    seconds_of,
    without,
)
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import exported_bytes, layers_of
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# The oldest compute capability with kernels, and the share of fp32 that weights with their scales take.
_CAPABILITY, _SHARE = (8, 9), 0.26


class TorchaoFp8Params(Params):
    """Which layers keep their precision."""

    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def requires(params: TorchaoFp8Params, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torchao, a linear layer in fp32, and a CUDA device with kernels: the CPU has none."""
    return (*lacking_gpu(hardware, _CAPABILITY, "torchao.fp8"), *needs("torchao.fp8", hardware, model, params.leave))


def predict(
    params: TorchaoFp8Params, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte for each weight of a linear layer and four bytes elsewhere."""
    if model is None:
        return Prediction()
    weights = sum(layer.weight_bytes for layer in layers_of(without(model, params.leave), LINEAR))
    size = exported_bytes(model) - int(weights * (1 - _SHARE))
    return modelled(hardware, seconds_of(model, dynamic=True), 4 * model.weight_bytes + PEAK_BYTES, size)


@operator(
    "quantize.torchao_fp8",
    version=2,
    family="quantize",
    params=TorchaoFp8Params,
    inputs={"model": "torch", "example": "rows"},
    outputs={"model": "exported"},
    determinism="measured",
    requires=requires,
    predict=predict,
    loads=("torch", "torch.export", "torch._dynamo", "titrant.runtime.backends.torch.program.torchao"),
    libraries=("torch", "torchao"),
    user_code=True,
    verified=(),
    method=Method(
        "torchao.fp8",
        takes="torch",
        engine="torch",
        format="exported",
        bits=(8,),
        rank=3,
        dynamic_activations=True,
        devices=("cuda",),
        # As in 16 bits: nothing was measured.
        arithmetic=Arithmetic(half=True, weights=0.26),
        layers=("Linear",),
        named="linear layers",
    ),
)
def quantize_torchao_fp8(params: TorchaoFp8Params, context: Context, *, model: Any, example: Any) -> dict[str, Any]:
    """Quantize linear layers to 8-bit floating point, weights beforehand and activations as they come.

    Helps when: products take the time on a CUDA device that multiplies fp8, and int8 loses too much.
    Inputs:     model - with at least one torch.nn.Linear in fp32; example - rows to export it with
    Outputs:    model - a torch.export file for CUDA; all other layers in fp32. The measurements quantized_layers and
                fp32_layers count the layers with weights
    Fails:      PreconditionError where there is no CUDA device with kernels, no linear layer in fp32, or torch.export
                cannot follow the forward
    Cost:       a copy of the model on the device, seconds to export
    """
    from titrant.runtime.backends.torch.program.torchao import quantized
    from titrant.runtime.operators.model.fold import with_plain_weights
    from titrant.runtime.operators.quantize.torch_dynamic import linear_layers

    model = with_plain_weights(model)
    taken = [name for name in linear_layers(model.module) if name not in params.leave]
    made, layers, others = quantized(
        model, example, "Float8DynamicActivationFloat8WeightConfig", taken, context, device="cuda"
    )
    context.measure("quantized_layers", layers)
    context.measure("fp32_layers", others)
    return {"model": made}
