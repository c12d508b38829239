"""Measure the gradients of a module layer by layer, and say which of them keep it from learning."""

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.arrays.torch_arrays import norms

# A layer whose gradient has a norm below the first does not move, above the second it jumps; above the third all of
# them together move the weights further than the optimizers' usual step sizes are made for.
VANISHING, EXPLODING, GLOBAL_NORM = 1e-8, 1e3, 10.0
# The global norm to which gradients are mostly clipped.
_CLIP = 1.0
_NAMED = 3


@dataclass(frozen=True)
class GradientLimits:
    """Which parameters are watched, by a pattern of their names, and which L2 norms are unhealthy."""

    pattern: str = "*"
    vanishing: float = VANISHING
    exploding: float = EXPLODING
    global_norm: float = GLOBAL_NORM


@dataclass(frozen=True)
class GradientNorms:
    """The L2 norms of one backward pass: by layer, the layer's own parameters together, and of all of them.

    `vanishing` and `exploding` are layers; `not_finite` are parameters whose gradient holds NaN or infinity. Layers
    that are frozen, or that the pass did not reach, are in none of them.
    """

    layers: Mapping[str, float] = field(default_factory=dict)
    global_norm: float = 0.0
    vanishing: tuple[str, ...] = ()
    exploding: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()


class WatchedGradients:
    """The trainable parameters of a module whose names match a pattern, ready to be measured after each pass."""

    def __init__(self, module: torch.nn.Module, limits: GradientLimits) -> None:
        self.limits = limits
        self._weights = [
            (name, weight)
            for name, weight in module.named_parameters()
            if weight.requires_grad and fnmatch.fnmatchcase(name, limits.pattern)
        ]

    def __len__(self) -> int:
        return len(self._weights)

    def reached(self) -> bool:
        """Whether any of them has a gradient: none has before the first backward pass."""
        return any(weight.grad is not None for _, weight in self._weights)

    def measure(self, scale: float = 1.0) -> GradientNorms:
        """Measure the gradients that are there now, divided by `scale`; one call a device, and one transfer."""
        reached = [(name, weight.grad) for name, weight in self._weights if weight.grad is not None]
        measured = norms([gradient for _, gradient in reached])
        return judged({name: norm / scale for (name, _), norm in zip(reached, measured, strict=True)}, self.limits)


def judged(measured: Mapping[str, float], limits: GradientLimits) -> GradientNorms:
    """Put the norms of parameters together to those of layers, and compare them with the limits."""
    squares: dict[str, float] = {}
    for name, value in measured.items():
        layer = name.rpartition(".")[0] or name
        squares[layer] = squares.get(layer, 0.0) + value * value
    layers = {layer: math.sqrt(square) for layer, square in squares.items()}
    return GradientNorms(
        layers=layers,
        global_norm=math.sqrt(sum(squares.values())),
        vanishing=tuple(layer for layer, norm in layers.items() if norm < limits.vanishing),
        exploding=tuple(layer for layer, norm in layers.items() if norm > limits.exploding),
        not_finite=tuple(name for name, value in measured.items() if not math.isfinite(value)),
    )


def applied_scale(scaler: Any, optimizer: torch.optim.Optimizer | None = None) -> float:
    """Return by how much a scaler has multiplied the gradients that are there: 1 once it has unscaled them.

    Without an optimizer they count as unscaled where those of any optimizer are.
    """
    if scaler is None or not scaler.is_enabled():
        return 1.0
    # torch.amp has no public way to ask whether unscale_ was called since the last update.
    states = getattr(scaler, "_per_optimizer_states", {})
    asked = [states[id(optimizer)]] if optimizer is not None and id(optimizer) in states else list(states.values())
    unscaled = any(getattr(state.get("stage"), "name", "READY") != "READY" for state in asked)
    return 1.0 if unscaled else float(scaler.get_scale())


def advice_on(
    norms: GradientNorms, limits: GradientLimits, *, clip: float | None = None, rate: float | None = None
) -> tuple[str, ...]:
    """Return a sentence for each kind of trouble; `clip` and `rate` are what a recipe has now, where there is one."""
    advice = []
    lower = "lower train.learning_rate" + (f" (it is {rate:g})" if rate is not None else "")
    if norms.not_finite:
        advice.append(f"{lower}, write `train: {{gradient_clip: {_CLIP:g}}}`, or standardize the inputs")
    elif norms.exploding and clip is None:
        advice.append(f"write `train: {{gradient_clip: {_CLIP:g}}}`")
    elif norms.exploding:
        advice.append(f"{lower}: clipping to {clip:g} only shortens the step")
    elif norms.global_norm > limits.global_norm and clip is None:
        advice.append(f"write `train: {{gradient_clip: {_CLIP:g}}}`, or {lower}")
    if norms.vanishing:
        advice.append(f"standardize the inputs (`data: {{transform: [standardize]}}`), or {lower}")
    return tuple(advice)


def named(names: Sequence[str]) -> str:
    """Write the first names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
