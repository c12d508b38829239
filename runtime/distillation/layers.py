"""Layers of a student and of its teacher that answer for each other, and how far their answers are apart."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import covers_module

LayerAnswers = dict[str, torch.Tensor]  # by name of the layer, what it answered last
_EVEN = 1e-6


@dataclass(frozen=True)
class LayerPair:
    """A layer of the student and the one of the teacher that it imitates."""

    student: str
    teacher: str


def matching(module: nn.Module, pattern: str) -> tuple[str, ...]:
    """Name the modules that a pattern covers, part by part: `blocks.*` is every block, and nothing inside of one."""
    return tuple(name for name, _ in module.named_modules() if name and covers_module(pattern, name))


def pairs(student: nn.Module, teacher: nn.Module, patterns: Sequence[str]) -> tuple[LayerPair, ...]:
    """Pair the layers that patterns name, of both: by name where the teacher has all of them, else by their order.

    A student of m layers imitates of n layers of the teacher every n/m-th, the last by the last (Jiao et al. 2020).
    Raises StepError X561 for a pattern that one of the two has nothing for, or the student has more of.
    """
    chosen: dict[str, str] = {}
    for pattern in patterns:
        own, others = matching(student, pattern), matching(teacher, pattern)
        if not own or len(own) > len(others):
            message = (
                f"`{pattern}` names {len(own)} layers of the student and {len(others)} of the teacher, and each of the "
                "student's imitates one"
            )
            raise StepError(Diagnostic("X561", message, help="mend the pattern under reduction.distillation.layers"))
        if not {*own} <= {*others}:
            others = tuple(others[(place + 1) * len(others) // len(own) - 1] for place in range(len(own)))
            chosen |= dict(zip(own, others, strict=True))
        else:
            chosen |= {name: name for name in own}
    return tuple(LayerPair(own, other) for own, other in chosen.items())


@contextmanager
def watched(module: nn.Module, names: Sequence[str]) -> Iterator[LayerAnswers]:
    """Keep what the named layers answer last; of torch's attention its map (batch, queries, keys), mean of its heads.

    Raises StepError X562, when it is called, for a layer that answers with no tensor of floating-point numbers.
    """
    seen: LayerAnswers = {}
    hooks: list[Any] = []
    for name in names:
        layer = module.get_submodule(name)
        if isinstance(layer, nn.MultiheadAttention):
            hooks.append(layer.register_forward_pre_hook(_with_map, with_kwargs=True))
        hooks.append(layer.register_forward_hook(_keep(seen, name)))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _with_map(_layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return given, {**named, "need_weights": True, "average_attn_weights": True}


def _keep(seen: LayerAnswers, name: str) -> Any:
    def left(layer: nn.Module, _given: tuple[Any, ...], answer: Any) -> None:
        if isinstance(layer, nn.MultiheadAttention):
            answer = answer[1]
        values = list(answer.values()) if isinstance(answer, Mapping) else answer
        value = next(iter(values), None) if isinstance(values, (tuple, list)) else values
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            message = f"layer {name} answers with {type(value).__name__}, which nothing can be compared with"
            raise StepError(Diagnostic("X562", message, help="name a layer whose answer is a tensor of numbers"))
        seen[name] = value

    return left


class Projection(nn.Module):
    """A linear map of one axis, from the student's width to the teacher's; it is trained beside and thrown away."""

    def __init__(self, axis: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.axis = axis
        self.map = nn.Linear(inputs, outputs, bias=False)

    def forward(self, answer: torch.Tensor) -> torch.Tensor:
        """Map (…, inputs, …) to (…, outputs, …)."""
        mapped: torch.Tensor = self.map(answer.transpose(self.axis, -1))
        return mapped.transpose(self.axis, -1)


def projection(pair: LayerPair, own: torch.Tensor, other: torch.Tensor) -> nn.Module:
    """Return what brings the student's answer to the shape of the teacher's: a projection where one axis differs.

    Raises StepError X562, naming both shapes, where more than one differs.
    """
    apart = [axis for axis, (size, to) in enumerate(zip(own.shape, other.shape, strict=False)) if size != to]
    if own.ndim != other.ndim or len(apart) > 1 or 0 in apart:
        message = (
            f"layer {pair.student} of the student answers {tuple(own.shape)}, and {pair.teacher} of the teacher "
            f"{tuple(other.shape)}: more than their width differs"
        )
        raise StepError(Diagnostic("X562", message, help="name layers that answer alike, but for their width"))
    return Projection(apart[0], own.shape[apart[0]], other.shape[apart[0]]) if apart else nn.Identity()


def distance(own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of two answers, each case's brought to mean 0 and variance 1: 0 to 4."""
    return nn.functional.mse_loss(_standardized(own), _standardized(other))


def _standardized(answer: torch.Tensor) -> torch.Tensor:
    flat = answer.float().flatten(1)
    return (flat - flat.mean(1, keepdim=True)) / (flat.var(1, correction=0, keepdim=True) + _EVEN).sqrt()
