"""Set the weights, or whole filters, to zero that matter least for what a network's layers are really given."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import forward_seconds, speed_of
from titrant.runtime.cost.sizes import CONVOLUTIONS, layers_of, missing
from titrant.runtime.method import Method
from titrant.runtime.operators.prune import magnitude
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.backends.torch.reduced.masks import Masking
    from titrant.runtime.values import Rows, TorchModel

# Watching a forward pass, in forward passes.
_WATCHED = 3


class ActivationParams(Params):
    """By which score, and how much becomes zero."""

    score: Literal["wanda", "apoz"] = Field(
        "wanda", description="wanda: weights by |W| · ‖x‖₂; apoz: whole filters by how often their ReLU answers zero"
    )
    sparsity: float = Field(0.3, ge=0, lt=1, description="share of each output's weights, or of the filters")
    skip: tuple[str, ...] = Field((), description="module name patterns left dense")
    rows: int = Field(256, ge=1, description="calibration rows that are answered, at most")


def requires(params: ActivationParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, and layers that the score is for."""
    packages = missing(hardware, "torch")
    types = CONVOLUTIONS if params.score == "apoz" else (*CONVOLUTIONS, "Linear")
    if model is None or layers_of(model, *types):
        return packages
    other = "score: wanda" if params.score == "apoz" else "method: magnitude"
    named = "convolutions" if params.score == "apoz" else "linear layers and convolutions"
    return (*packages, Unmet(f"{params.score} scores {named}, and the model has none", f"write {other}"))


def predict(
    params: ActivationParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Model a watched forward pass over the rows, and a sort of the weights."""
    sorting = magnitude.predict(params, hardware, model, work)
    if model is None or sorting.seconds is None:
        return sorting
    rows = min(params.rows, work.rows.get("calibration", params.rows))
    forward = forward_seconds(model, speed_of(hardware, work.threads), run_cost("torch", "torch"), rows)
    peak = (sorting.peak_bytes or 0) + 32 * 3 * (model.activation_bytes or 0)
    return replace(sorting, seconds=sorting.seconds + _WATCHED * forward, peak_bytes=peak)


@operator(
    "prune.activation",
    version=2,
    family="prune",
    params=ActivationParams,
    inputs={"model": "torch", "calibration": "rows"},
    outputs={"model": "torch", "masked": "value"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.reduced.activations"),
    libraries=("torch", "numpy"),
    user_code=True,
    method=Method("prune.activation", takes="torch", rank=9, arithmetic=Arithmetic(), by_name=magnitude.BY_NAME),
)
def prune_activation(params: ActivationParams, context: Context, *, model: Any, calibration: Any) -> dict[str, Any]:
    """Set weights to zero by their size times the strength of what they are given, or filters whose answer is idle.

    Helps when: weights are to be zero without training afterwards: what hardly carries anything costs least. It makes
                no file smaller and nothing faster, and the report says what the engine gained.
    Inputs:     model - any module; calibration - rows like those to come. `wanda` masks linear layers and convolutions:
                of each output's weights those with the lowest |W| · ‖x‖₂, x over all cases and places, of a kernel its
                unfolded inputs (Sun et al. 2024). `apoz` masks whole filters of convolutions that a ReLU follows, alone
                or past a batch normalization, those whose answer is most often zero first, of all layers together (Hu
                et al. 2016); each layer keeps one
    Outputs:    model - same shapes; of a masked filter the bias, and the scale and shift of its normalization, are zero
                too; masked - {"layers": [{"name", "zeros", "total"}], "left": [{"name", "because"}]}. The measurement
                weights_masked is the share of all parameters
    Fails:      PreconditionError X551 where there is nothing to mask, X552 where no ReLU follows a convolution;
                StepError X404 without calibration rows
    Cost:       a forward pass over the rows and a sort; memory of a copy and its scores
    """
    from titrant.runtime.backends.torch.reduced import masks
    from titrant.runtime.operators.model.fold import with_plain_weights

    made, masking = masks.masked(with_plain_weights(model)), masks.Masking()
    (_mask_filters if params.score == "apoz" else _mask_weights)(params, context, made, calibration, masking)
    return masks.measured(made, masking, context)


def _mask_weights(
    params: ActivationParams, context: Context, made: "TorchModel", calibration: "Rows", masking: "Masking"
) -> None:
    from titrant.runtime.backends.torch.reduced import masks
    from titrant.runtime.backends.torch.reduced.activations import InputNorms, answer

    weights = masks.weights_of(made.module, params.skip)
    masks.check_any(weights, params.skip)
    with InputNorms(made.module) as seen:
        answer(made, calibration, params.rows, context)
    norms = seen.norms()
    for name in [name for name in weights if name not in norms]:
        masking.left[name] = "it is no linear layer or convolution that is called with its inputs"
        del weights[name]
    masks.check_any(weights, params.skip)
    marked = [masks.wanda_mask(weight, norms[name], params.sparsity) for name, weight in weights.items()]
    masks.mask(weights, marked, masking)


def _mask_filters(
    params: ActivationParams, context: Context, made: "TorchModel", calibration: "Rows", masking: "Masking"
) -> None:
    import torch

    from titrant.runtime.backends.torch.reduced import masks
    from titrant.runtime.backends.torch.reduced.activations import ZeroShares, answer

    weights = masks.weights_of(made.module, params.skip)
    with ZeroShares(made.module) as seen:
        answer(made, calibration, params.rows, context)
    shares = {name: share for name, share in seen.shares().items() if name in weights}
    masking.left |= dict.fromkeys(sorted({*weights} - {*shares}), "no ReLU answers for each of its filters alone")
    if not shares:
        message = "no convolution's answer goes through a ReLU before it is added to anything"
        raise PreconditionError(Diagnostic("X552", message, help="write score: wanda"))
    # The first of each layer's most active filters stays whatever is asked for.
    scores = {name: -share for name, share in shares.items()}
    for score in scores.values():
        score[score.argmax()] = torch.inf
    together = torch.cat(list(scores.values()))
    count = min(round(params.sparsity * len(together)), int(together.isfinite().sum()))
    marked = masks.lowest(together, count).split([len(score) for score in scores.values()])
    with torch.no_grad():
        for name, filters in zip(scores, marked, strict=True):
            layer = made.module.get_submodule(name)
            parts = [layer, *([made.module.get_submodule(norm)] if (norm := seen.normalizations.get(name)) else [])]
            for tensor in (tensor for part in parts for tensor in part.parameters(recurse=False)):
                tensor[filters] = 0
            masking.count(name, weights[name])
