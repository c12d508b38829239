"""Fold batch normalization into the layer before it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.installed import missing
from titrant.runtime.sizes import folded_bytes
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import torch


class FuseParams(Params):
    """Nothing to choose: every pair that can be folded is."""


def requires(params: FuseParams, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
    """Need torch."""
    return missing(hardware, "torch")


def predict(params: FuseParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Count the weights less three numbers a channel of every normalization: a bias is left."""
    if model is None:
        return Prediction()
    size = folded_bytes(model)
    return Prediction(seconds=0.05, peak_bytes=2 * model.weight_bytes, output_bytes=size, basis="modelled")


@operator(
    "model.fuse",
    version=1,
    family="model",
    params=FuseParams,
    inputs={"model": "torch"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    libraries=("torch",),
    user_code=True,
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
