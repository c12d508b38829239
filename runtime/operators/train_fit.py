"""Fit a model on the train rows."""

import math
from typing import Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data_cost import BASE_SECONDS
from titrant.runtime.forward_cost import forward_seconds, speed_of, update_seconds
from titrant.runtime.installed import missing
from titrant.runtime.layer_work import layer_output_bytes
from titrant.runtime.sizes import torch_bytes
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

Optimizer = Literal[
    "adamw", "adam", "sgd", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta", "asgd", "adafactor"
]
Loss = Literal["cross_entropy", "binary_cross_entropy_with_logits", "nll_loss"]


# Where the data is not known.
_ASSUMED_ROWS = 1000
# Rows judged at once after an epoch, as in titrant.runtime.torch.training.
TUNING_ROWS = 256
# Forward and backward pass, in forward passes; measured on the shipped models and ResNet-20.
_TRAINING_PASSES = 3.5
# Choosing a batch's rows, the loss, and keeping count.
_BATCH_SECONDS = 0.0004
# Of the epochs that early stopping allows, what it comes to on average.
_EPOCHS_SHARE = 0.8
# What torch.optim takes when it is first used, and one epoch of the curves as JSON.
_OPTIMIZER_BYTES = 12 << 20
CURVES_BYTES = 65


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


def predict(params: FitParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN) -> Prediction:
    """Model a batch as its forward pass, a backward pass that costs two and a half, and the optimizer."""
    if model is None:
        return Prediction()
    rows = work.rows.get("train", _ASSUMED_ROWS)
    tuning = work.rows.get("tuning", rows // 5)
    speed = speed_of(hardware, work.threads)
    forward = forward_seconds(model, speed, "torch", min(params.batch_size, rows))
    batch = _BATCH_SECONDS + _TRAINING_PASSES * forward + update_seconds(model, speed)
    judge = tuning / TUNING_ROWS * forward_seconds(model, speed, "torch", TUNING_ROWS)
    epochs = max(1.0, params.epochs * _EPOCHS_SHARE) if params.early_stop else params.epochs
    seconds = BASE_SECONDS + epochs * (math.ceil(rows / params.batch_size) * batch + judge)
    # The best weights are kept beside the current ones; answers stay until the backward pass.
    states = {"sgd": 1, "adagrad": 2, "rmsprop": 2, "asgd": 2}.get(params.optimizer, 3)
    answers = max(layer_output_bytes(model), model.activation_bytes or 0) * min(params.batch_size, rows)
    judged = (model.activation_bytes or 0) * min(TUNING_ROWS, tuning)
    copied = work.bytes.get("train", 0) + work.bytes.get("tuning", 0)
    peak = model.weight_bytes * (2 + states) + answers * 7 // 5 + judged * 3 // 2 + copied + _OPTIMIZER_BYTES
    bases = {"output_bytes": "modelled"} | ({} if "train" in work.rows else {"seconds": "guess"})
    size = torch_bytes(model) + CURVES_BYTES * params.epochs
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis=speed.basis, bases=bases)


@operator(
    "train.fit",
    version=3,
    family="train",
    params=FitParams,
    inputs={"model": "torch", "train": "rows", "tuning": "rows"},
    outputs={"model": "torch", "curves": "value"},
    consumes=["model"],
    requires=requires,
    predict=predict,
    loads=("torch", "torch._dynamo", "titrant.runtime.torch.training"),
    costless=("learning_rate", "weight_decay", "loss", "deterministic", "metric"),
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
