"""The `train` and `reproducibility` sections: how weights are fitted, and what keeps bytes equal."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from titrant.schema.recipe.terms import Auto, Count, Fraction, Off, Positive, Ref, Section, Text, Threads, Watched

Optimizer = Literal[
    "adamw", "adam", "sgd", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta", "asgd", "adafactor"
]
Loss = Literal[
    "cross_entropy",
    "binary_cross_entropy_with_logits",
    "nll_loss",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
]
Schedule = Literal["constant", "linear", "cosine", "cosine_warmup", "one_cycle", "step", "exponential", "plateau"]


class EarlyStop(Section):
    """Stop when tuning rows no longer improve, and keep the best weights."""

    metric: Watched = Field("tuning loss", description="what is watched")
    patience: Count = Field(5, description="epochs without improvement before it stops")


class Distributed(Section):
    """Train in several processes."""

    processes: Count = Field(description="processes, one a device")
    strategy: Literal["ddp", "fsdp"] = Field("ddp", description="copies of the model, or shards of it")


class Checkpoints(Section):
    """What is kept while training."""

    every: Count = Field(1, description="epochs between two checkpoints")
    keep_best: Count = Field(3, description="best checkpoints kept, beside the latest")
    metric: Watched = Field("tuning loss", description="what `best` means")
    mode: Literal["min", "max"] = Field("min", description="whether smaller or larger is better")


class WatchGradients(Section):
    """When gradients are reported as unhealthy."""

    pattern: Text = Field("*", description="parameter names that are watched")
    vanishing: Positive = Field(1e-8, description="L2 norm of a layer below which its gradient vanishes")
    exploding: Positive = Field(1e3, description="L2 norm of a layer above which its gradient explodes")
    global_norm: Positive = Field(10.0, description="L2 norm of all gradients above which is warned")


class Train(Section):
    """Fits the original without weights, fine-tunes it with them; else recovery, distillation, quantization-aware."""

    epochs: Count = Field(20, description="passes over the train rows, at most")
    batch_size: Count = Field(64, description="cases in a step")
    optimizer: Optimizer = Field("adamw", description="an optimizer of torch.optim, in small letters")
    learning_rate: Auto | Positive = Field("auto", description="step size, above 0")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="decay of the weights, 0 or more")
    loss: Loss | Ref | None = Field(
        None, description="a loss of torch.nn.functional, or `module:Name`; default: from task"
    )
    class_weights: Annotated[Literal["balanced"] | Mapping[str, Positive] | None, Off] = Field(
        None, description="none, balanced, or class → weight"
    )
    label_smoothing: Fraction = Field(0.0, description="share of the label spread over all classes")
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, exclude_if=lambda value: value is None, description="momentum of sgd and rmsprop; default: none"
    )
    schedule: Annotated[Schedule | None, Off] = Field(None, description="how the learning rate moves")
    gradient_clip: Annotated[Positive | None, Off] = Field(None, description="largest global norm of the gradients")
    accumulate: Count = Field(1, description="batches whose gradients are added before a step")
    early_stop: Annotated[EarlyStop | None, Off] = Field(
        default_factory=EarlyStop.model_construct,
        description="when to stop before the last epoch; none: never",
    )
    find_learning_rate: bool = Field(False, description="sweep the learning rate before training")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="number format of the arithmetic")
    quantization_aware: bool | Auto = Field(
        False,
        exclude_if=lambda value: value is False,
        description="train candidates of static int8 methods with rounded weights and activations; auto: where they "
        "lose too much",
    )
    distributed: Annotated[Distributed | None, Off] = Field(None, description="several processes")
    checkpoints: Checkpoints = Field(
        default_factory=Checkpoints.model_construct, description="what is kept while training"
    )
    resume: bool = Field(True, description="go on from the latest checkpoint of the same training")
    watch_gradients: bool | WatchGradients = Field(True, description="report vanishing and exploding gradients")


class Reproducibility(Section):
    """How work that makes bytes is done."""

    deterministic: bool = Field(True, description="use deterministic kernels only")
    threads: Threads = Field(1, description="threads for training and calibration; another number gives other bytes")
