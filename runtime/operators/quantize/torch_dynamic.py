"""Quantize linear layers to int8 in torch, with activation scales computed at run time."""

import copy
import warnings
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Method, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import (
    PACKED_CHANNEL_BYTES,
    channels,
    layers_of,
    missing,
    saved_by_int8,
    torchscript_bytes,
)
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import torch

    from titrant.runtime.values import Rows, TorchModel, TorchScriptModel

# Kernels for int8, best first: x86 chooses between two libraries by itself.
KERNELS = ("x86", "onednn", "fbgemm", "qnnpack")

# Copying, rewriting and tracing four times: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.06, 0.008
_READ_BYTES_PER_SECOND = 50e6
# What the quantization engine takes when it is first used.
_PACKER_BYTES = 9 << 19


class TorchDynamicParams(Params):
    """How weights are scaled."""

    per_channel: bool = Field(True, description="a scale for each output channel rather than for the whole weight")
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def requires(params: TorchDynamicParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch and a linear layer: convolutions stay as they are."""
    unmet = missing(hardware, "torch")
    if model is None or any(layer.dtype in ("", "float32") for layer in layers_of(model, "Linear")):
        return unmet
    return (
        *unmet,
        Unmet("torch.dynamic quantizes linear layers only and the model has none in fp32", "use ort.static"),
    )


def predict(
    params: TorchDynamicParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte for each weight of a linear layer and four elsewhere."""
    if model is None:
        return Prediction()
    scales = PACKED_CHANNEL_BYTES * channels(model, "Linear") if params.per_channel else 0
    size = torchscript_bytes(model) - saved_by_int8(model, "Linear") + scales
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _READ_BYTES_PER_SECOND
    peak = 3 * model.weight_bytes + _PACKER_BYTES
    return modelled(hardware, seconds, peak, size)


@operator(
    "quantize.torch_dynamic",
    version=2,
    family="quantize",
    params=TorchDynamicParams,
    inputs={"model": "torch", "example": "rows"},
    outputs={"model": "torchscript"},
    requires=requires,
    predict=predict,
    loads=("torch", "torch.ao.quantization", "titrant.runtime.backends.torch.script"),
    libraries=("torch",),
    user_code=True,
    method=Method(
        "torch.dynamic",
        takes="torch",
        engine="torch",
        format="torchscript",
        bits=(8,),
        rank=2,
        dynamic_activations=True,
        devices=("cpu",),
        arithmetic=Arithmetic(products=0.4),
        layers=("Linear",),
        named="linear layers",
    ),
)
def quantize_torch_dynamic(params: TorchDynamicParams, context: Context, *, model: Any, example: Any) -> dict[str, Any]:
    """Quantize the weights of linear layers to int8; each batch's activations are quantized as they come.

    Helps when: most of the time goes into large linear layers and there is nothing to calibrate with.
    Inputs:     model - on the CPU, with at least one torch.nn.Linear in fp32; example - rows to trace it with
    Outputs:    model - a TorchScript file with packed int8 weights; all other layers in fp32. The measurements
                quantized_layers and fp32_layers count the layers with weights. An answer can depend on who shares
                the batch
    Fails:      PreconditionError when there is no linear layer in fp32, when the machine has no int8 kernels for
                torch, or when the forward takes decisions on tensor values
    Cost:       a copy of the model, four forward passes of two rows
    """
    quantized, layers, left = quantize(model, example, params, context)
    context.measure("quantized_layers", layers)
    context.measure("fp32_layers", left)
    return {"model": quantized}


def quantize(
    model: "TorchModel", example: "Rows", params: TorchDynamicParams, context: Context
) -> "tuple[TorchScriptModel, int, int]":
    """Return the written file, how many layers are quantized, and how many with weights are not."""
    import torch

    from titrant.runtime.backends.torch.call import example_arrays
    from titrant.runtime.backends.torch.determinism import fixed_settings
    from titrant.runtime.backends.torch.script import TRACED_ROWS, save_script, traced

    # A module that is one layer cannot have itself replaced in itself.
    module = torch.nn.Sequential(model.module) if type(model.module) is torch.nn.Linear else model.module
    layers = tuple(name for name in linear_layers(module) if name not in params.leave)
    if not layers:
        raise PreconditionError(
            Diagnostic(
                "X210",
                "the model has no torch.nn.Linear in fp32 to quantize; convolutions stay as they are",
                help="use quantization.method ort.static",
            )
        )
    _choose_kernels()
    with fixed_settings(context.threads, context.seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao says on every call that it moves to torchao
        quantized = _quantized(module, layers, params.per_channel)
        script = traced(quantized, model.outputs, example_arrays(model, example, TRACED_ROWS))
    return save_script(script, model, context.scratch), len(layers), _others(module, layers)


def linear_layers(module: "torch.nn.Module") -> tuple[str, ...]:
    """Name the linear layers in fp32 that are called as layers; attention reads its projections' weights itself."""
    import torch

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


def _choose_kernels() -> None:
    import torch

    offered = torch.backends.quantized.supported_engines
    kernels = next((name for name in KERNELS if name in offered), None)
    if kernels is None:
        raise PreconditionError(
            Diagnostic("X213", "torch has no int8 kernels on this machine", help="use quantization.method ort.static")
        )
    if torch.backends.quantized.engine != kernels:
        torch.backends.quantized.engine = kernels


def _quantized(module: "torch.nn.Module", layers: tuple[str, ...], per_channel: bool) -> "torch.nn.Module":
    import torch
    from torch.ao import quantization

    rule = quantization.per_channel_dynamic_qconfig if per_channel else quantization.default_dynamic_qconfig
    result: torch.nn.Module = quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
        copy.deepcopy(module).eval(), dict.fromkeys(layers, rule), dtype=torch.qint8, inplace=True
    )
    return result


def _others(module: "torch.nn.Module", layers: tuple[str, ...]) -> int:
    import torch

    return sum(
        name not in layers and getattr(layer, "weight", None) is not None and layer.weight.ndim > 1
        for name, layer in module.named_modules()
        if isinstance(getattr(layer, "weight", None), torch.Tensor)
    )
