"""Fit a model's weights on the train rows and keep those that were best on the tuning rows."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import (
    ASSUMED_ROWS,
    BASE_SECONDS,
    forward_seconds,
    layer_output_bytes,
    speed_of,
    update_seconds,
)
from titrant.runtime.cost.sizes import missing, precision_unmet, torch_bytes
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Bench, Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.recipe.terms import Ref, Watched
from titrant.schema.recipe.train import Checkpoints, Loss, Optimizer, Schedule, WatchGradients
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.layout import CHANNELS_LAST

if TYPE_CHECKING:
    from pathlib import Path

    from titrant.runtime.training.processes.ranks import Ranks
    from titrant.runtime.training.role_batches import Batches
    from titrant.runtime.training.task import Batch, TrainingSettings, TrainingTask, Watcher
    from titrant.runtime.values import Rows, TorchModel

    TeachTask = Callable[[TrainingTask, Batches], AbstractContextManager[TrainingTask]]

# Rows answered at once after an epoch, when nothing is learned from them.
TUNING_ROWS = 256
# Forward and backward pass, in forward passes; measured on the shipped models and ResNet-20.
_TRAINING_PASSES = 3.5
# Seconds of these passes in a precision, in those in fp32: an encoder, perceptrons and a CNN where bf16 is native.
_PRECISION_SHARE = {"fp32": 1.0, "bf16": 0.7, "fp16": 0.7}
# Of a layer's activations, what recomputing leaves out at the peak: a transformer's.
_RECOMPUTED_BYTES = 0.87
# Writing to a disk, and reading from it, where neither was measured.
_DISK_BYTES_PER_SECOND = 5e8
# Until the processes of a training have loaded torch and met.
_MEETING_SECONDS = 10.0
# Choosing a batch's rows, the loss, and keeping count.
_BATCH_SECONDS = 0.0004
# Of the epochs that early stopping allows, what it comes to on average.
_EPOCHS_SHARE = 0.8
# What torch.optim takes when it is first used, and one epoch of the curves as JSON.
_OPTIMIZER_BYTES = 12 << 20
CURVES_BYTES = 65
# The learning-rate finder's steps, of which the last third is left out as a rule, and what it saw as JSON.
_SWEEP_STEPS, _SWEEP_BYTES = 70, 3000


class FitParams(Params):
    """How long and how fast the weights are fitted."""

    epochs: int = Field(20, ge=1, description="passes over the train rows, at most")
    batch_size: int = Field(64, ge=1, description="cases in a step")
    optimizer: Optimizer = Field("adamw", description="an optimizer of torch.optim, in small letters")
    learning_rate: float = Field(1e-3, gt=0, description="step size")
    weight_decay: float = Field(0.01, ge=0, description="decay of the weights")
    momentum: float | None = Field(
        None, ge=0, lt=1, exclude_if=lambda value: value is None, description="momentum of sgd and rmsprop"
    )
    loss: Loss | Ref = Field(
        "cross_entropy", description="a loss of torch.nn.functional, or `module:Name`, of the model's first output"
    )
    class_weights: tuple[float, ...] | None = Field(None, description="weight of each class in the loss")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the label spread over all classes")
    schedule: Schedule | None = Field(None, description="how the learning rate moves; none: it stays")
    gradient_clip: float | None = Field(None, gt=0, description="largest global L2 norm of the gradients")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are added before a step")
    find_learning_rate: bool = Field(False, description="find the step size by a sweep on train rows first")
    keep_zeros: bool = Field(False, description="weights of layers that are 0 at the start stay 0")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="number format of the forward and backward pass; weights and optimizer stay fp32"
    )
    gradient_checkpointing: float = Field(
        0.0, ge=0, le=1, description="share of the layers whose activations are computed again in the backward pass"
    )
    offload_above_bytes: int | None = Field(
        None,
        ge=0,
        exclude_if=lambda value: value is None,
        description="activations that a step keeps in memory before it keeps others on the disk; none: all are kept",
    )
    layout: Literal["contiguous", "channels_last"] = Field(
        "contiguous",
        exclude_if=lambda value: value == "contiguous",
        description="how weights of convolutions lie in memory while they are fitted",
    )
    processes: int = Field(1, ge=1, description="processes that share each batch, each with a copy of the model")
    early_stop: bool = Field(True, description="stop when tuning rows no longer improve")
    patience: int | None = Field(
        None, ge=1, description="epochs without improvement before it stops; none: a fifth of the epochs, at least 1"
    )
    metric: Watched = Field("tuning loss", description="what the best epoch is")
    deterministic: bool = Field(True, description="refuse torch operations whose result is not repeatable")
    checkpoints: Checkpoints | None = Field(None, description="what is kept of the epochs; none: what a resume needs")
    resume: bool = Field(True, description="go on where the same training was when it was ended")
    watch_gradients: WatchGradients | None = Field(
        WatchGradients(), description="when a gradient is unhealthy; none: they are not looked at"
    )


def requires(params: FitParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, and weights to fit."""
    weights: tuple[Unmet, ...] = ()
    if model is not None and model.trainable == 0:
        remedy = "leave out train, or set requires_grad in the factory"
        weights = (Unmet("the model has no trainable parameters", remedy),)
    return missing(hardware, "torch") + weights + precision_unmet(params.precision, hardware)


