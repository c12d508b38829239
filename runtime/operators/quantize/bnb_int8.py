"""Hold linear layers in int8 with bitsandbytes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends.torch.quantized import bitsandbytes_cost as cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import torch


class BnbInt8Params(Params):
    """Which activations are too large for int8, and which layers are left."""

    threshold: float = Field(
        0.0,
        ge=0,
        description="input columns that reach it are multiplied in fp32 (LLM.int8 takes 6.0); 0: none, and answers do "
        "not depend on the batch",
    )
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def requires(params: BnbInt8Params, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, bitsandbytes and a linear layer in fp32."""
    return cost.unmet(hardware, model, "bnb.int8")


def predict(
    params: BnbInt8Params, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count a byte for each weight of a linear layer, a scale for each of its rows, and all else as it was."""
    return Prediction() if model is None else cost.predicted(hardware, model, cost.WeightForm(8), params.leave)


def rewrite(module: "torch.nn.Module", record: Mapping[str, Any]) -> "torch.nn.Module":
    """Put empty int8 layers in the places of the recorded ones; their numbers are in the file."""
    from titrant.runtime.backends.torch.quantized.bitsandbytes import with_layers

    return with_layers(module, record)


@operator(
    "quantize.bnb_int8",
    version=3,
    family="quantize",
    params=BnbInt8Params,
    inputs={"model": "torch"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.quantized.bitsandbytes"),
    libraries=("torch", "bitsandbytes"),
    user_code=True,
    method=Method(
        "bnb.int8",
        takes="torch",
        engine="torch",
        format="safetensors",
        bits=(8,),
        rank=2,
        devices=("cpu",),
        arithmetic=cost.INT8,
        layers=("Linear",),
        named="linear layers",
        leaves=cost.leaves,
    ),
)
def quantize_bnb_int8(params: BnbInt8Params, context: Context, *, model: Any) -> dict[str, Any]:
    """Hold the weights of linear layers in int8, a scale a row; inputs are quantized by row as they come (LLM.int8).

    Helps when: memory counts and the model must stay a torch module; on a CPU it saves time too where layers have a
                million weights or more and the processor has AVX-512 with VNNI, and costs time elsewhere
    Inputs:     model - with at least one torch.nn.Linear in fp32
    Outputs:    model - the same module with those layers replaced; embeddings, convolutions and a head that is tied to
                an embedding stay in fp32. The measurements quantized_layers and fp32_layers count the layers with
                weights. Saved as safetensors, and loaded through the model's own factory
    Fails:      PreconditionError when there is no linear layer in fp32, or a weight is NaN or infinite
    Cost:       a copy of the model and one pass over the weights
    """
    from titrant.runtime.backends.torch.quantized.bitsandbytes import quantized

    settings = {"kind": "int8", "threshold": params.threshold}
    return {"model": quantized(model, "quantize.bnb_int8", settings, params.leave, context)}
