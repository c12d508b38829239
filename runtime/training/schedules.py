"""Create optimizers and learning-rate schedules: those of torch, with torch's own defaults where nothing is said."""

from typing import Any

import torch  # noqa: TID253 - its very subject
from torch.optim import lr_scheduler  # noqa: TID253 - its very subject

from titrant.runtime.training.task import TrainingSettings
from titrant.schema.values.frozen import dataclass

# Of all steps, those in which `cosine_warmup` rises.
WARMUP = 0.1
# What `step` multiplies the rate by after each third of the epochs, and `exponential` by over all of them.
STEP_FACTOR, EXPONENTIAL_END = 0.1, 0.01
# Schedules that move once an epoch, and those that move with each step of the optimizer.
EACH_EPOCH = ("step", "exponential", "plateau")
EACH_STEP = ("linear", "cosine", "cosine_warmup", "one_cycle")


@dataclass(frozen=True)
class RateSchedule:
    """How the learning rate moves: a name of the language, None for not at all, and what torch's schedule needs.

    `steps` are those of the optimizer in all epochs. `patience` is how many epochs `plateau` waits, `watched` for what.
    """

    name: str | None
    epochs: int
    steps: int
    patience: int = 1
    watched: str = "tuning loss"


def make_optimizer(
    settings: TrainingSettings, weights: list[torch.nn.Parameter], *, learning_rate: float
) -> torch.optim.Optimizer:
    """Create the optimizer of torch.optim that the settings name in small letters; what they leave open is torch's."""
    classes = {name.lower(): getattr(torch.optim, name) for name in torch.optim.__all__ if name[0].isupper()}
    terms = {"lr": learning_rate, "weight_decay": settings.weight_decay}
    if settings.momentum is not None:
        terms["momentum"] = settings.momentum
    made: torch.optim.Optimizer = classes[settings.optimizer](weights, **terms)
    return made


def make_schedule(schedule: RateSchedule, optimizer: torch.optim.Optimizer) -> Any:
    """Create torch's schedule; None where the learning rate stays.

    `linear` and `cosine` fall to 0 after the last step; `cosine_warmup` rises for a tenth of the steps first;
    `one_cycle` rises to the learning rate for three tenths and falls below where it began (Smith and Topin 2018);
    `step` divides by ten after each third of the epochs; `exponential` ends at a hundredth; `plateau` divides by ten
    after `patience` epochs without a better value of what is watched.
    """
    steps, epochs = max(1, schedule.steps), schedule.epochs
    if schedule.name == "linear":
        return lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps)
    if schedule.name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if schedule.name == "cosine_warmup":
        warmup = max(1, round(WARMUP * steps))
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps - warmup))
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warmup])
    if schedule.name == "one_cycle":
        rate = optimizer.param_groups[0]["lr"]
        # torch refuses to move a momentum that an optimizer does not have.
        momentum = bool({"momentum", "betas"} & set(optimizer.defaults))
        return lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps, cycle_momentum=momentum)
    if schedule.name == "step":
        return lr_scheduler.StepLR(optimizer, step_size=-(-epochs // 3), gamma=STEP_FACTOR)
    if schedule.name == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, gamma=EXPONENTIAL_END ** (1 / epochs))
    if schedule.name == "plateau":
        higher = schedule.watched == "tuning accuracy"
        return lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max" if higher else "min", factor=STEP_FACTOR, patience=schedule.patience
        )
    return None
