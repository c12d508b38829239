"""SmoothQuant for any network of linear layers: move the range of outlier channels from inputs into weights.

Xiao et al. 2023 (SmoothQuant), eq. 4: with s_j = max|X_j|^α / max|W_j|^(1-α) for each input channel j, X / s and W · s
answer as X and W do, and both have ranges that eight bits hold. 1 / s goes into the layer that makes X.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.call import call, example_arrays, refuse_decisions
from titrant.runtime.backends.torch.determinism import fixed_settings, plain_attention, tensor_of
from titrant.runtime.backends.torch.quantized.linear import check_finite, linear_layers
from titrant.runtime.backends.torch.quantized.readers import SharedInput, shared_inputs
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.catalog import Context
    from titrant.runtime.values import Rows, TorchModel

# Rows of an input that are kept to try values of α on.
SAMPLED = 256
# What `auto` tries; no smoothing at all is the first.
GRID = (0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
# A scale beyond these says that a channel hardly ever carries anything.
LEAST, MOST = 1e-5, 1e5
# The smoothed model answers as the original to rounding: relative to its largest answer.
_TOLERANCE = 1e-4


@dataclass
class ChannelRange:
    """What was seen of a linear layer's inputs: the largest magnitude of each channel, and the first rows."""

    largest: torch.Tensor  # (in_features,)
    sample: torch.Tensor  # (rows, in_features)


@dataclass(frozen=True)
class Smoothed:
    """What became of a model: α by the name of a group's first layer, and for each layer that is left the reason."""

    alphas: Mapping[str, float]
    layers: tuple[str, ...]
    left: Mapping[str, str]


