"""Set the weights that are nearest to zero to zero."""

from typing import Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, modelled
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Why `auto` takes no method that only masks.
BY_NAME = "it sets weights to zero, which makes no file smaller and no engine here faster"
# Sorting the scores of weights.
_WEIGHTS_PER_SECOND = 10e6


class MagnitudeParams(Params):
    """Which share of the weights becomes zero."""

    sparsity: float = Field(0.3, ge=0, lt=1, description="share of the weights that becomes zero")
    scope: Literal["global", "layer"] = Field(
        "layer", description="the share is that of each layer, or of all together"
    )
    skip: tuple[str, ...] = Field((), description="module name patterns left dense")


def requires(params: Any, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, and a layer with a matrix or a kernel."""
    packages = missing(hardware, "torch")
    if model is None or any(len(layer.weight_shape) > 1 and layer.type != "Embedding" for layer in model.layers):
        return packages
    return (*packages, Unmet("the model has no layer with a matrix or kernel", "take reduction.pruning out"))


def predict(params: Any, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN) -> Prediction:
    """Model one sort of all weights: zeros take as much room as other numbers."""
    if model is None:
        return Prediction()
    seconds = 2 * BASE_SECONDS + model.parameters / _WEIGHTS_PER_SECOND
    return modelled(hardware, seconds, 6 * model.weight_bytes, torch_bytes(model))


@operator(
    "prune.magnitude",
    version=2,
    family="prune",
    params=MagnitudeParams,
    inputs={"model": "torch"},
    outputs={"model": "torch", "masked": "value"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.reduced.masks"),
    libraries=("torch",),
    user_code=True,
    method=Method("prune.magnitude", takes="torch", rank=7, arithmetic=Arithmetic(), by_name=BY_NAME),
)
def prune_magnitude(params: MagnitudeParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Set the weights that are nearest to zero to zero, layer by layer or of all layers together.

    Helps when: the target has kernels for zeros, or later pruning shall find structure; alone it makes no file smaller
                and nothing faster, and the report says what the engine gained.
    Inputs:     model - any module; matrices and kernels are masked (Han et al. 2015), tables of embeddings, biases and
                norms are not
    Outputs:    model - same shapes; masked - {"layers": [{"name", "zeros", "total"}]}. The measurement weights_masked
                is the share of all parameters
    Fails:      PreconditionError X551 where there is nothing to mask
    Cost:       one sort of the weights; memory of a copy and their scores
    """
    from titrant.runtime.backends.torch.reduced import masks
    from titrant.runtime.operators.model.fold import with_plain_weights

    made, masking = masks.masked(with_plain_weights(model)), masks.Masking()
    weights = masks.weights_of(made.module, params.skip)
    masks.check_any(weights, params.skip)
    masks.mask(weights, masks.magnitude_masks(list(weights.values()), params.sparsity, params.scope), masking)
    return masks.measured(made, masking, context)
