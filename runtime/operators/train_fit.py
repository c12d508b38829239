"""Fit a model on the train rows."""

from typing import Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.installed import missing
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

Optimizer = Literal[
    "adamw", "adam", "sgd", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta", "asgd", "adafactor"
]
Loss = Literal["cross_entropy", "binary_cross_entropy_with_logits", "nll_loss"]


class FitParams(Params):
    """How long and how fast the weights are fitted."""

    epochs: int = Field(20, ge=1, description="passes over the train rows, at most")
    batch_size: int = Field(64, ge=1, description="cases in a step")
    optimizer: Optimizer = Field("adamw", description="an optimizer of torch.optim, in small letters")
    learning_rate: float = Field(1e-3, gt=0, description="step size")
    weight_decay: float = Field(0.01, ge=0, description="decay of the weights")
    loss: Loss = Field("cross_entropy", description="a loss of torch.nn.functional, of the model's first output")
    early_stop: bool = Field(True, description="stop when tuning rows no longer improve")
    patience: int | None = Field(
        None, ge=1, description="epochs without improvement before it stops; none: a fifth of the epochs, at least 1"
    )
    metric: Literal["tuning loss", "tuning accuracy"] = Field("tuning loss", description="what the best epoch is")
    deterministic: bool = Field(True, description="refuse torch operations whose result is not repeatable")


def requires(params: FitParams, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
    """Need torch, and weights to fit."""
    weights: tuple[str, ...] = ()
    if model is not None and model.trainable == 0:
        weights = ("the model has no trainable parameters: leave out train, or set requires_grad in the factory",)
    return missing(hardware, "torch") + weights


def predict(params: FitParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Model memory as weights, gradients and optimizer state; guess time for a thousand rows."""
    if model is None:
        return Prediction()
    states = {"sgd": 1, "adagrad": 2, "rmsprop": 2, "asgd": 2}.get(params.optimizer, 3)
    # The best weights are kept beside the current ones; activations stay until the backward pass.
    peak = model.weight_bytes * (2 + states) + 2 * (model.activation_bytes or 0) * params.batch_size
    # A backward pass costs two forward passes; a CPU thread reaches some 5 GFLOP/s on small batches.
    steps = 1000 / params.batch_size
    seconds = params.epochs * (3 * 1000 * (model.flops or 2 * model.parameters) / 5e9 + steps * 0.002)
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=model.weight_bytes, basis="guess")


@operator(
    "train.fit",
    version=2,
    family="train",
    params=FitParams,
    inputs={"model": "torch", "train": "rows", "tuning": "rows"},
    outputs={"model": "torch", "curves": "value"},
    consumes=["model"],
    requires=requires,
    predict=predict,
    libraries=("torch", "numpy"),
    user_code=True,
)
def train_fit(params: FitParams, context: Context, *, model: Any, train: Any, tuning: Any) -> dict[str, Any]:
    """Fit the weights on train rows and keep those of the epoch that was best on tuning rows.

    Helps when: the model comes without trained weights, or shall go on learning from these rows.
    Inputs:     model - any module with trainable parameters; train, tuning - rows with labels, whose arrays the model
                takes by name, float32 or int64, (rows, …); one logit a row is fitted to the positive class, or
                without one to the second
    Outputs:    model - same structure, best weights, eval mode; curves - loss, tuning_loss and tuning_accuracy an
                epoch, best_epoch (from 0)
    Fails:      StepError when rows and model do not fit together (names both shapes), when labels are missing or out
                of the output's range, and when the loss is no longer finite (says what to lower)
    Cost:       epochs times three forward passes; memory is weights, gradients, optimizer state and the best weights
    """
    from titrant.runtime.torch.training import fit

    fitted, curves = fit(model, train, tuning, params, context)
    return {"model": fitted, "curves": curves}
