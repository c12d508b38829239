"""Find a learning rate: raise it step by step on train rows, and take where the smoothed loss falls fastest.

The range test of Smith (2017), with the choices of fastai: the steepest descent, at most a tenth of the rate at which
the loss is lowest.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.training.schedules import make_optimizer
from titrant.runtime.training.task import Batch, TrainingTask
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
# Of the smoothed loss, what stays from step to step; the sweep ends where the loss is this many times its best.
_SMOOTHING, _EXPLODED = 0.9, 4.0
# Steps at the beginning whose smoothed loss still says little, and what the loss falls by at least, relative.
_SKIPPED, _LEAST_FALL = 5, 0.01
# The rate of the lowest loss is on the edge: what is taken lies so many times below it, at least.
_BELOW_LOWEST = 10


def find_learning_rate(task: TrainingTask) -> dict[str, Any]:
    """Return the `rates`, the smoothed `loss` at each and the one `chosen`; all that was moved is put back.

    That is the weights, the module's mode, torch's random state on the CPU and the task's generator. Takes up to 100
    steps, each of one batch. Raises StepError X511 where the loss falls nowhere.
    """
    module, mode = task.module, task.module.training
    kept = {name: value.detach().clone() for name, value in module.state_dict().items()}
    order: Any = None if task.generator is None else task.generator.bit_generator.state
    try:
        with torch.random.fork_rng(devices=[]):
            rates, losses = _sweep(task)
    finally:
        if task.generator is not None and order is not None:
            task.generator.bit_generator.state = order
        module.load_state_dict(kept)
        module.train(mode)
        for weight in module.parameters():
            weight.grad = None
    return {"rates": rates, "loss": losses, "chosen": _steepest(rates, losses)}


def _sweep(task: TrainingTask) -> tuple[list[float], list[float]]:
    settings = task.settings
    weights = [weight for weight in task.module.parameters() if weight.requires_grad]
    optimizer = make_optimizer(settings, weights, learning_rate=LOWEST)
    task.module.train()
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for step, (inputs, labels) in zip(range(STEPS), _endless(task), strict=False):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = task.objective(task.call(task.module, inputs), labels, inputs)
        average = _SMOOTHING * average + (1 - _SMOOTHING) * float(loss.detach())
        smoothed = average / (1 - _SMOOTHING ** (step + 1))
        if not math.isfinite(smoothed) or (losses and smoothed > _EXPLODED * min(losses)):
            break
        rates.append(rate)
        losses.append(smoothed)
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(weights, settings.gradient_clip)
        optimizer.step()
    return rates, losses


def _endless(task: TrainingTask) -> Iterator[Batch]:
    """Yield batches, epoch after epoch; nothing where an epoch has none."""
    empty = False
    while not empty:
        empty = True
        for batch in task.train():
            empty = False
            yield batch


def _steepest(rates: list[float], losses: list[float]) -> float:
    seen = losses[_SKIPPED:]
    if len(seen) < 3 or min(seen) > (1 - _LEAST_FALL) * seen[0]:
        fell = f"from {seen[0]:.4g} to {min(seen):.4g}" if seen else "nowhere"
        raise StepError(
            Diagnostic(
                "X511",
                f"between rates of {LOWEST:g} and {rates[-1] if rates else LOWEST:g} the loss falls {fell}",
                help="write train.learning_rate, or look whether labels and inputs belong together",
            )
        )
    lowest = int(np.argmin(seen))
    steepest = int(np.argmin(np.gradient(np.array(seen))[: lowest + 1]))
    return min(rates[_SKIPPED + steepest], rates[_SKIPPED + lowest] / _BELOW_LOWEST)
