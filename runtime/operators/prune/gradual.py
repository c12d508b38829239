"""Train a network while ever more of its weights become zero."""

from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from titrant.runtime.catalog import Context, operator
from titrant.runtime.cost.sizes import layers_of
from titrant.runtime.method import Method
from titrant.runtime.operators.prune import magnitude
from titrant.runtime.operators.train import fit
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

_WEIGHTS_PER_SECOND = 10e6
_RANK = 7


class GradualParams(fit.FitParams):
    """How the weights are fitted, and how the share of them that is zero rises meanwhile."""

    sparsity: float = Field(0.3, gt=0, lt=1, description="share of the weights that is zero at the end")
    scope: Literal["global", "layer"] = Field(
        "layer", description="the share is that of each layer, or of all together"
    )
    skip: tuple[str, ...] = Field((), description="module name patterns left dense")
    begin: float = Field(0.0, ge=0, lt=1, description="share of all steps after which the first weights become zero")
    end: float = Field(0.75, gt=0, le=1, description="share of all steps after which the final sparsity is reached")
    every: int = Field(10, ge=1, description="steps from one mask to the next")

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.begin >= self.end:
            raise ValueError(f"begin must lie before end, and {self.begin:g} does not lie before {self.end:g}")
        return self


def requires(params: GradualParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need what training and masking need."""
    needs = (*fit.requires(params, hardware, model), *magnitude.requires(params, hardware, model))
    return tuple(dict.fromkeys(needs))


def predict(
    params: GradualParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Model the training, and a sort of the weights for each mask."""
    training = fit.predict(params, hardware, model, work)
    if model is None or training.seconds is None or training.peak_bytes is None:
        return training
    steps = params.epochs * -(-work.rows.get("train", fit.ASSUMED_ROWS) // params.batch_size)
    weights = sum(layer.parameters for layer in layers_of(model, *{layer.type for layer in model.layers}))
    sorting = steps * params.end / params.every * weights / _WEIGHTS_PER_SECOND
    return replace(
        training, seconds=training.seconds + sorting, peak_bytes=training.peak_bytes + 6 * model.weight_bytes
    )


@operator(
    "prune.gradual",
    version=2,
    family="prune",
    params=GradualParams,
    inputs={"model": "torch", "train": "rows", "tuning": "rows"},
    outputs={"model": "torch", "masked": "value", "curves": "value"},
    requires=requires,
    predict=predict,
    loads=("torch", "torch._dynamo", "titrant.runtime.training.rising_masks"),
    libraries=("torch", "numpy"),
    user_code=True,
    method=Method("prune.gradual", takes="torch", rank=_RANK, arithmetic=Arithmetic(), by_name=magnitude.BY_NAME),
)
def prune_gradual(params: GradualParams, context: Context, *, model: Any, train: Any, tuning: Any) -> dict[str, Any]:
    """Fit the weights while the share that is zero rises, fast at first and ever slower, to the final one.

    Helps when: many weights are to be zero, more than a network bears at once; it is the training afterwards too. It
                makes no file smaller and nothing faster, and the report says what the engine gained.
    Inputs:     model - any module with trainable parameters; train, tuning - rows with labels, as for train.fit
    Outputs:    model - same shapes, the weights of the best epoch of those at the final sparsity, eval mode; masked -
                {"layers": [{"name", "zeros", "total"}]}; curves - as of train.fit, with `sparsity` at each epoch's end.
                Between `begin` and `end` sparsity is s · (1 - (1 - progress)³) (Zhu & Gupta 2017), by magnitude. The
                measurement weights_masked is the share of all parameters
    Fails:      PreconditionError X551 where there is nothing to mask; StepError as train.fit does
    Cost:       that of train.fit, a copy of the model, and a sort of the weights every `every` steps
    """
    from titrant.runtime.backends.torch.reduced import masks
    from titrant.runtime.operators.model.fold import with_plain_weights
    from titrant.runtime.training.rising_masks import CubicRise, RisingMasks

    model = masks.masked(with_plain_weights(model))
    weights = masks.weights_of(model.module, params.skip)
    masks.check_any(weights, params.skip)
    rise = CubicRise(params.sparsity, params.begin, params.end, params.every)
    rising = RisingMasks(weights, rise, params.scope)
    made, curves = fit.fit(model, train, tuning, params, context, watchers=(rising,))
    masking = masks.Masking()
    for name, weight in weights.items():
        masking.count(name, weight)
    outputs = masks.measured(made, masking, context)
    return {**outputs, "curves": {**curves, "sparsity": rising.sparsity}}
