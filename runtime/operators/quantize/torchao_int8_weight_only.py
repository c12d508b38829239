"""Keep the weights of linear layers in int8 by torchao, and compute in fp32."""

from typing import Any

from pydantic import Field

from titrant.runtime.backends.torch.program.torchao_cost import PEAK_BYTES, needs, seconds_of, size_of
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction


class TorchaoInt8WeightOnlyParams(Params):
    """Which layers keep their precision."""

    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def requires(params: TorchaoInt8WeightOnlyParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torchao and a linear layer in fp32."""
    return needs("torchao.int8_weight_only", hardware, model, params.leave)


def predict(
    params: TorchaoInt8WeightOnlyParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte for each weight of a linear layer, a scale for each of its channels, and four bytes elsewhere."""
    if model is None:
        return Prediction()
    size = size_of(model, params.leave)
    seconds = seconds_of(model)
    return modelled(hardware, seconds, 4 * model.weight_bytes + PEAK_BYTES, size)


@operator(
    "quantize.torchao_int8_weight_only",
    version=2,
    family="quantize",
    params=TorchaoInt8WeightOnlyParams,
    inputs={"model": "torch", "example": "rows"},
    outputs={"model": "exported"},
    requires=requires,
    predict=predict,
    loads=("torch", "torch.export", "torch._dynamo", "titrant.runtime.backends.torch.program.torchao"),
    libraries=("torch", "torchao"),
    user_code=True,
    method=Method(
        "torchao.int8_weight_only",
        takes="torch",
        engine="torch",
        format="exported",
        bits=(8,),
        rank=1,
        devices=("cpu",),
        # Weights are unpacked on each call, whatever the rows: measured at 512 x 512, AVX-512.
        arithmetic=Arithmetic(speedups=(Speedup(("product",), {1: 0.22, 32: 0.58, 256: 0.9}),), weights=0.25),
        layers=("Linear",),
        named="linear layers",
    ),
)
def quantize_torchao_int8_weight_only(
    params: TorchaoInt8WeightOnlyParams, context: Context, *, model: Any, example: Any
) -> dict[str, Any]:
    """Keep the weights of linear layers in int8, with a scale for each output channel, and compute in fp32.

    Helps when: the file shall be small and speed does not matter: torch unpacks the weights on each call, which takes
                longer than their product.
    Inputs:     model - on the CPU, with at least one torch.nn.Linear in fp32; example - rows to export it with
    Outputs:    model - a torch.export file that torch alone loads; all other layers in fp32. The measurements
                quantized_layers and fp32_layers count the layers with weights
    Fails:      PreconditionError when there is no linear layer in fp32, or torch.export cannot follow the forward
    Cost:       a copy of the model, seconds to export
    """
    from titrant.runtime.backends.torch.program.torchao import quantized
    from titrant.runtime.operators.model.fold import with_plain_weights
    from titrant.runtime.operators.quantize.torch_dynamic import linear_layers

    model = with_plain_weights(model)
    taken = [name for name in linear_layers(model.module) if name not in params.leave]
    made, layers, others = quantized(model, example, "Int8WeightOnlyConfig", taken, context)
    context.measure("quantized_layers", layers)
    context.measure("fp32_layers", others)
    return {"model": made}
