"""Train a module: epochs, steps of the optimizer, and the choice of the best weights."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import torch  # noqa: TID253 - its very subject

from titrant.runtime.training.memory.offload import ActivationFiles, activation_files
from titrant.runtime.training.memory.recompute import apply_gradient_checkpointing
from titrant.runtime.training.precision import Scaler, arithmetic
from titrant.runtime.training.progress import EpochLosses, TrainingClock, no_batches, not_finite, refuse_diverged
from titrant.runtime.training.schedules import EACH_EPOCH, EACH_STEP, RateSchedule, make_optimizer, make_schedule
from titrant.runtime.training.task import (
    Batch,
    Course,
    Inputs,
    TaughtInputs,
    TrainingState,
    TrainingTask,
    Watcher,
    ZerosKept,
)
from titrant.runtime.user_code import describe, said_by
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line


def train(task: TrainingTask, watchers: Sequence[Watcher] = ()) -> Course:
    """Train the module in place and return its curves and best weights; the module is left with its last weights.

    Tuning rows are answered in fp32 whatever the precision of the training. Raises StepError X205 when a loss is no
    longer finite or diverges, X511 when no learning rate is found, X520 when no layer can be computed again, X624 when
    the disk does not take activations.
    """
    with offloading(task) as (offloaded, _):
        if not task.settings.gradient_checkpointing:
            return _train(offloaded, watchers)
        apply_gradient_checkpointing(task.module, task.settings.gradient_checkpointing)
        try:
            return _train(offloaded, watchers)
        finally:
            apply_gradient_checkpointing(task.module, 0)


@contextmanager
def offloading(task: TrainingTask) -> Iterator[tuple[TrainingTask, ActivationFiles | None]]:
    """Give the task with its activations on the disk as its settings ask, and their files; the same task without."""
    above_bytes = task.settings.offload_above_bytes
    if above_bytes is None:
        yield task, None
        return
    with activation_files(task.module, above_bytes, task.scratch) as files:

        def call(module: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
            given = (inputs.inputs, inputs.asked) if isinstance(inputs, TaughtInputs) else inputs
            answer: torch.Tensor = files.call(lambda: task.call(module, inputs), module, given)
            return answer

        yield replace(task, call=call), files


def _train(task: TrainingTask, watchers: Sequence[Watcher]) -> Course:
    course = Course()
    if task.settings.find_learning_rate:
        from titrant.runtime.training.rate_sweep import find_learning_rate

        course.sweep = find_learning_rate(task)
        task = replace(task, settings=replace(task.settings, learning_rate=course.sweep["chosen"]))
    settings = task.settings
    weights = [weight for weight in task.module.parameters() if weight.requires_grad]
    optimizer = make_optimizer(settings, weights, learning_rate=settings.learning_rate)
    plateau = max(1, settings.waits // 2)  # earlier than training would stop
    schedule = RateSchedule(settings.schedule, settings.epochs, task.steps, plateau, settings.metric)
    scheduler = make_schedule(schedule, optimizer)
    scaler = Scaler(weights[0].device.type) if settings.precision == "fp16" else None
    state = TrainingState(task, task.module, optimizer, task.generator, course, scheduler, scaler)
    # The zeros are those of the module as it was given, also where a watcher restores what an earlier training was.
    watching = [ZerosKept(), *watchers] if settings.keep_zeros else list(watchers)
    try:
        for watcher in watching:
            watcher.started(state)
        clock = TrainingClock(task, course, state.epoch)
        while state.epoch < settings.epochs and not _waited(state):
            _epoch(state, watching, clock)
    finally:
        for watcher in watching:
            watcher.ended(state)
    course.skipped_steps = 0 if state.scaler is None else state.scaler.skipped_steps
    return course


def _epoch(state: TrainingState, watchers: Sequence[Watcher], clock: TrainingClock) -> None:
    """Learn from every row once and judge the weights on tuning rows."""
    task, course = state.task, state.course
    state.module.train()
    course.loss.append(_learn(state, watchers, clock))
    state.module.eval()
    refuse_diverged(state)
    note = f"loss {course.loss[-1]:.4f}"
    if task.tuning is None:
        course.best_epoch = state.epoch
    else:
        note += _judge(state, task.tuning())
    if task.tuning is not None and (state.epoch == 0 or _better(course, task.settings.metric)):
        course.best_epoch = state.epoch
        course.best_weights = {name: value.detach().clone() for name, value in state.module.state_dict().items()}
    if state.scheduler is not None and task.settings.schedule in EACH_EPOCH:
        watched = course.tuning_accuracy if task.settings.metric == "tuning accuracy" else course.tuning_loss
        state.scheduler.step(*(watched[-1:] if task.settings.schedule == "plateau" else ()))
    state.epoch += 1
    clock.tell(state.epoch, note)
    for watcher in watchers:
        watcher.after_epoch(state)


def _learn(state: TrainingState, watchers: Sequence[Watcher], clock: TrainingClock) -> float:
    """Move the weights batch by batch; return the mean loss of a row."""
    settings = state.task.settings
    weights = [weight for group in state.optimizer.param_groups for weight in group["params"]]
    losses = EpochLosses(state)
    for group in step_groups(state.task.train(), settings.accumulate):
        state.optimizer.zero_grad(set_to_none=True)
        rows = sum(len(labels) for _, labels in group)
        for inputs, labels in group:
            loss = _loss(state, inputs, labels)
            # Each batch counts by its rows, so that the gradient is that of one batch of them all.
            share = loss if len(group) == 1 else loss * (len(labels) / rows)
            (share if state.scaler is None else state.scaler.scale(share)).backward()
            losses.add(loss.detach(), len(labels))
        if state.scaler is not None:
            state.scaler.unscale_(state.optimizer)
        # Gradients of a step that the scaler skips say nothing about the training.
        if state.scaler is None or not state.scaler.overflowed(state.optimizer):
            for watcher in watchers:
                watcher.after_backward(state)
        losses.check()
        if settings.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(weights, settings.gradient_clip)
        if state.scaler is None:
            state.optimizer.step()
        else:
            state.scaler.step(state.optimizer)
            state.scaler.update()
        state.step += 1
        if state.scheduler is not None and settings.schedule in EACH_STEP and state.step <= state.task.steps:
            state.scheduler.step()
        for watcher in watchers:
            watcher.after_step(state)
        if state.task.batches and clock.due():
            done = state.epoch + losses.batches / state.task.batches
            clock.tell(done, f"epoch {state.epoch + 1}, loss {losses.mean():.4f} so far")
    return losses.mean()


def _loss(state: TrainingState, inputs: Inputs, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of a batch; the loss itself is computed in fp32."""
    task = state.task
    if task.settings.precision == "fp32":
        return task.objective(task.call(state.module, inputs), labels, inputs)
    with arithmetic(task.settings.precision, labels.device.type):
        output = task.call(state.module, inputs)
    return task.objective(output.float() if isinstance(output, torch.Tensor) else output, labels, inputs)