def predict(params: FitParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN) -> Prediction:
    """Model a batch as its forward pass, a backward pass that costs two and a half, and the optimizer."""
    if model is None:
        return Prediction()
    rows = work.rows.get("train", ASSUMED_ROWS)
    tuning = work.rows.get("tuning", rows // 5)
    speed = speed_of(hardware, work.threads)
    forward = forward_seconds(model, speed, run_cost("torch", "torch"), min(params.batch_size, rows))
    passes = _TRAINING_PASSES * _PRECISION_SHARE[params.precision] + params.gradient_checkpointing
    batch = _BATCH_SECONDS + passes * forward + update_seconds(model, speed) / params.accumulate
    answers = max(layer_output_bytes(model), model.activation_bytes or 0) * min(params.batch_size, rows)
    answers = round(answers * (1 - _RECOMPUTED_BYTES * params.gradient_checkpointing))
    on_disk = 0 if params.offload_above_bytes is None else max(0, answers - params.offload_above_bytes)
    bench = hardware.bench or Bench()
    for bytes_per_second in (bench.disk_write_bytes_per_second, bench.disk_read_bytes_per_second):
        batch += on_disk / (bytes_per_second or _DISK_BYTES_PER_SECOND)
    judge = tuning / TUNING_ROWS * forward_seconds(model, speed, run_cost("torch", "torch"), TUNING_ROWS)
    epochs = max(1.0, params.epochs * _EPOCHS_SHARE) if params.early_stop else params.epochs
    seconds = BASE_SECONDS + epochs * (math.ceil(rows / params.batch_size) * batch + judge)
    if params.find_learning_rate:
        seconds += _SWEEP_STEPS * (batch + update_seconds(model, speed))
    if params.processes > 1:
        seconds = _MEETING_SECONDS + seconds / params.processes
    # The best weights are kept beside the current ones; answers stay until the backward pass.
    states = {"sgd": 1, "adagrad": 2, "rmsprop": 2, "asgd": 2}.get(params.optimizer, 3)
    judged = (model.activation_bytes or 0) * min(TUNING_ROWS, tuning)
    copied = work.bytes.get("train", 0) + work.bytes.get("tuning", 0)
    peak = model.weight_bytes * (2 + states) + answers * 7 // 5 - on_disk + judged * 3 // 2 + copied + _OPTIMIZER_BYTES
    bases = {"output_bytes": "modelled"} | ({} if "train" in work.rows else {"seconds": "guess"})
    size = torch_bytes(model) + CURVES_BYTES * params.epochs + (_SWEEP_BYTES if params.find_learning_rate else 0)
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis=speed.basis, bases=bases)


