"""Hold linear layers in 4 bits with bitsandbytes: FP4, steps of a floating-point format with two bits of exponent."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.backends.torch.quantized import bitsandbytes_cost as cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import torch


class BnbFp4Params(Params):
    """How many weights share a scale, how scales are held, and which layers are left."""

    block_size: Literal[32, 64, 128, 256, 512, 1024] = Field(64, description="weights that share a scale")
    double_quantization: bool = Field(
        True, description="hold the scales in 8 bits too, with a scale of their own for each 256"
    )
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def requires(params: BnbFp4Params, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, bitsandbytes and a linear layer in fp32."""
    return cost.unmet(hardware, model, "bnb.fp4")


def predict(
    params: BnbFp4Params, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count half a byte for each weight of a linear layer, a scale for each block, and all else as it was."""
    if model is None:
        return Prediction()
    form = cost.WeightForm(4, params.block_size, params.double_quantization)
    return cost.predicted(hardware, model, form, params.leave)


def rewrite(module: "torch.nn.Module", record: Mapping[str, Any]) -> "torch.nn.Module":
    """Put empty 4-bit layers in the places of the recorded ones; their numbers are in the file."""
    from titrant.runtime.backends.torch.quantized.bitsandbytes import with_layers

    return with_layers(module, record)


@operator(
    "quantize.bnb_fp4",
    version=1,
    family="quantize",
    params=BnbFp4Params,
    inputs={"model": "torch"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.quantized.bitsandbytes"),
    libraries=("torch", "bitsandbytes"),
    user_code=True,
    method=Method(
        "bnb.fp4",
        takes="torch",
        engine="torch",
        format="safetensors",
        bits=(4,),
        rank=5,
        devices=("cpu",),
        arithmetic=cost.FOUR_BITS,
        layers=("Linear",),
        named="linear layers",
        leaves=cost.leaves,
    ),
)
def quantize_bnb_fp4(params: BnbFp4Params, context: Context, *, model: Any) -> dict[str, Any]:
    """Hold the weights of linear layers in 4 bits (FP4); they are unpacked to fp32 for each product (QLoRA).

    Helps when: memory counts above all and the model must stay a torch module; on a CPU it saves memory and costs time.
    Inputs:     model - with at least one torch.nn.Linear in fp32
    Outputs:    model - the same module with those layers replaced; embeddings, convolutions and a head that is tied to
                an embedding stay in fp32. The measurements quantized_layers and fp32_layers count the layers with
                weights. Saved as safetensors, and loaded through the model's own factory
    Fails:      PreconditionError when there is no linear layer in fp32, or a weight is NaN or infinite
    Cost:       a copy of the model and one pass over the weights
    """
    from titrant.runtime.backends.torch.quantized.bitsandbytes import quantized

    settings = {"kind": "fp4", "block": params.block_size, "nested": params.double_quantization}
    return {"model": quantized(model, "quantize.bnb_fp4", settings, params.leave, context)}
