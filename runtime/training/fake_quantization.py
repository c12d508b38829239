"""Let a network compute with weights and activations rounded as int8 has them, while gradients pass unrounded."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from titrant.runtime.backends.session import check_rows
from titrant.runtime.backends.torch.call import call, example_arrays
from titrant.runtime.method import FakeQuantization
from titrant.runtime.training.task import Batch, TrainingState, Watcher
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError

# Steps between the levels of an activation in 8 bits, and the largest level of those with a sign.
_STEPS, _SIGNED = 255, 127
_CONVOLUTIONS = (nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward)
_NORMALIZATIONS = (nn.BatchNorm1d.forward, nn.SyncBatchNorm.forward)


def fake_quantize_weight(weight: torch.Tensor, formats: FakeQuantization) -> torch.Tensor:
    """Return a weight (out, in, …) rounded to whole multiples of its scale.

    The scale of an output channel, or of the whole weight, is its largest absolute number / `formats.largest_weight`.
    The gradient is that of the rounded weight (straight-through: Jacob et al. 2018, arXiv:1712.05877).
    """
    largest, numbers = formats.largest_weight, weight.detach().float()
    if formats.per_channel:
        scale = _scale(numbers.abs().flatten(1).amax(dim=1), largest)
        zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
        rounded = torch.fake_quantize_per_channel_affine(weight.float(), scale, zeros, 0, -largest, largest)
    else:
        scale = _scale(numbers.abs().amax(), largest)
        rounded = torch.fake_quantize_per_tensor_affine(weight.float(), scale, _whole(0, weight), -largest, largest)
    return rounded.to(weight.dtype)


def fake_quantize_activation(
    values: torch.Tensor, low: torch.Tensor, high: torch.Tensor, formats: FakeQuantization
) -> torch.Tensor:
    """Return activations rounded to 256 levels, of which one is 0; what lies beyond them is cut, and has no gradient.

    `low` and `high` are the smallest and the largest number seen. Levels go from one to the other, or lie evenly about
    0 where activations are `formats.symmetric_activations` and some are negative.
    """
    low, high = low.double().clamp(max=0), high.double().clamp(min=0)  # as the engine's own tools compute scales
    if formats.symmetric_activations and bool(low < 0):
        scale, first = _scale(torch.maximum(-low, high), _SIGNED), _SIGNED - _STEPS
        zero = _whole(0, values)
    else:
        scale, first = _scale(high - low, _STEPS), 0
        zero = (-low / scale).round().to(torch.int32)
    rounded = torch.fake_quantize_per_tensor_affine(values.float(), scale.float(), zero, first, first + _STEPS)
    return rounded.to(values.dtype)


def _scale(width: torch.Tensor, steps: int) -> torch.Tensor:
    scale = width / steps
    return torch.where(scale < torch.finfo(torch.float32).tiny, torch.ones_like(scale), scale)


def _whole(number: int, like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(number, dtype=torch.int32, device=like.device)


class FakeQuantized(Watcher):
    """A module that computes rounded while it is trained.

    As a watcher it finds the ranges anew every `every` steps and at the end of each epoch, before tuning rows judge it,
    and lets batch norms use the means and variances that they have from a share `freeze` of all steps on. Both follow
    from weights and steps, which a checkpoint restores: it holds nothing more.
    """

    def __init__(self, module: nn.Module, answer: Callable[[], None], every: int, freeze: float) -> None:
        self.layers: dict[str, _Rounded] = {}
        self.measuring = False
        self._module, self._answer, self._every, self._freeze = module, answer, every, freeze
        self._state: TrainingState | None = None
        self._measured_at = 0  # the step

    @property
    def frozen(self) -> bool:
        """Whether batch norms are as in the file to come."""
        state = self._state
        return state is not None and state.step >= self._freeze * max(1, state.task.steps)

    def started(self, state: TrainingState) -> None:
        """Follow the count of steps, and see before an epoch whether the weights are those that were measured."""
        self._state, batches = state, state.task.train

        def train() -> Iterable[Batch]:
            if state.step != self._measured_at:  # where an earlier training was
                self.find_ranges()
            return batches()

        state.task = replace(state.task, train=train)

    def after_step(self, state: TrainingState) -> None:
        """Find the ranges of the weights as they are now, where it is time."""
        an_epoch = state.task.steps // state.task.settings.epochs
        if state.step % self._every == 0 or (an_epoch and state.step % an_epoch == 0):
            self.find_ranges()

    def find_ranges(self) -> None:
        """Measure what each layer is given, as the engine will: unrounded, in evaluation mode.

        Raises PreconditionError X618 where it is not finite.
        """
        modes = [(module, module.training) for module in self._module.modules()]
        for layer in self.layers.values():
            layer.seen = None
        self._module.eval()
        self.measuring = True
        try:
            with torch.no_grad():
                self._answer()
        finally:
            self.measuring = False
            for module, mode in modes:
                module.training = mode
        self._measured_at = 0 if self._state is None else self._state.step


class _Rounded:
    """A layer's forward with rounded weights and inputs."""

    def __init__(self, name: str, part: nn.Module, formats: FakeQuantization, whole: FakeQuantized) -> None:
        self.name, self.part, self.formats, self.whole = name, part, formats, whole
        self.seen: tuple[float, float] | None = None  # the smallest and the largest number

    @property
    def reached(self) -> bool:
        """Whether any row that is measured gets here."""
        return self.seen is not None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        layer: Any = self.part
        given = args[0] if args else kwargs["input"]
        if self.whole.measuring:
            self._see(given)
        if self.whole.measuring or self.seen is None:
            return type(layer).forward(layer, given)
        low, high = (torch.tensor(bound, dtype=torch.float64, device=given.device) for bound in self.seen)
        values = fake_quantize_activation(given, low, high, self.formats)
        weight = fake_quantize_weight(layer.weight, self.formats)
        if isinstance(layer, nn.Linear):
            return functional.linear(values, weight, layer.bias)
        return layer._conv_forward(values, weight, layer.bias)

    def _see(self, given: torch.Tensor) -> None:
        if not given.numel():
            return
        low, high = (float(value) for value in given.detach().float().aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            message = f"{self.name} is given numbers that are not finite, and a range of 8 bits has two ends"
            advice = "look at the calibration rows with titrant.debug.check_finite, and at what is before this layer"
            raise PreconditionError(Diagnostic("X618", message, help=advice))
        before = self.seen or (low, high)
        self.seen = min(before[0], low), max(before[1], high)


class _Held:
    """A batch norm's forward that from a step on uses the mean and variance that it has."""

    def __init__(self, part: nn.Module, whole: FakeQuantized) -> None:
        self.part, self.whole = part, whole

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        norm: Any = self.part
        if not self.whole.frozen or norm.running_mean is None:
            return type(norm).forward(norm, *args, **kwargs)
        given = args[0] if args else kwargs["input"]
        mean, variance = norm.running_mean, norm.running_var
        return functional.batch_norm(given, mean, variance, norm.weight, norm.bias, False, 0.0, norm.eps)


def calibration_pass(model: TorchModel, rows: Rows, most: int, at_once: int) -> Callable[[], None]:
    """Return what lets a model answer the first `most` rows, as engines calibrate; StepError X404 without rows."""
    check_rows(rows)
    count = min(len(rows), most)
    parts = [
        replace(rows, inputs={name: array[start:stop] for name, array in rows.inputs.items()}, ids=rows.ids[start:stop])
        for start, stop in ((start, min(start + at_once, count)) for start in range(0, count, at_once))
    ]
    batches = [example_arrays(model, part, len(part)) for part in parts]

    def answer() -> None:
        for arrays in batches:
            call(model.module, arrays)

    return answer


@contextmanager
def fake_quantized(
    module: nn.Module,
    formats: FakeQuantization,
    answer: Callable[[], None],
    *,
    leave: Sequence[str] = (),
    every: int = 100,
    freeze: float = 0.5,
) -> Iterator[FakeQuantized]:
    """Let linear layers and convolutions multiply rounded weights and inputs, for as long as it is entered.

    `answer` lets the module answer the rows by which ranges are found, now and whenever they are found anew. Layers of
    `leave`, by name, stay as they are, and so do those whose class has a forward of its own. A weight is rounded before
    a batch norm is folded into it: with a scale for each channel that comes to the same. The state dict stays as it is.
    Raises PreconditionError X617 where nothing is rounded, X618 where what a layer is given is not finite.
    """
    whole = FakeQuantized(module, answer, every, freeze)
    forwards: list[_Rounded | _Held] = []
    for name, part in list(module.named_modules()):
        forward = None if "forward" in part.__dict__ else type(part).forward
        if forward in _NORMALIZATIONS:
            forwards.append(_Held(part, whole))
        elif (forward is nn.Linear.forward or forward in _CONVOLUTIONS) and name not in leave:
            whole.layers[name] = _Rounded(name, part, formats, whole)
            forwards.append(whole.layers[name])
    try:
        for forward in forwards:
            forward.part.forward = forward
        whole.find_ranges()
        if not any(layer.reached for layer in whole.layers.values()):
            message = f"{type(module).__name__} calls no linear layer and no convolution that could compute rounded"
            advice = "multiply in nn.Linear and nn.Conv modules, or take train.quantization_aware out"
            raise PreconditionError(Diagnostic("X617", message, help=advice))
        yield whole
    finally:
        for forward in forwards:
            forward.part.__dict__.pop("forward", None)
