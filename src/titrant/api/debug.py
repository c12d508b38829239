"""Look into a training that runs: the gradients of a live model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from titrant.runtime.training.task import Watcher


@dataclass(frozen=True)
class GradientReport:
    """The gradients of the last backward pass.

    `layers` has the L2 norm of each layer's gradient, its own parameters together, `global_norm` that of all of them.
    `vanishing` and `exploding` are layers beyond the limits, `not_finite` parameters with NaN or infinity. `advice`
    says what helps, by line of a recipe; () where nothing looks wrong. Frozen layers, and those that the pass did not
    reach, are left out.
    """

    layers: Mapping[str, float]
    global_norm: float
    vanishing: tuple[str, ...]
    exploding: tuple[str, ...]
    not_finite: tuple[str, ...]
    advice: tuple[str, ...]


def gradients(
    model: "torch.nn.Module",
    *,
    scaler: Any = None,
    optimizer: "torch.optim.Optimizer | None" = None,
    pattern: str = "*",
    limits: Mapping[str, float] | None = None,
) -> GradientReport:
    """Measure the gradients of a model after `backward()`, and say which vanish, explode or are not finite.

    With a `scaler` scaled gradients are reported as they are without it; nothing is changed, and gradients that it has
    unscaled already count as they are (with several optimizers name the one that is meant). `pattern` picks parameters
    by name (`layer4.*`). `limits` are `vanishing` (1e-8) and `exploding` (1e3), L2 norms of a layer, and `global_norm`
    (10). Raises ValueError for another limit, for one that is not above 0, and for a pattern that fits no trainable
    parameter.
    """
    from titrant.runtime.training.gradient_norms import GradientLimits, WatchedGradients, advice_on, applied_scale

    watched = WatchedGradients(model, GradientLimits(pattern, **_checked(limits)))
    if not len(watched):
        raise ValueError(f"no trainable parameter of the model is named like {pattern!r}")
    norms = watched.measure(applied_scale(scaler, optimizer))
    return GradientReport(
        norms.layers,
        norms.global_norm,
        norms.vanishing,
        norms.exploding,
        norms.not_finite,
        advice_on(norms, watched.limits),
    )


def watch_gradients(
    tell: Callable[[str], None], *, pattern: str = "*", limits: Mapping[str, float] | None = None
) -> "Watcher":
    """Return a watcher for `titrant.train.fit` that tells of each layer once, and stops at NaN and infinity.

    `pattern` and `limits` are those of `gradients`; what was seen is in `curves["gradients"]` of the result. In the
    training it raises StepError X536 for a gradient that is not finite, X537 where the pattern fits no parameter.
    """
    from titrant.runtime.training.gradient_norms import GradientLimits
    from titrant.runtime.training.gradient_watcher import GradientWatcher

    return GradientWatcher(GradientLimits(pattern, **_checked(limits)), tell)


def _checked(limits: Mapping[str, float] | None) -> dict[str, float]:
    given = dict(limits or {})
    unknown = set(given) - {"vanishing", "exploding", "global_norm"}
    if unknown or not all(value > 0 for value in given.values()):
        raise ValueError(f"limits are vanishing, exploding and global_norm, each above 0, not {limits}")
    return given
