"""Find given tensors among those that a module computes, and how its answers change with them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.overrides import TorchFunctionMode  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.arguments import arguments_of
from titrant.runtime.backends.torch.call import named
from titrant.runtime.backends.torch.determinism import tensor_of

# How far apart the numbers of one tensor may lie that two engines compute, relative to the largest.
_APART = 1e-4
# Where channels stand: second in images, last in rows of numbers.
_CHANNELS = (1, -1)


class _Calls(TorchFunctionMode):
    """Hands each floating-point tensor that a function of torch's answers with to `see`, with its place among them."""

    def __init__(self, see: Callable[[int, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._see, self._count = see, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answer = func(*args, **(kwargs or {}))
        if not isinstance(answer, torch.Tensor) or not answer.is_floating_point() or _in_place(func):
            return answer
        self._count += 1
        return self._see(self._count, answer)


def _in_place(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name in ("__get__", "__set__") or (name.endswith("_") and not name.endswith("__"))


def _answer(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Any:
    return arguments_of(module, tuple(tensors)).call(module, list(tensors.values()))


def places(
    module: torch.nn.Module, arrays: Mapping[str, np.ndarray], tensors: Mapping[str, np.ndarray]
) -> dict[str, tuple[int, np.ndarray]]:
    """Return {name: (place, scale)} of the tensors, of one batch, that are among what the module computes.

    What it computes at that place is the tensor times the scale: one for each channel, where a file's channels were
    scaled since, else 1. Where several are alike, such as a view of one, the place is the first. `arrays` are the
    batch, in the order of the module's inputs.
    """
    alike: dict[str, tuple[int, np.ndarray]] = {}
    scaled: dict[str, tuple[int, np.ndarray]] = {}
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, values in tensors.items():
        by_shape.setdefault(values.shape, []).append(name)

    def see(place: int, answer: torch.Tensor) -> torch.Tensor:
        for name in by_shape.get(tuple(answer.shape), ()):
            computed, values = answer.numpy(), tensors[name]
            if name in alike:
                continue
            if _same(computed, values):
                alike[name] = (place, np.ones(1, np.float32))
            elif name not in scaled:
                scales = (_scales(computed, values, axis) for axis in _CHANNELS if values.ndim > 1)
                scale = next((scale for scale in scales if scale is not None), None)
                if scale is not None:
                    scaled[name] = (place, scale)
        return answer

    with torch.inference_mode(), _Calls(see):
        _answer(module, {name: tensor_of(array, copy=True) for name, array in arrays.items()})
    return scaled | alike


def _same(computed: np.ndarray, values: np.ndarray) -> bool:
    return bool(np.allclose(computed, values, rtol=0, atol=_APART * float(np.abs(values).max(initial=0.0))))


def _scales(computed: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray | None:
    """Return by which number for each channel values have to be multiplied, None where no numbers do that."""
    others = tuple(place for place in range(values.ndim) if place != axis % values.ndim)
    squares = np.square(values, dtype=np.float64).sum(axis=others, keepdims=True)
    scale = (values.astype(np.float64) * computed).sum(axis=others, keepdims=True) / np.maximum(squares, 1e-30)
    largest = np.abs(computed).max(axis=others, keepdims=True)
    fits = (np.abs(values * scale - computed) <= _APART * np.maximum(largest, 1e-30)).all() and (scale != 0).all()
    return scale.astype(np.float32) if fits else None


def gradients(
    module: torch.nn.Module,
    arrays: Mapping[str, np.ndarray],
    outputs: tuple[str, ...],
    places: Sequence[int],
    directions: Callable[[Mapping[str, np.ndarray]], Sequence[Mapping[str, np.ndarray]]],
) -> list[dict[int | str, np.ndarray]]:
    """Return, for each direction of the outputs, its gradient by the tensors at some places and by the inputs.

    `directions` are {output: array of its shape}, made of the outputs of this batch. What an output does not depend on
    is left out.
    """
    added: dict[int | str, torch.Tensor] = {}

    def see(place: int, answer: torch.Tensor) -> torch.Tensor:
        if place not in at:
            return answer
        added[place] = torch.zeros_like(answer, requires_grad=True)
        return answer + added[place]

    at = set(places)
    tensors = {name: tensor_of(array, copy=True) for name, array in arrays.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            added[name] = tensor.clone().requires_grad_()
            tensors[name] = added[name]
    with torch.enable_grad(), _Calls(see):
        answers = named(_answer(module, tensors), outputs)
    asked = directions({name: answer.detach().numpy() for name, answer in answers.items()})
    slopes = []
    for direction in asked:
        names = [name for name in direction if answers[name].requires_grad]
        by_tensor = torch.autograd.grad(
            [answers[name] for name in names],
            list(added.values()),
            [torch.from_numpy(np.asarray(direction[name], np.float32)) for name in names],
            retain_graph=True,
            allow_unused=True,
        )
        pairs = zip(added, by_tensor, strict=True)
        slopes.append({name: slope.numpy() for name, slope in pairs if slope is not None})
    return slopes