@operator(
    "train.fit",
    version=4,
    family="train",
    params=FitParams,
    inputs={"model": "torch", "train": "rows", "tuning": "rows"},
    outputs={"model": "torch", "curves": "value"},
    consumes=["model"],
    requires=requires,
    predict=predict,
    loads=(
        "torch",
        "torch._dynamo",
        "titrant.runtime.backends.torch.losses",
        "titrant.runtime.training.loop",
        "titrant.runtime.training.watchers",
    ),
    costless=(
        "learning_rate",
        "weight_decay",
        "momentum",
        "loss",
        "deterministic",
        "metric",
        "class_weights",
        "label_smoothing",
        "schedule",
        "gradient_clip",
        "keep_zeros",
        "checkpoints",
        "resume",
        "watch_gradients",
    ),
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
                epoch, best_epoch (from 0); sweep - rates, loss and the one chosen, of find_learning_rate
    Fails:      StepError when rows and model do not fit together (names both shapes), when labels are missing or out
                of the output's range, when the loss is no longer finite or diverges (says at which step, and what to
                lower), when a sweep finds no learning rate, and X629 when no convolution can lie channels last
    Cost:       epochs times three forward passes; memory is weights, gradients, optimizer state and the best weights
    """
    fitted, curves = fit(model, train, tuning, params, context)
    return {"model": fitted, "curves": curves}


@dataclass(frozen=True)
class Teaching:
    """What is learned besides: whose answers, and a task of the same module, or of one that holds it.

    `taught` makes that of a task and its train rows, for as long as it is entered; `fit_rank` of a module does so in
    several processes.
    """

    teacher: "TorchModel"
    taught: "TeachTask"
    module: str


def fit(
    model: "TorchModel",
    train: "Rows",
    tuning: "Rows",
    params: FitParams,
    context: Context,
    *,
    watchers: "Sequence[Watcher]" = (),
    teaching: "Teaching | None" = None,
) -> "tuple[TorchModel, dict[str, Any]]":
    """Fit the module in place and return it in eval mode with the best epoch's weights, and the curves.

    `teaching` says what is learned besides. Several processes take no `watchers`.
    """
    from titrant.runtime.backends.torch.determinism import fixed_settings
    from titrant.runtime.training.loop import train as train_module
    from titrant.runtime.training.loop import training_failed
    from titrant.runtime.training.trial import trial_steps

    seed = int(context.generator.integers(2**63))
    if params.processes > 1:
        return _in_processes((model, train, tuning), params, context, seed, teaching)
    taught = None if teaching is None else teaching.taught
    with fixed_settings(context.threads, seed, deterministic=params.deterministic):
        try:
            with ready(params, (model, train, tuning), context, taught) as (task, batch, watching):
                trial_steps(task, batch, context.measure, channels_last=params.layout == CHANNELS_LAST)
                course = train_module(task, (*watchers, *watching))
                task.module.load_state_dict(course.best_weights)
        except RuntimeError as error:
            raise training_failed(error) from error
    model.module.eval()
    context.measure("final_loss", course.loss[-1])
    context.measure("best_epoch", course.best_epoch)
    if params.precision == "fp16":
        context.measure("skipped_steps", course.skipped_steps)
    if course.sweep is not None:
        context.measure("learning_rate", course.sweep["chosen"])
    if course.tuning_accuracy:
        context.measure("tuning_accuracy", course.tuning_accuracy[course.best_epoch])
    return replace(model), course.curves()


def _in_processes(
    given: "tuple[TorchModel, Rows, Rows]", params: FitParams, context: Context, seed: int, teaching: "Teaching | None"
) -> "tuple[TorchModel, dict[str, Any]]":
    """Fit in several processes, and measure how well they scale; a learning rate is found before, in this one."""
    from titrant.runtime.backends.torch.determinism import fixed_settings
    from titrant.runtime.training.processes.fitting import fit_in_processes
    from titrant.runtime.training.processes.ranked_task import step_seconds
    from titrant.runtime.training.rate_sweep import find_learning_rate

    if not all(model.source_digest for model in (given[0], *(() if teaching is None else (teaching.teacher,)))):
        message = "several processes build a model from its factory, and this module lives in one process"
        advice = "train it in one, or start your own script with torchrun and use titrant.distributed there"
        raise StepError(Diagnostic("X616", message, help=advice))
    sweep, taught = None, None if teaching is None else teaching.taught
    with (
        fixed_settings(context.threads, seed, deterministic=params.deterministic),
        ready(params, given, context, taught) as (task, batch, _),
    ):
        if params.find_learning_rate:
            sweep = find_learning_rate(task)
            params = params.model_copy(update={"find_learning_rate": False, "learning_rate": sweep["chosen"]})
        alone = step_seconds(task, batch)
    values = dict(zip(("model", "train", "tuning"), zip(("torch", "rows", "rows"), given, strict=True), strict=True))
    values |= {} if teaching is None else {"teacher": ("torch", teaching.teacher)}
    module = __name__ if teaching is None else teaching.module
    request = {"module": module, "function": "fit_rank", "seed": seed, "options": {"params": params.model_dump()}}
    fitted, curves = fit_in_processes(values, request, context, size=params.processes, alone=alone)
    if sweep is not None:
        curves["sweep"] = sweep
        context.measure("learning_rate", sweep["chosen"])
    context.measure("final_loss", curves["loss"][-1])
    context.measure("best_epoch", curves["best_epoch"])
    if curves["tuning_accuracy"]:
        context.measure("tuning_accuracy", curves["tuning_accuracy"][curves["best_epoch"]])
    return fitted, curves


def fit_rank(folder: "Path", options: Mapping[str, Any], ranks: "Ranks") -> None:
    """Fit as one of several ranks what lies in a folder."""
    from titrant.runtime.training.processes.fitting import fit_as_rank

    params = FitParams.model_validate(options["params"], strict=False)
    fit_as_rank(folder, options, ranks, partial(ready, params), deterministic=params.deterministic)


@contextmanager
def ready(
    params: FitParams, given: "tuple[TorchModel, Rows, Rows]", context: Any, taught: "TeachTask | None" = None
) -> "Iterator[tuple[TrainingTask, Batch, Sequence[Watcher]]]":
    """Give what is trained, checked, its first rows as a batch, and who watches, for as long as it is entered."""
    import torch

    from titrant.runtime.backends.torch.determinism import lay_out
    from titrant.runtime.training.role_batches import batches_of
    from titrant.runtime.training.task import TaughtInputs
    from titrant.runtime.training.watchers import CurveTeller, watchers_of

    model, train, tuning = given
    rows, judged = batches_of(model, train), batches_of(model, tuning)
    _try(model, rows, params)
    if params.layout == CHANNELS_LAST:
        lay_out(model.module, channels_last=True)
    task = _task(model, rows, judged, params, context)
    inputs, labels = rows.take(slice(0, params.batch_size))
    batch = (inputs if taught is None else TaughtInputs(inputs, torch.arange(len(labels))), labels)
    with nullcontext(task) if taught is None else taught(task, rows) as learning:
        watchers = watchers_of(params, context, {"train": len(rows.labels), "tuning": len(judged.labels)})
        yield learning, batch, (*watchers, CurveTeller(context.curve))


def settings_of(params: FitParams) -> "TrainingSettings":
    """Return what the training loop reads of the parameters."""
    from titrant.runtime.training.task import TrainingSettings

    return TrainingSettings(**{item.name: getattr(params, item.name) for item in fields(TrainingSettings)})


def _task(
    model: "TorchModel", train: "Batches", tuning: "Batches", params: FitParams, context: Context
) -> "TrainingTask":
    from titrant.runtime.backends.torch.losses import OF_NUMBERS, LossTerms, correct, loss_of
    from titrant.runtime.training.role_batches import first_output
    from titrant.runtime.training.task import TrainingTask

    numbers, tokens = train.labels.is_floating_point(), train.labels.ndim == 2
    terms = LossTerms(train.scored, params.class_weights, params.label_smoothing, numbers, tokens)
    loss = loss_of(params.loss, terms)
    boundary = 0.5 if params.loss in OF_NUMBERS else 0.0
    sizes = params.batch_size, params.processes

    return TrainingTask(
        module=model.module,
        train=lambda: map(train.take, train.numbers(*sizes, context.generator)),
        tuning=lambda: (
            tuning.take(slice(start, start + TUNING_ROWS)) for start in range(0, len(tuning.labels), TUNING_ROWS)
        ),
        objective=lambda output, labels, _: loss(output, labels),
        settings=settings_of(params),
        generator=context.generator,
        call=lambda module, inputs: first_output(model, train.arguments.call(module, inputs)),
        right=(lambda output, labels: correct(output, labels, tuning.scored, boundary)) if train.classes else None,
        progress=context.progress,
        batches=len(train.numbers(*sizes)),
        scratch=context.scratch,
    )


def _try(model: "TorchModel", train: "Batches", params: FitParams) -> None:
    """Answer two rows first, so that a misfit is reported as such and not as a failure in mid-training."""
    import torch

    from titrant.runtime.backends.torch.call import call
    from titrant.runtime.backends.torch.losses import check_output
    from titrant.runtime.training.role_batches import first_output

    inputs, labels = train.take(slice(0, 2))
    with torch.inference_mode():
        arrays = {name: tensor.numpy() for (name, _, _), tensor in zip(model.inputs, inputs, strict=True)}
        answer = call(model.module.eval(), arrays)
    first = first_output(model, answer)
    weights = None if params.class_weights is None else len(params.class_weights)
    check_output(params.loss, first, train.labels if len(first) == len(labels) else labels, weights)
