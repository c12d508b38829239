"""Read the losses of a training back from the device, refuse those that leave all bounds, and say how far it is."""

import math
import time
from collections.abc import Sequence

import torch  # noqa: TID253 - its very subject

from titrant.runtime.training.task import Course, TrainingState, TrainingTask
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.units import format_time

# Steps after which losses are read back from another device than the CPU: each time it must finish its work first.
_READ_EVERY = 32
# A loss that has never been below where it began, and is this many times it, diverges; small losses count as 1.
_DIVERGED = 100
_PROGRESS_SECONDS = 1.0
_BARS, _BARS_SHOWN = "▁▂▃▄▅▆▇█", 12


class EpochLosses:
    """The losses of an epoch, summed over its rows as they are read back from the device."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        place = state.optimizer.param_groups[0]["params"][0].device
        self._read_every = 1 if place.type == "cpu" else _READ_EVERY
        self._first = state.step
        self._unread: list[tuple[int, torch.Tensor, int]] = []
        self._total, self._rows = 0.0, 0
        self.batches = 0

    def add(self, loss: torch.Tensor, rows: int) -> None:
        """Note the loss of a batch of the step under way."""
        self._unread.append((self._state.step, loss, rows))
        self.batches += 1

    def check(self) -> None:
        """Read the losses when it is time for it; StepError X205 for one that is not finite."""
        if self._state.step - self._first >= self._read_every - 1:
            self._read()

    def mean(self) -> float:
        """Return the mean loss of a row so far; StepError X205 where it is not finite, or there is no row."""
        self._read()
        if not self._rows:
            raise no_batches("train")
        return self._total / self._rows

    def _read(self) -> None:
        for step, loss, rows in self._unread:
            value = float(loss)
            if self._state.course.first_loss is None:
                self._state.course.first_loss = value
            if not math.isfinite(value):
                raise not_finite(self._state, "loss", value, step)
            self._total += value * rows
            self._rows += rows
        self._unread.clear()
        self._first = self._state.step + 1


def sparkline(values: Sequence[float]) -> str:
    """Draw the last numbers of a curve, the lowest and the highest of them as the lowest and the highest bar."""
    last = values[-_BARS_SHOWN:]
    lowest, span = min(last), max(last) - min(last)
    return "".join(_BARS[round((value - lowest) / span * (len(_BARS) - 1)) if span else 0] for value in last)


class TrainingClock:
    """Says how far a training is and how long it takes at most, about once a second and after each epoch."""

    def __init__(self, task: TrainingTask, course: Course, epoch: int) -> None:
        self._task = task
        self._course = course
        self._first = epoch
        self._began = self._said_at = time.monotonic()

    def due(self) -> bool:
        """Whether somebody should be told."""
        return time.monotonic() - self._said_at >= _PROGRESS_SECONDS

    def tell(self, done: float, note: str) -> None:
        """Tell of so many epochs."""
        self._said_at = time.monotonic()
        epochs = self._task.settings.epochs
        left = (self._said_at - self._began) / (done - self._first) * (epochs - done)
        limit = "at most " if self._task.settings.early_stop else "about "
        tail = f", {limit}{format_time(left)} left" if left >= _PROGRESS_SECONDS else ""
        curve = self._course.tuning_loss or self._course.loss
        drawn = f" {sparkline(curve)}" if len(curve) > 1 else ""
        self._task.progress(done, epochs, note + tail + drawn)


def no_batches(role: str) -> StepError:
    """Say that an epoch has nothing to learn from, or to be judged on."""
    advice = "give batches that can be passed over again: a list, or a DataLoader"
    return StepError(Diagnostic("X512", f"an epoch has no {role} batches", help=advice))


def not_finite(state: TrainingState, name: str, value: float, step: int) -> StepError:
    """Say at which step a loss was not finite, and which line of the recipe may help."""
    return _refused(state, f"the {name} is {value:g} at step {step + 1}")


def _refused(state: TrainingState, what: str) -> StepError:
    settings = state.task.settings
    rate = f"lower train.learning_rate (it is {settings.learning_rate:g})"
    clip = "" if settings.gradient_clip is not None else ", set train.gradient_clip to 1"
    message = f"{what}, in epoch {state.epoch + 1} of {settings.epochs}"
    return StepError(Diagnostic("X205", message, help=f"{rate}{clip}, or standardize the inputs"))


def refuse_diverged(state: TrainingState) -> None:
    """Raise StepError X205 where the loss has never been below where it began and is far above that."""
    course = state.course
    if course.first_loss is not None and min(course.loss) > _DIVERGED * max(course.first_loss, 1.0):
        raise _refused(
            state, f"the loss has risen from {course.first_loss:g} to {course.loss[-1]:g} by step {state.step}"
        )
