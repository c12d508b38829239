"""Watch the gradients of a training: say which layers do not learn, and stop where a gradient is no number."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from titrant.runtime.training.gradient_norms import (
    GradientLimits,
    GradientNorms,
    WatchedGradients,
    advice_on,
    named,
)
from titrant.runtime.training.task import TrainingState, Watcher
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

# Below this scale there is nothing left to lower: what is not finite then comes from no overflow in 16 bits.
_LEAST_SCALE = 1.0


@dataclass
class _LayerSeen:
    """In how many steps a layer's gradient was unhealthy, and its extreme norms."""

    vanishing: int = 0
    exploding: int = 0
    least: float = math.inf
    most: float = 0.0


class GradientWatcher(Watcher):
    """Measures every layer's gradient at each step, tells of a layer once, and keeps what it saw in the curves.

    Raises StepError X536 at the step in which a gradient holds NaN or infinity, before the weights move, and X537
    where the pattern fits no trainable parameter. What a scaler is about to skip is no error.
    """

    def __init__(
        self, limits: GradientLimits, tell: Callable[[str], None], kept: Callable[[], str] | None = None
    ) -> None:
        self._limits = limits
        self._tell = tell
        self._kept = kept  # says where the last good checkpoint is, for the error

    def started(self, state: TrainingState) -> None:
        """Find the parameters."""
        self._watched = WatchedGradients(state.module, self._limits)
        if not len(self._watched):
            message = f"no trainable parameter of the model is named like `{self._limits.pattern}`"
            names = [name for name, weight in state.module.named_parameters() if weight.requires_grad]
            advice = f"train.watch_gradients.pattern goes by names such as {named(names)}"
            raise StepError(Diagnostic("X537", message, help=advice, key="train.watch_gradients.pattern"))
        self._seen: dict[str, _LayerSeen] = {}
        self._largest, self._above, self._warned = 0.0, 0, False

    def after_backward(self, state: TrainingState) -> None:
        """Measure, and count what is unhealthy."""
        norms = self._watched.measure()
        if norms.not_finite:
            if state.scaler is not None and state.scaler.is_enabled() and state.scaler.get_scale() > _LEAST_SCALE:
                return
            raise self._not_finite(state, norms)
        self._largest = max(self._largest, norms.global_norm)
        self._count(state, norms)

    def after_epoch(self, state: TrainingState) -> None:
        """Add the epoch to the curves."""
        gradients = state.course.gradients
        gradients.setdefault("global_norm", []).append(self._largest)
        self._largest = 0.0
        if self._above:
            gradients["above"] = gradients.get("above", 0) + self._above
            self._above = 0
        layers: dict[str, dict[str, Any]] = gradients.setdefault("layers", {}) if self._seen else {}
        for name, seen in self._seen.items():
            before = layers.get(name, {"vanishing": 0, "exploding": 0, "least": math.inf, "most": 0.0})
            layers[name] = {
                "vanishing": before["vanishing"] + seen.vanishing,
                "exploding": before["exploding"] + seen.exploding,
                "least": min(before["least"], seen.least),
                "most": max(before["most"], seen.most),
            }
        self._seen = {}

    def _count(self, state: TrainingState, norms: GradientNorms) -> None:
        above = norms.global_norm > self._limits.global_norm
        if not (above or norms.vanishing or norms.exploding):
            return
        known_before = {*state.course.gradients.get("layers", ()), *self._seen}
        for name in {*norms.vanishing, *norms.exploding}:
            seen, norm = self._seen.setdefault(name, _LayerSeen()), norms.layers[name]
            seen.vanishing += norm < self._limits.vanishing
            seen.exploding += norm > self._limits.exploding
            seen.least, seen.most = min(seen.least, norm), max(seen.most, norm)
        self._above += above
        warned = self._warned or "above" in state.course.gradients
        self._warn(state, norms, known_before, first=above and not warned)
        self._warned = self._warned or above

    def _warn(self, state: TrainingState, norms: GradientNorms, before: set[str], *, first: bool) -> None:
        vanishing = [name for name in norms.vanishing if name not in before]
        exploding = [name for name in norms.exploding if name not in before]
        said = []
        if vanishing:
            said.append(f"the gradient of {named(vanishing)} vanishes ({_extreme(norms, vanishing, min)})")
        if exploding:
            said.append(f"the gradient of {named(exploding)} explodes ({_extreme(norms, exploding, max)})")
        if first:
            said.append(f"the gradients' global norm is {norms.global_norm:.3g}")
        if said:
            settings = state.task.settings
            advice = advice_on(norms, self._limits, clip=settings.gradient_clip, rate=settings.learning_rate)
            self._tell("; ".join([f"training, step {state.step + 1}: {' and '.join(said)}", *advice]))

    def _not_finite(self, state: TrainingState, norms: GradientNorms) -> StepError:
        import torch

        weights = [name for name, weight in state.module.named_parameters() if not bool(torch.isfinite(weight).all())]
        names = norms.not_finite
        kind = "NaN" if any(map(math.isnan, norms.layers.values())) else "infinite"
        message = f"the gradient of {named(names)} is {kind} at step {state.step + 1}, in epoch {state.epoch + 1}"
        if weights:
            message += f"; {named(weights)} was already not finite"
        settings = state.task.settings
        advice = advice_on(norms, self._limits, clip=settings.gradient_clip, rate=settings.learning_rate)
        kept = "" if self._kept is None else self._kept()
        return StepError(Diagnostic("X536", message, help="; ".join([*advice, *filter(None, [kept])])))


def _extreme(norms: GradientNorms, names: list[str], which: Callable[..., str]) -> str:
    name = which(names, key=norms.layers.__getitem__)
    return f"norm {norms.layers[name]:.3g}" + (f" in {name}" if len(names) > 1 else "")
