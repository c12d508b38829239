"""Watch a network answer: how strong each layer's inputs are, and how often a filter answers zero after its ReLU."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch.nn import functional, grad  # noqa: TID253
from torch.overrides import TorchFunctionMode  # noqa: TID253

from titrant.runtime.backends.session import check_rows
from titrant.runtime.backends.torch.call import call, example_arrays
from titrant.runtime.backends.torch.determinism import fixed_settings, plain_attention
from titrant.runtime.backends.torch.reduced.masks import CONVOLUTIONS
from titrant.runtime.catalog import Context
from titrant.runtime.mixture.damage import spread
from titrant.runtime.values import Rows, TorchModel

_BATCH = 32
_GRADIENTS: Mapping[int, Callable[..., torch.Tensor]] = {
    1: grad.conv1d_weight,
    2: grad.conv2d_weight,
    3: grad.conv3d_weight,
}
_NORMALIZATIONS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
_RELUS = frozenset({torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, functional.relu, functional.relu6})


def answer(model: TorchModel, rows: Rows, most: int, context: Context) -> None:
    """Let a module answer at most `most` rows, at even distances, in evaluation mode; StepError X404 without rows."""
    check_rows(rows)
    places = spread(len(rows), most)
    with torch.inference_mode(), fixed_settings(context.threads, context.seed), plain_attention():
        for start in range(0, len(places), _BATCH):
            chosen = places[start : start + _BATCH]
            part = replace(
                rows, inputs={name: array[chosen] for name, array in rows.inputs.items()}, ids=rows.ids[chosen]
            )
            call(model.module, example_arrays(model, part, len(chosen)))
            context.progress(start + len(chosen), len(places), "watching")


class InputNorms:
    """Gathers the squares of what linear layers and convolutions are given; use as a context manager."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._squares: dict[str, torch.Tensor] = {}
        self._layers = {
            name: part
            for name, part in module.named_modules()
            if type(part) is torch.nn.Linear or type(part) in CONVOLUTIONS
        }
        self._hooks: list[Any] = []

    def __enter__(self) -> "InputNorms":
        self._hooks = [layer.register_forward_pre_hook(self._noted(name)) for name, layer in self._layers.items()]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def norms(self) -> dict[str, torch.Tensor]:
        """Return the L2 norm of each input by layer: (1, inputs), of a kernel in the shape of its weight."""
        return {name: squares.sqrt() for name, squares in self._squares.items()}

    def _noted(self, name: str) -> Callable[..., None]:
        def note(layer: Any, given: tuple[Any, ...]) -> None:
            squares = given[0].detach().double().square()
            linear = isinstance(layer, torch.nn.Linear)
            summed = squares.reshape(-1, squares.shape[-1]).sum(0)[None] if linear else unfolded_sums(layer, squares)
            self._squares[name] = self._squares.get(name, 0) + summed

        return note


def unfolded_sums(layer: Any, values: torch.Tensor) -> torch.Tensor:
    """Sum over all places what each weight of a convolution is multiplied with, in the shape of its weight.

    That is the gradient of the weight where every output counts 1: no input has to be unfolded. Padding with other
    numbers than zeros is padded first.
    """
    spatial = len(layer.kernel_size)
    batched = values if values.ndim == spatial + 2 else values[None]
    padding: Any = layer.padding
    if isinstance(padding, str) or layer.padding_mode != "zeros":
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        batched = functional.pad(batched, layer._reversed_padding_repeated_twice, mode=mode)
        padding = 0
    size = (layer.groups, layer.in_channels // layer.groups, *layer.kernel_size)
    wide = tuple(padding for _ in range(spatial)) if isinstance(padding, int) else padding
    places = [
        (batched.shape[2 + axis] + 2 * wide[axis] - layer.dilation[axis] * (layer.kernel_size[axis] - 1) - 1)
        // layer.stride[axis]
        + 1
        for axis in range(spatial)
    ]
    ones = batched.new_ones(len(batched), layer.groups, *places)
    summed = _GRADIENTS[spatial](batched, size, ones, layer.stride, wide, layer.dilation, layer.groups)
    return summed.repeat_interleave(layer.out_channels // layer.groups, dim=0)


class ZeroShares(TorchFunctionMode):
    """Counts zeros after the ReLU that a convolution's answer goes through, alone or past its batch normalization.

    Use as a context manager. What is added to another tensor first is no answer of one convolution.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self._module = module
        self._of: dict[int, tuple[str, str, torch.Tensor]] = {}  # tensor → convolution, normalization
        self._zeros: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}
        self.normalizations: dict[str, str] = {}
        self._hooks: list[Any] = []

    def __enter__(self) -> "ZeroShares":
        for name, part in self._module.named_modules():
            if type(part) in CONVOLUTIONS:
                self._hooks.append(part.register_forward_hook(self._made(name)))
            elif type(part) in _NORMALIZATIONS:
                self._hooks.append(part.register_forward_hook(self._normalized(name)))
        self._hooks.append(self._module.register_forward_hook(lambda *_: self._of.clear()))
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def shares(self) -> dict[str, torch.Tensor]:
        """Return by convolution, (filters,): the average percentage of zeros as a share (APoZ, Hu et al. 2016)."""
        return {name: zeros / self._counts[name] for name, zeros in self._zeros.items()}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Count where a ReLU is computed."""
        source = self._of.get(id(args[0])) if func in _RELUS and args else None
        answer = func(*args, **(kwargs or {}))
        if source is not None:
            name, norm, _ = source
            zeros = (answer == 0).transpose(0, 1).flatten(1)
            self._zeros[name] = self._zeros.get(name, 0) + zeros.sum(1).double()
            self._counts[name] = self._counts.get(name, 0) + zeros.shape[1]
            if norm:
                self.normalizations[name] = norm
        return answer

    def _made(self, name: str) -> Callable[..., None]:
        def note(_part: Any, _given: Any, answer: Any) -> None:
            self._of[id(answer)] = (name, "", answer)

        return note

    def _normalized(self, norm: str) -> Callable[..., None]:
        def note(_part: Any, given: tuple[Any, ...], answer: Any) -> None:
            if given and id(given[0]) in self._of:
                self._of[id(answer)] = (self._of[id(given[0])][0], norm, answer)

        return note