def step_groups(batches: Iterable[Batch], size: int) -> Iterator[tuple[Batch, ...]]:
    """Yield the batches whose gradients are added before a step."""
    several = iter(batches)
    while group := tuple(islice(several, size)):
        yield group


def _judge(state: TrainingState, batches: Iterable[Batch]) -> str:
    """Add loss and accuracy on tuning rows to the curves; return them as a note."""
    task, course = state.task, state.course
    total, right, rows = 0.0, 0, 0
    with torch.inference_mode():
        for inputs, labels in batches:
            output = task.call(task.module, inputs)
            total += float(task.objective(output, labels, inputs)) * len(labels)
            right += 0 if task.right is None else task.right(output, labels)
            rows += len(labels)
    if not rows:
        raise no_batches("tuning")
    course.tuning_loss.append(total / rows)
    if not math.isfinite(course.tuning_loss[-1]):
        raise not_finite(state, "tuning loss", course.tuning_loss[-1], state.step - 1)
    if task.right is None:
        return f", tuning loss {course.tuning_loss[-1]:.4f}"
    course.tuning_accuracy.append(right / rows)
    return f", tuning loss {course.tuning_loss[-1]:.4f}, tuning accuracy {course.tuning_accuracy[-1]:.3f}"


def _waited(state: TrainingState) -> bool:
    """Whether the best epoch lies so far back that training stops."""
    settings, course = state.task.settings, state.course
    return settings.early_stop and len(course.loss) - 1 - course.best_epoch >= settings.waits


def _better(course: Course, metric: str) -> bool:
    if metric == "tuning accuracy":
        return course.tuning_accuracy[-1] > course.tuning_accuracy[course.best_epoch]
    return course.tuning_loss[-1] < course.tuning_loss[course.best_epoch]


def training_failed(error: RuntimeError) -> StepError:
    """Return the error of a step: X218 for an operation that does not repeat its result, else X221."""
    text = first_line(error)
    if "deterministic" in text:
        return StepError(
            Diagnostic(
                "X218",
                f"the model uses an operation that does not repeat its result: {text}",
                help="replace the operation, or set reproducibility.deterministic to false",
            )
        )
    advice = "take a step with such a batch outside titrant, and mend the model there"
    return StepError(Diagnostic("X221", f"training failed: {describe(error)}", help=advice, said=said_by(error)))
