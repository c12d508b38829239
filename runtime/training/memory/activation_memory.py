"""What recomputing layers saves of a training step's peak memory and costs of its time: predicted, and measured."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253
from torch.multiprocessing.reductions import StorageWeakRef  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253

from titrant.runtime.seed import another_seed
from titrant.runtime.training.memory.offload import goes_to_disk
from titrant.runtime.training.memory.recompute import (
    CheckpointedLayer,
    chosen_layers,
    layers_of,
    tensors_of,
    without_recomputing,
)

# Gradients that are alive at once where an activation is used: of it, and of what was made of it.
_TRANSIENT = 2
# Of what is on the disk, what is in memory as well: a block's input and what is made of it, or what is read back.
_PASSING = 2
# Of a forward pass with gradients, all of training: once more backward costs twice as much.
_STEP_PASSES = 3


@dataclass(frozen=True)
class MemorySavings:
    """What recomputing `layers` does to a training step with these inputs, as predicted from forward passes.

    Peaks are of activations and their gradients: without weights, their gradients, optimizer states and inputs.
    """

    layers: tuple[str, ...]
    peak_bytes_before: int
    peak_bytes: int
    seconds_before: float  # of a step
    seconds_lost: float

    @property
    def saved_bytes(self) -> int:
        """The bytes by which the peak falls; never below 0."""
        return max(0, self.peak_bytes_before - self.peak_bytes)

    @property
    def saved(self) -> float:
        """The share of the peak that is saved, 0..1."""
        return self.saved_bytes / self.peak_bytes_before if self.peak_bytes_before else 0.0


@dataclass(frozen=True)
class OffloadPrediction:
    """What keeping activations on the disk does to a step, as predicted: peaks as in `MemorySavings`."""

    peak_bytes_before: int
    peak_bytes: int
    disk_bytes: int  # written in a step, and read


@dataclass(frozen=True)
class MeasuredStep:
    """What one forward and backward pass took: `peak_bytes` as in `MemorySavings`, and seconds."""

    peak_bytes: int
    seconds: float


def estimate_memory_savings(model: nn.Module, inputs: Any, ratio: float = 0.5) -> MemorySavings:
    """Predict what `apply_gradient_checkpointing(model, ratio)` saves and costs in a step with these inputs.

    `inputs` is a whole batch: a tensor, a tuple of arguments or a mapping of keyword arguments. Runs three forward
    passes that keep no activations, so that a model can be asked that does not fit; buffers and random states are put
    back. Every storage that autograd would keep counts once. Raises ValueError for a ratio outside of 0..1.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"a ratio of the layers is a number from 0 to 1, not {ratio!r}")
    return predicted_savings(model, lambda: _call(model, inputs), inputs, ratio)


def predicted_savings(
    model: nn.Module, run: Callable[[], Any], inputs: Any, ratio: float, above_bytes: int | None = None
) -> MemorySavings:
    """Predict as `estimate_memory_savings` does, where `run` makes a forward pass with these inputs.

    Beyond `above_bytes` what is kept lies on the disk, both before and after.
    """
    forward = _observed(model, run, inputs)
    chosen = forward.layers[: chosen_layers(len(forward.layers), ratio)]
    names = tuple(layer.name for layer in chosen)
    return MemorySavings(
        layers=names,
        peak_bytes_before=forward.peak((), above_bytes)[0],
        peak_bytes=forward.peak(names, above_bytes)[0],
        seconds_before=_STEP_PASSES * forward.seconds,
        seconds_lost=sum(forward.seconds_of.get(name, 0.0) for name in names),
    )


def predicted_offload(
    model: nn.Module, run: Callable[[], Any], inputs: Any, ratio: float, above_bytes: int
) -> OffloadPrediction:
    """Predict a step in which what is kept beyond `above_bytes` lies on the disk, and that with all in memory.

    Of both, a share `ratio` of the layers is computed again.
    """
    forward = _observed(model, run, inputs)
    names = tuple(layer.name for layer in forward.layers[: chosen_layers(len(forward.layers), ratio)])
    return OffloadPrediction(forward.peak(names)[0], *forward.peak(names, above_bytes))


