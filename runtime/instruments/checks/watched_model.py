"""Watch what the layers of a running torch module give, and stop at the first that gives NaN or infinity."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.instruments.checks.finite import BrokenArray, find_broken
from titrant.runtime.instruments.checks.statistics import ArrayStatistics, statistics_of
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

_SHOWN = 4
# What the module itself is called, which has no name of its own.
WHOLE = "(model)"
# Where such values come from, by what a layer took and holds.
_WEIGHTS = (
    "an earlier step broke them: lower the learning rate, clip the gradients, or go back to an earlier checkpoint"
)
_LARGE = "scale its inputs down, or normalize before it; dividing by 0 and the logarithm of 0 give infinity too"
_SHORT = "scale its inputs down, normalize before it, or compute it in float32"
_INSIDE = "look at its forward for a division by 0, the logarithm or root of a number that is not positive, or an exp"
_PARTS = "its layers are finite: look at what its own forward does between them"


@dataclass(frozen=True)
class BrokenLayer:
    """The first layer that gave NaN or infinity: its name and type, what it gave, and what it took.

    `weights` are its parameters that are broken themselves.
    """

    name: str
    type: str
    outputs: tuple[BrokenArray, ...]
    inputs: Mapping[str, ArrayStatistics]
    weights: tuple[BrokenArray, ...] = ()


@dataclass
class FiniteWatch:
    """What was watched so far: calls of layers, and the layer at which the model stopped, None while all is well."""

    calls: int = 0
    layer: BrokenLayer | None = None
    _handles: list[Any] = field(default_factory=list, repr=False)


@contextmanager
def watched(module: torch.nn.Module, *, infinity: bool) -> Iterator[FiniteWatch]:
    """Judge each layer when it has answered: its outputs together, with one transfer a device.

    Raises ValueError for a module whose layers run where no hook sees them; inside, StepError X690 for inputs of the
    model and X691 for the outputs of a layer that are not finite.
    """
    _refuse_hidden(module)
    watch = FiniteWatch()

    def began(layer: torch.nn.Module, args: Any, kwargs: Any) -> None:
        report = find_broken(_taken(args, kwargs), "input", infinity=infinity)
        if not report.ok:
            message = f"the model was given values that are not finite: {report}"
            raise StepError(Diagnostic("X690", message, help="look at the data: no layer has run yet"))

    def answered(name: str, layer: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        watch.calls += 1
        report = find_broken(output, "output", infinity=infinity)
        if not report.ok:
            weights = find_broken(layer, "").broken
            inputs = statistics_of(_taken(args, kwargs), "input").arrays
            watch.layer = BrokenLayer(name, type(layer).__name__, report.broken, inputs, weights)
            raise StepError(_said(watch.layer, parts=any(True for _ in layer.children())))

    try:
        watch._handles.append(module.register_forward_pre_hook(began, with_kwargs=True))
        for name, layer in module.named_modules():
            watch._handles.append(layer.register_forward_hook(_of(name or WHOLE, answered), with_kwargs=True))
        yield watch
    finally:
        for handle in watch._handles:
            handle.remove()


def _of(name: str, answered: Any) -> Any:
    def hook(layer: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        answered(name, layer, args, kwargs, output)

    return hook


def _refuse_hidden(module: Any) -> None:
    """Raise ValueError for what runs without Python's hooks."""
    if not isinstance(module, torch.nn.Module):
        what = f"a {type(module).__name__} has no hooks"
        raise ValueError(f"{what}: watch a torch.nn.Module, or give what it answers to titrant.debug.check_finite")
    for name, layer in module.named_modules():
        place = f"{name} is" if name else "the model is"
        if isinstance(layer, torch.jit.ScriptModule):
            raise ValueError(f"{place} TorchScript, which runs without hooks: watch the module that it was made from")
        if hasattr(layer, "_orig_mod") or getattr(layer, "_compiled_call_impl", None) is not None:
            raise ValueError(f"{place} compiled, and runs without hooks: watch the module before torch.compile")


def _taken(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a call took: the one argument, or all by place and by name."""
    return args[0] if len(args) == 1 and not kwargs else {**dict(enumerate(args)), **kwargs}


def _said(layer: BrokenLayer, *, parts: bool) -> Diagnostic:
    output = layer.outputs[0]
    held = " and ".join(
        [f"{output.nan:,} NaN"] * bool(output.nan) + [f"{output.infinite:,} infinite"] * bool(output.infinite)
    )
    message = f"{layer.name} ({layer.type}) gave {held} of {output.count:,} values"
    ranges = [_range(name, each) for name, each in list(layer.inputs.items())[:_SHOWN]]
    message += f"; it took {', '.join(ranges)}" if ranges else ""
    if layer.weights:
        message += f"; its own weights are broken: {', '.join(map(str, layer.weights[:_SHOWN]))}"
        return Diagnostic("X691", message, help=_WEIGHTS)
    return Diagnostic("X691", message, help=_advice(layer, parts=parts))


def _advice(layer: BrokenLayer, *, parts: bool) -> str:
    if parts:
        return _PARTS
    if layer.outputs[0].nan and all(each.ok for each in layer.inputs.values()):
        return _INSIDE
    return _SHORT if any(each.dtype == "float16" for each in layer.inputs.values()) else _LARGE


def _range(name: str, each: ArrayStatistics) -> str:
    broken = [f"{each.nan:,} NaN"] * bool(each.nan) + [f"{each.infinite:,} infinite"] * bool(each.infinite)
    span = [] if each.minimum is None else [f"from {each.minimum:.4g} to {each.maximum:.4g}"]
    said = " with ".join([*span, " and ".join(broken)] if broken else span) or "no values"
    return f"{name} {each.dtype} ({', '.join(map(str, each.shape))}) {said}"
