"""Lay the weights of convolutions out in memory, channels last."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, modelled
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.layout import CHANNELS_LAST, CONVOLUTIONS

if TYPE_CHECKING:
    import torch

_COPIED_BYTES_PER_SECOND = 100e6


class LayoutParams(Params):
    """How weights lie."""

    layout: Literal["channels_last"] = Field(CHANNELS_LAST, description="the channels of a place side by side")


def requires(params: LayoutParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, and a convolution."""
    if model is None or any(layer.type in CONVOLUTIONS for layer in model.layers):
        return missing(hardware, "torch")
    return (*missing(hardware, "torch"), Unmet("no layer is a convolution over two or three dimensions"))


def predict(
    params: LayoutParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights, and a copy of them."""
    if model is None:
        return Prediction()
    seconds = 2 * BASE_SECONDS + model.weight_bytes / _COPIED_BYTES_PER_SECOND
    return modelled(hardware, seconds, 2 * model.weight_bytes, torch_bytes(model))


def rewrite(module: "torch.nn.Module", record: Mapping[str, Any]) -> "torch.nn.Module":
    """Lay out the weights of a freshly built module, in place."""
    from titrant.runtime.backends.torch.determinism import lay_out

    lay_out(module, channels_last=record["layout"] == CHANNELS_LAST)
    return module


@operator(
    "model.layout",
    version=1,
    family="model",
    params=LayoutParams,
    inputs={"model": "torch"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.module"),
    libraries=("torch",),
    user_code=True,
)
def model_layout(params: LayoutParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Lay the weights of convolutions out channels last, so that torch computes a place's channels side by side.

    Helps when: torch runs a convolutional network: on many processors, and on GPUs with tensor cores, convolutions
                whose input and weights lie so need no reordering. Which is faster has to be timed
    Inputs:     model - with a convolution over two or three dimensions, weights (out, in, ...)
    Outputs:    model - same numbers, answers to rounding; files that torch makes of it, and titrant.load, keep the
                layout. The measurement laid_out_bytes counts the weights that lie so
    Fails:      PreconditionError X629 where no convolution holds its weights
    Cost:       a copy of the model
    """
    from titrant.runtime.backends.torch.determinism import convolutions
    from titrant.runtime.backends.torch.module import rewritten
    from titrant.runtime.operators.model.fold import with_plain_weights

    model = with_plain_weights(model)
    context.measure("laid_out_bytes", sum(weight.nbytes for weight in convolutions(model.module)), "B")
    return {"model": rewritten(model, "model.layout", {"layout": params.layout})}