def scales(largest_input: torch.Tensor, largest_weight: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return s (in_features,): max|X_j|^α / max|W_j|^(1-α), and 1 for a channel that carries nothing on either side."""
    idle = (largest_input == 0) | (largest_weight == 0)
    made = largest_input.double().pow(alpha) / largest_weight.double().pow(1 - alpha)
    return torch.where(idle, 1.0, made).clamp(LEAST, MOST).float()


def smooth(
    model: "TorchModel", rows: "Rows", alpha: float | None, most_rows: int, context: "Context"
) -> tuple["TorchModel", Smoothed]:
    """Return a smoothed copy, calibrated on at most `most_rows` rows; `alpha` None finds the best for each group.

    Raises PreconditionError X210 where there is no linear layer in fp32, X206 where the forward takes decisions on
    tensor values, X290 for weights that are not finite, X291 for a model with recurrent state or where no layer can be
    smoothed, StepError X292 where the copy does not answer as the model does.
    """
    if model.recurrence is not None:
        message = "smoothquant does not calibrate a model with recurrent state"
        raise PreconditionError(Diagnostic("X291", message, help="use quantization.method ort.static"))
    layers = linear_layers(model.module)
    if not layers:
        message = "the model has no torch.nn.Linear in fp32 to smooth"
        raise PreconditionError(Diagnostic("X210", message, help="use quantization.method ort.static"))
    check_finite(model.module, [layer.name for layer in layers])
    copied = replace(model, module=copy.deepcopy(model.module).eval())
    with fixed_settings(context.threads, context.seed), plain_attention():
        ranges = _ranges(copied, rows, min(most_rows, len(rows)), context)
        arrays = example_arrays(model, rows, 2)
        refuse_decisions(copied.module, arrays)
        inputs = {name: tensor_of(array, copy=True) for name, array in arrays.items()}
        smoothed = _apply(copied.module, shared_inputs(copied.module, inputs), ranges, alpha)
        if not smoothed.layers:
            why = "; ".join(f"{name}: {reason}" for name, reason in list(smoothed.left.items())[:3])
            message = f"no linear layer of the model can be smoothed ({why})"
            raise PreconditionError(Diagnostic("X291", message, help="use quantization.method ort.static"))
        _check(model, copied, example_arrays(model, rows, min(len(rows), 64)))
    return copied, smoothed


def _ranges(model: "TorchModel", rows: "Rows", count: int, context: "Context") -> dict[str, ChannelRange]:
    """Watch every linear layer answer calibration rows."""
    seen: dict[str, ChannelRange] = {}

    def watch(name: str) -> Any:
        def entered(_layer: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            if not inputs:
                return
            flat = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
            largest = flat.abs().amax(0)
            if name not in seen:
                seen[name] = ChannelRange(largest, flat[:SAMPLED].clone())
                return
            before = seen[name]
            more = flat[: max(0, SAMPLED - len(before.sample))]
            seen[name] = ChannelRange(torch.maximum(before.largest, largest), torch.cat([before.sample, more]))

        return entered

    hooks = [
        layer.register_forward_pre_hook(watch(name))
        for name, layer in model.module.named_modules()
        if type(layer) is torch.nn.Linear
    ]
    try:
        with torch.inference_mode():
            for done, arrays in _batches(model, rows, count):
                call(model.module, arrays)
                context.progress(done, count, "calibrating")
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _batches(model: "TorchModel", rows: "Rows", count: int) -> "Iterator[tuple[int, dict[str, np.ndarray]]]":
    for start in range(0, count, 50):
        end = min(start + 50, count)
        part = replace(
            rows, inputs={name: array[start:end] for name, array in rows.inputs.items()}, ids=rows.ids[start:end]
        )
        yield end, example_arrays(model, part, end - start)


def _apply(
    module: torch.nn.Module, groups: tuple[SharedInput, ...], ranges: Mapping[str, ChannelRange], alpha: float | None
) -> Smoothed:
    """Smooth every group of layers that read one tensor, in place, and say what becomes of all others."""
    own = {layer.name for layer in linear_layers(module) if len(layer.names) == 1 and not layer.left}
    alphas: dict[str, float] = {}
    smoothed: list[str] = []
    left: dict[str, str] = {}
    for group in groups:
        reason = _reason(module, group, own, ranges)
        if reason:
            left |= dict.fromkeys(group.layers, reason)
            continue
        weights: list[torch.Tensor] = [module.get_parameter(f"{name}.weight") for name in group.layers]
        seen = ranges[group.layers[0]]
        chosen = alpha if alpha is not None else _best(seen, weights)
        if chosen is None:
            left |= dict.fromkeys(group.layers, "no α answers more exactly in int8 than none at all")
            continue
        factors = scales(seen.largest, _largest(weights), chosen)
        _into_maker(module.get_submodule(group.maker), factors)
        for weight in weights:
            weight.data.mul_(factors)
        alphas[group.layers[0]] = chosen
        smoothed += group.layers
    never = {layer.name for layer in linear_layers(module)} - {*smoothed, *left}
    return Smoothed(alphas, tuple(smoothed), {**left, **dict.fromkeys(sorted(never), "it is not called as a layer")})


def _reason(module: torch.nn.Module, group: SharedInput, own: set[str], ranges: Mapping[str, ChannelRange]) -> str:
    """Say why a group's scales have nowhere to go; "" where they have."""
    if not group.maker:
        return "no layer norm, RMS norm, batch norm or linear layer makes its input"
    if group.others:
        return f"others read what {group.maker} makes, too"
    if any(name not in own or name not in ranges for name in group.layers):
        return "its weight is shared"
    maker: Any = module.get_submodule(group.maker)
    weight = getattr(maker, "weight", None)
    channels = module.get_submodule(group.layers[0]).in_features
    if weight is None or weight.dtype != torch.float32 or weight.shape[0] != channels:
        return f"{group.maker} has no scale for each channel"
    if type(maker) is torch.nn.Linear:
        return "" if group.maker in own else f"the weight of {group.maker} is shared"
    if type(maker) not in (torch.nn.LayerNorm, torch.nn.RMSNorm, torch.nn.BatchNorm1d):
        return f"{group.maker} is a {type(maker).__name__}"
    held = sum(parameter is weight for other in module.modules() for parameter in other.parameters(recurse=False))
    return "" if weight.ndim == 1 and held == 1 else f"the weight of {group.maker} is shared"


def _largest(weights: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([weight.detach().abs().amax(0) for weight in weights]).amax(0)


def _into_maker(maker: Any, factors: torch.Tensor) -> None:
    """Divide what a layer makes by a scale for each channel."""
    maker.weight.data.div_(factors.unsqueeze(1) if type(maker) is torch.nn.Linear else factors)
    if getattr(maker, "bias", None) is not None:
        maker.bias.data.div_(factors)


def _best(seen: ChannelRange, weights: list[torch.Tensor]) -> float | None:
    """Return the α whose int8 products are nearest to those in fp32, on the sample; None where none helps."""
    stacked = torch.cat([weight.detach() for weight in weights])
    expected = seen.sample @ stacked.T

    def error(factors: torch.Tensor) -> float:
        return float((_int8(seen.sample / factors) @ _int8_rows(stacked * factors).T - expected).square().mean())

    errors: dict[float | None, float] = {None: error(torch.ones_like(seen.largest))}
    errors |= {alpha: error(scales(seen.largest, _largest(weights), alpha)) for alpha in GRID}
    return min(errors, key=lambda alpha: errors[alpha])


def _int8(values: torch.Tensor) -> torch.Tensor:
    """Round to 256 steps of one range, which holds zero."""
    low, high = values.amin().clamp(max=0), values.amax().clamp(min=0)
    step = ((high - low) / 255).clamp(min=1e-30)
    return (((values - low) / step).round().clamp(0, 255)) * step + low


def _int8_rows(weight: torch.Tensor) -> torch.Tensor:
    """Round each row to steps of its own, alike on both sides of zero."""
    step = (weight.abs().amax(1, keepdim=True) / 127).clamp(min=1e-30)
    return (weight / step).round().clamp(-127, 127) * step


def _check(model: "TorchModel", made: "TorchModel", arrays: "Mapping[str, np.ndarray]") -> None:
    """Raise StepError X292 where the smoothed model answers otherwise than the original beyond rounding."""
    from torch.utils._pytree import tree_leaves

    with torch.inference_mode():
        expected, got = (tree_leaves(call(item.module.eval(), arrays)) for item in (model, made))
    for before, after in zip(expected, got, strict=True):
        if isinstance(before, torch.Tensor) and before.is_floating_point() and before.numel():
            error = float((after - before).abs().max() / before.abs().max().clamp(min=1e-30))
            if not error <= _TOLERANCE:
                message = (
                    f"the smoothed model answers otherwise than the original: by {error:.2g} of its largest answer"
                )
                raise StepError(Diagnostic("X292", message, help="use quantization.method ort.static"))
