"""Take a few steps before a training: what its precision and a layout gain, what recomputing and the disk cost."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253

from titrant.runtime.backends.torch.determinism import lay_out
from titrant.runtime.training.loop import offloading
from titrant.runtime.training.memory.activation_memory import (
    measured_step,
    predicted_offload,
    predicted_savings,
    untouched,
)
from titrant.runtime.training.memory.recompute import apply_gradient_checkpointing
from titrant.runtime.training.precision import arithmetic
from titrant.runtime.training.task import Batch, TrainingTask
from titrant.schema.values.layout import CHANNELS_LAST

MeasureFunction = Callable[[str, float, str], None]
# Turns in which two precisions are timed, one after the other.
_TURNS = 5


def trial_steps(task: TrainingTask, batch: Batch, measure: MeasureFunction, *, channels_last: bool = False) -> None:
    """Measure what the settings of a training do to a step with one batch; nothing where they are the usual ones.

    Weights, gradients, buffers and random states stay as they were. The names: step_seconds_fp32 and step_seconds (a
    forward and a backward pass in fp32 and in the precision that is asked for) and precision_speedup, their quotient;
    activation_bytes_all and activation_bytes (the peaks without and with recomputing), each with _predicted, and
    recompute_seconds (what a step takes longer) with _predicted; offload_all_bytes_predicted and offload_peak_bytes
    (the peaks with all in memory, which need not fit, and with the disk), offload_disk_bytes (what a step keeps there),
    the two with _predicted, and offload_seconds (of a step's writing and reading). Of a module that lies
    `channels_last` layout_seconds and layout_bytes (of a step, and the peak of its activations), the two with
    _contiguous as well, and layout_speedup.
    """
    settings = task.settings
    offloads = settings.offload_above_bytes is not None
    usual = settings.precision == "fp32" and not settings.gradient_checkpointing and not offloads
    if usual and not channels_last:
        return
    mode = task.module.training
    task.module.train()
    try:
        if settings.gradient_checkpointing:
            _recomputing(task, batch, measure)
        if offloads:
            _offloading(task, batch, measure)
        if settings.precision != "fp32":
            _precision(task, batch, measure)
        if channels_last:
            _layout(task, batch, measure)
    finally:
        task.module.train(mode)


def _recomputing(task: TrainingTask, batch: Batch, measure: MeasureFunction) -> None:
    model, ratio = task.module, task.settings.gradient_checkpointing

    predicted = predicted_savings(model, _step(task, batch), batch, ratio, task.settings.offload_above_bytes)
    with offloading(task) as (offloaded, _):
        before = measured_step(model, _step(offloaded, batch), batch)
        with _recomputed(model, ratio):
            after = measured_step(model, _step(offloaded, batch), batch)
    measure("activation_bytes_all_predicted", predicted.peak_bytes_before, "B")
    measure("activation_bytes_all", before.peak_bytes, "B")
    measure("activation_bytes_predicted", predicted.peak_bytes, "B")
    measure("activation_bytes", after.peak_bytes, "B")
    measure("recompute_seconds_predicted", predicted.seconds_lost, "s")
    measure("recompute_seconds", after.seconds - before.seconds, "s")


def _offloading(task: TrainingTask, batch: Batch, measure: MeasureFunction) -> None:
    model, ratio, above_bytes = task.module, task.settings.gradient_checkpointing, task.settings.offload_above_bytes
    assert above_bytes is not None
    predicted = predicted_offload(model, _step(task, batch), batch, ratio, above_bytes)
    with offloading(task) as (offloaded, files), _recomputed(model, ratio):
        assert files is not None
        measured = measured_step(model, _step(offloaded, batch), batch)
        measure("offload_all_bytes_predicted", predicted.peak_bytes_before, "B")
        measure("offload_peak_bytes_predicted", predicted.peak_bytes, "B")
        measure("offload_peak_bytes", measured.peak_bytes, "B")
        measure("offload_disk_bytes_predicted", predicted.disk_bytes, "B")
        measure("offload_disk_bytes", files.written_bytes / files.calls, "B")
        measure("offload_seconds", files.seconds / files.calls, "s")


def _step_seconds(
    task: TrainingTask, batch: Batch, ways: Sequence[str], ready: Callable[[str], str]
) -> tuple[float, ...]:
    """Return the median seconds of a step in each of some ways, which take turns.

    `ready` prepares the module for a way, off the clock, and returns the precision of the step.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with untouched(task.module), _recomputed(task.module, task.settings.gradient_checkpointing):
        for turn in range(_TURNS + 1):
            for way, timed in seconds.items():
                precision = ready(way)
                began = _clock(batch[1].device)
                _loss(task, batch, precision).backward()  # type: ignore[no-untyped-call]
                if turn:  # the first chooses kernels
                    timed.append(_clock(batch[1].device) - began)
    return tuple(map(statistics.median, seconds.values()))


def _precision(task: TrainingTask, batch: Batch, measure: MeasureFunction) -> None:
    plain, chosen = _step_seconds(task, batch, ("fp32", task.settings.precision), str)
    measure("step_seconds_fp32", plain, "s")
    measure("step_seconds", chosen, "s")
    measure("precision_speedup", plain / chosen, "x")


def _layout(task: TrainingTask, batch: Batch, measure: MeasureFunction) -> None:
    model = task.module

    def laid_out(layout: str) -> str:
        model.zero_grad()  # a gradient lies as its weight did
        lay_out(model, channels_last=layout == CHANNELS_LAST)
        return task.settings.precision

    contiguous, chosen = _step_seconds(task, batch, ("contiguous", CHANNELS_LAST), laid_out)
    measure("layout_seconds_contiguous", contiguous, "s")
    measure("layout_seconds", chosen, "s")
    measure("layout_speedup", contiguous / chosen, "x")
    for name, is_last in (("layout_bytes_contiguous", False), ("layout_bytes", True)):
        lay_out(model, channels_last=is_last)
        with _recomputed(model, task.settings.gradient_checkpointing):
            measure(name, measured_step(model, _step(task, batch), batch).peak_bytes, "B")


def _step(task: TrainingTask, batch: Batch) -> Callable[[], torch.Tensor]:
    return lambda: _loss(task, batch, task.settings.precision)


def _loss(task: TrainingTask, batch: Batch, precision: str) -> torch.Tensor:
    inputs, labels = batch
    with arithmetic(precision, labels.device.type):
        output = task.call(task.module, inputs)
    return task.objective(output.float(), labels, inputs)


def _clock(device: torch.device) -> float:
    """Return a time in seconds: of this process on a CPU, whose cores may be shared, once a GPU is done else."""
    if device.type == "cpu":
        return time.process_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def _recomputed(model: nn.Module, ratio: float) -> Iterator[None]:
    apply_gradient_checkpointing(model, ratio)
    try:
        yield
    finally:
        apply_gradient_checkpointing(model, 0)
