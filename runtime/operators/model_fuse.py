"""Fold batch normalization into the layer before it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data_cost import BASE_SECONDS
from titrant.runtime.forward_cost import modelled
from titrant.runtime.installed import missing
from titrant.runtime.sizes import folded_bytes, torch_bytes
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

if TYPE_CHECKING:
    import torch


# Finding out who reads whom, a layer, and copying and keeping the weights.
_LAYER_SECONDS = 0.0005
_COPIED_BYTES_PER_SECOND = 100e6


class FuseParams(Params):
    """Nothing to choose: every pair that can be folded is."""


def requires(params: FuseParams, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
    """Need torch."""
    return missing(hardware, "torch")


def predict(params: FuseParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN) -> Prediction:
    """Count the weights less three numbers a channel of every normalization: a bias is left."""
    if model is None:
        return Prediction()
    seconds = 2 * BASE_SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _COPIED_BYTES_PER_SECOND
    size = torch_bytes(model) - model.weight_bytes + folded_bytes(model)
    return modelled(hardware, seconds, 3 * model.weight_bytes, size)


def idle(params: FuseParams, model: ModelFacts) -> bool:
    """Have nothing to do without a batch normalization."""
    return not any(layer.type.startswith("BatchNorm") for layer in model.layers)


@operator(
    "model.fuse",
    version=1,
    family="model",
    params=FuseParams,
    inputs={"model": "torch"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.torch.fusion"),
    libraries=("torch",),
    user_code=True,
    idle=idle,
)
def model_fuse(params: FuseParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Fold every batch normalization into the convolution or linear layer whose only reader it is.

    Helps when: the model runs in torch or as TorchScript; ONNX export and onnxruntime fold on their own.
    Inputs:     model - in eval mode; the running statistics become part of the weights
    Outputs:    model - same answers to rounding, normalizations replaced by identities; the measurement fused_pairs
                counts them, and is 0 where there was nothing to fold
    Fails:      PreconditionError when the forward takes decisions on tensor values, since then no one run shows which
                layer reads which
    Cost:       one forward pass of two zero cases and a copy of the model
    """
    from titrant.runtime.torch.fusion import fused_model

    result, pairs = fused_model(model)
    context.measure("fused_pairs", pairs)
    return {"model": result}


def rewrite(module: "torch.nn.Module", record: Mapping[str, Any]) -> "torch.nn.Module":
    """Fold the recorded pairs [layer, normalization] of a freshly built module, in place."""
    from titrant.runtime.torch.fusion import fold

    return fold(module, record["pairs"])