def measure_activation_memory(model: nn.Module, inputs: Any) -> MeasuredStep:
    """Run one forward and backward pass of the model as it is, and return its peak of activation bytes and seconds.

    Counts the storages that exist at once, beside weights, their gradients and the inputs; scratch memory inside of
    kernels is not seen. Gradients, buffers and random states are put back. The seconds are the fewer of two passes that
    count nothing.
    """
    return measured_step(model, lambda: _call(model, inputs), inputs)


def measured_step(model: nn.Module, run: Callable[[], Any], inputs: Any) -> MeasuredStep:
    """Measure as `measure_activation_memory` does, where `run` makes a forward pass with these inputs."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    with untouched(model):
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        held = [*model.parameters(), *model.buffers(), *tensors_of(inputs)]
        counter = _LiveBytes([*held, *(weight.grad for weight in weights if weight.grad is not None)])
        with counter:
            _step(run)
        seconds = min(_step(run) for _ in range(2))
    return MeasuredStep(counter.peak_bytes, seconds)


@dataclass
class _Forward:
    """A forward pass: the storages that autograd would keep in their order, and what each layer is given and takes."""

    layers: list[CheckpointedLayer]
    # The layer ("" for none) that a storage is first kept in, and its bytes.
    kept: list[tuple[str, int, int]] = field(default_factory=list)  # layer, key of the storage, bytes
    given: dict[str, dict[int, int]] = field(default_factory=dict)  # layer → storages of its inputs, with bytes
    answers: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    seconds_of: dict[str, float] = field(default_factory=dict)

    def peak(self, recomputed: Sequence[str], above_bytes: int | None = None) -> tuple[int, int]:
        """Return the peak of a step, going through its backward pass from the end, and the bytes on the disk.

        Nothing goes to the disk where `above_bytes` is None.
        """
        there, on_disk, at_layer = 0, 0, dict.fromkeys(recomputed, 0)
        counted: set[int] = set()
        peak = sum(count for key, count in self.answers.items() if key not in {kept for _, kept, _ in self.kept})
        inner: dict[str, dict[int, int]] = {name: {} for name in recomputed}
        entered: set[str] = set()
        for layer, key, count in self.kept:
            if layer in inner:
                if layer not in entered:
                    entered.add(layer)
                    given = {key: size for key, size in self.given.get(layer, {}).items() if key not in counted}
                    counted |= given.keys()
                    read_back = 0
                    for size in given.values():
                        away = above_bytes is not None and goes_to_disk(there, size, above_bytes)
                        there, on_disk = there + size * (not away), on_disk + size * away
                        read_back += size * away
                    at_layer[layer] = there + read_back
                inner[layer].setdefault(key, 0 if key in counted else count)
                alive = at_layer[layer] + sum(inner[layer].values())
            else:
                size = 0 if key in counted else count
                away = above_bytes is not None and goes_to_disk(there, size, above_bytes)
                there, on_disk = there + size * (not away), on_disk + size * away
                counted.add(key)
                alive = there + _PASSING * size * away
            # What is kept up to here, when the backward pass has come here, and two gradients of the same size.
            peak = max(peak, alive + _TRANSIENT * count)
        return peak, on_disk


def _observed(model: nn.Module, run: Callable[[], Any], inputs: Any) -> _Forward:
    """Run the model forward: once to see what is kept, which also warms up, and twice to time it."""
    forward = _Forward(layers_of(model))
    with untouched(model), without_recomputing(model), torch.enable_grad():
        observer = _Observer(forward, [*model.parameters(), *model.buffers(), *tensors_of(inputs)])
        with observer, torch.autograd.graph.saved_tensors_hooks(observer.keep, _nothing_kept):
            forward.answers = observer.sizes(run())
        timed = [_timed(run, forward.layers) for _ in range(2)]
    forward.seconds, forward.seconds_of = min(timed, key=lambda passed: passed[0])
    return forward


class _Observer:
    """Notes what autograd would keep, while a model answers."""

    def __init__(self, forward: _Forward, held: Sequence[torch.Tensor]) -> None:
        self.forward = forward
        self.held = {_key(tensor) for tensor in held}
        self.refs: list[StorageWeakRef] = []  # while they live, no other storage gets their key
        self.inside = [""]
        self.hooks: list[Any] = []

    def sizes(self, values: Any) -> dict[int, int]:
        """Return the bytes of the storages in nested values, by key, without those that are held anyway."""
        storages = [tensor.untyped_storage() for tensor in tensors_of(values) if _key(tensor) not in self.held]
        self.refs += map(StorageWeakRef, storages)
        return {storage._cdata: storage.nbytes() for storage in storages}

    def keep(self, tensor: torch.Tensor) -> None:
        """Note a tensor that autograd asks to keep, and let it go."""
        self.forward.kept += [(self.inside[-1], *entry) for entry in self.sizes(tensor).items()]

    def __enter__(self) -> None:
        for layer in self.forward.layers:
            first, last = layer.ends
            self.hooks.append(first.register_forward_pre_hook(partial(self._enter, layer.name), with_kwargs=True))
            self.hooks.append(last.register_forward_hook(self._leave))

    def _enter(self, name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.forward.given.setdefault(name, {}).update(self.sizes((args, kwargs)))
        self.inside.append(name)

    def _leave(self, *_: Any) -> None:
        self.inside.pop()

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()


def _timed(run: Callable[[], Any], layers: Sequence[CheckpointedLayer]) -> tuple[float, dict[str, float]]:
    """Return the seconds of a forward pass that keeps no activations, and those of each layer in it."""
    seconds, began = dict.fromkeys((layer.name for layer in layers), 0.0), time.perf_counter()

    def start(name: str, *_: Any) -> None:
        seconds[name] -= time.perf_counter()

    def stop(name: str, *_: Any) -> None:
        seconds[name] += time.perf_counter()

    hooks: list[Any] = []
    for layer in layers:
        first, last = layer.ends
        hooks.append(first.register_forward_pre_hook(partial(start, layer.name)))
        hooks.append(last.register_forward_hook(partial(stop, layer.name)))
    with torch.autograd.graph.saved_tensors_hooks(lambda _: None, _nothing_kept):
        run()
    total = time.perf_counter() - began
    for hook in hooks:
        hook.remove()
    return total, seconds


def _nothing_kept(_: Any) -> torch.Tensor:
    raise RuntimeError("no backward pass follows a forward pass that is only observed")


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, while they are alive, apart from those that are given."""

    def __init__(self, held: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.held = {_key(tensor) for tensor in held}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        for tensor in tensors_of(answer):
            key = _key(tensor)
            if key not in self.held and key not in self.alive:
                self.alive[key] = StorageWeakRef(tensor.untyped_storage()), tensor.untyped_storage().nbytes()
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        self.peak_bytes = max(self.peak_bytes, sum(count for _, count in self.alive.values()))
        return answer


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _call(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


def _step(run: Callable[[], Any]) -> float:
    """Run both passes and return the seconds that they took."""
    began = time.perf_counter()
    answers = [tensor for tensor in tensors_of(run()) if tensor.requires_grad]
    total = torch.stack([answer.float().mean() for answer in answers]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - began


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put gradients, buffers and random states back."""
    gradients = [(weight, weight.grad) for weight in model.parameters()]
    for weight, _ in gradients:
        weight.grad = None
    buffers = [(part, key, value) for part in model.modules() for key, value in part._buffers.items()]
    for part, key, value in buffers:
        part._buffers[key] = None if value is None else value.detach().clone()
    try:
        with another_seed(0):
            yield
    finally:
        for part, key, value in buffers:
            part._buffers[key] = value
        for weight, gradient in gradients:
            weight.grad = gradient
