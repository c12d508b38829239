"""Look into a model that runs: whether its numbers are finite, what they look like, and its gradients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titrant.runtime.arrays.libraries import is_array, is_module
from titrant.runtime.arrays.walk import parts
from titrant.runtime.instruments.checks.finite import BrokenArray, FiniteReport, find_broken
from titrant.runtime.instruments.checks.statistics import ArrayStatistics, StatisticsReport, statistics_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

    from titrant.runtime.instruments.checks.watched_model import FiniteWatch
    from titrant.runtime.training.task import Watcher

__all__ = [
    "ArrayStatistics",
    "BrokenArray",
    "FiniteReport",
    "GradientReport",
    "StatisticsReport",
    "check_finite",
    "gradients",
    "statistics",
    "watch_finite",
    "watch_gradients",
]


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
    (10). Raises ValueError for another limit, for one that is not above 0, for a pattern that fits no trainable
    parameter, where none has a gradient yet, and for what is no torch module.
    """
    from titrant.runtime.training.gradient_norms import GradientLimits, WatchedGradients, advice_on, applied_scale

    if not callable(getattr(model, "named_parameters", None)):
        raise ValueError(f"a {type(model).__name__} has no gradients to measure: give a torch.nn.Module")
    watched = WatchedGradients(model, GradientLimits(pattern, **_checked(limits)))
    if not len(watched):
        raise ValueError(f"no trainable parameter of the model is named like {pattern!r}")
    if not watched.reached():
        advice = "call backward() on the loss before, and zero_grad() only after"
        raise ValueError(f"no parameter of the model has a gradient: {advice}")
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
    if unknown or not all(isinstance(value, (int, float)) and value > 0 for value in given.values()):
        raise ValueError(f"limits are vanishing, exploding and global_norm, each above 0, not {limits}")
    return given


def check_finite(value: Any, *, name: str = "", infinity: bool = True, raises: bool = True) -> FiniteReport:
    """Look for NaN and infinity in an array, a tree of arrays, or a torch or MLX module, and name each that has any.

    Arrays are those of torch, NumPy and MLX in the containers of `titrant.tree`, and Python's own fractions; a module's
    are its parameters and saved buffers. All are checked together: one call a device and dtype, one transfer a device,
    whatever their number. `name` stands before the names of the arrays (`logits`, `teacher`; "value" where a value has
    no other). Infinity is no fault in a buffer, where masks have it, nor anywhere with `infinity=False`.

    Raises StepError X690 that names them; with `raises=False` the report is returned, whatever it says. ValueError for
    what can hold no arrays.
    """
    from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

    report = find_broken(value, _name(value, name), infinity=infinity)
    if raises and not report.ok:
        advice = "titrant.debug.watch_finite(model) stops at the layer where such values begin"
        raise StepError(Diagnostic("X690", f"not finite: {report}", help=advice))
    return report


def statistics(value: Any, *, name: str = "") -> StatisticsReport:
    """Describe the numbers of an array, a tree of arrays, or a module: shape, dtype, mean, deviation, range, NaN.

    Takes what `check_finite` takes; arrays of ints and bools are described too. `report.arrays[name]` has the figures
    of an array, over its finite values (of complex ones their magnitudes), and warnings: NaN, infinity, all 0,
    constant, mostly 0, subnormal, beyond float16, one value far from all others. Read piece by piece, with one
    transfer a device.
    """
    return statistics_of(value, _name(value, name))


def _name(value: Any, name: str) -> str:
    """Return what arrays are called by; ValueError for what can hold none."""
    if is_module(value):
        return name
    if not is_array(value) and parts(value) is None and not isinstance(value, (int, float, complex, type(None))):
        what = f"a {type(value).__name__} holds no arrays that can be looked at"
        raise ValueError(f"{what}: give an array, a dict, list, tuple or dataclass of arrays, or a module")
    return name or "value"


def watch_finite(model: "torch.nn.Module", *, infinity: bool = True) -> "AbstractContextManager[FiniteWatch]":
    """Watch a running torch module, and stop at the first layer that gives NaN or infinity::

        with titrant.debug.watch_finite(model):
            loss = criterion(model(inputs), labels)

    Inside, StepError X690 says that the model was given such values, and X691 which layer gave them, of which inputs,
    and whether its own weights are broken; what follows it does not run. Infinity is no fault with `infinity=False`, as
    for a model that adds up masks. Each layer that has answered is waited for; the hooks are gone at the end.

    Raises ValueError for TorchScript, a compiled module and what is no torch module: their layers run without hooks.
    """
    from titrant.runtime.instruments.checks.watched_model import watched

    return watched(model, infinity=infinity)
