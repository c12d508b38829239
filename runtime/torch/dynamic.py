"""Quantize linear layers to int8 with dynamic activation scales."""

import copy
import warnings

import torch  # noqa: TID253 - its very subject

from titrant.runtime.catalog import Context
from titrant.runtime.torch.examples import example_arrays
from titrant.runtime.torch.script_export import TRACED_ROWS
from titrant.runtime.torch.script_file import save_script
from titrant.runtime.torch.settled import settled
from titrant.runtime.torch.tracing import traced
from titrant.runtime.values import Rows, TorchModel, TorchScriptModel
from titrant.schema.diagnostics import Diagnostic, PreconditionError

# Kernels for int8, best first: x86 chooses between two libraries by itself.
KERNELS = ("x86", "onednn", "fbgemm", "qnnpack")


def quantize(
    model: TorchModel, example: Rows, per_channel: bool, context: Context
) -> tuple[TorchScriptModel, int, int]:
    """Return the written file, how many layers are quantized, and how many with weights are not."""
    # A module that is one layer cannot have itself replaced in itself.
    module = torch.nn.Sequential(model.module) if type(model.module) is torch.nn.Linear else model.module
    layers = linear_layers(module)
    if not layers:
        raise PreconditionError(
            Diagnostic(
                "X210",
                "the model has no torch.nn.Linear in fp32 to quantize; convolutions stay as they are",
                help="use quantization.method ort.static",
            )
        )
    _choose_kernels()
    with settled(context.threads, context.seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao says on every call that it moves to torchao
        quantized = _quantized(module, layers, per_channel)
        script = traced(quantized, model.outputs, example_arrays(model, example, TRACED_ROWS))
    return save_script(script, model, context.scratch), len(layers), _others(module, layers)


def linear_layers(module: torch.nn.Module) -> tuple[str, ...]:
    """Name the linear layers in fp32 that are called as layers; attention reads its projections' weights itself."""
    inside = {
        f"{name}.{child}" if name else child
        for name, layer in module.named_modules()
        if isinstance(layer, torch.nn.MultiheadAttention)
        for child, _ in layer.named_modules()
        if child
    }
    return tuple(
        name
        for name, layer in module.named_modules()
        if type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32 and name not in inside
    )


def _quantized(module: torch.nn.Module, layers: tuple[str, ...], per_channel: bool) -> torch.nn.Module:
    from torch.ao import quantization

    rule = quantization.per_channel_dynamic_qconfig if per_channel else quantization.default_dynamic_qconfig
    result: torch.nn.Module = quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
        copy.deepcopy(module).eval(), dict.fromkeys(layers, rule), dtype=torch.qint8, inplace=True
    )
    return result


def _others(module: torch.nn.Module, layers: tuple[str, ...]) -> int:
    return sum(
        name not in layers and getattr(layer, "weight", None) is not None and layer.weight.ndim > 1
        for name, layer in module.named_modules()
        if isinstance(getattr(layer, "weight", None), torch.Tensor)
    )


def _choose_kernels() -> None:
    offered = torch.backends.quantized.supported_engines
    kernels = next((name for name in KERNELS if name in offered), None)
    if kernels is None:
        raise PreconditionError(
            Diagnostic("X213", "torch has no int8 kernels on this machine", help="use quantization.method ort.static")
        )
    if torch.backends.quantized.engine != kernels:
        torch.backends.quantized.engine = kernels
