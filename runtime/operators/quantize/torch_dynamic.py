"""Quantize linear, recurrent and embedding layers to int8 in torch, with activation scales computed at run time."""

import copy
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import (
    PACKED_CHANNEL_BYTES,
    channels,
    kept_bytes,
    layers_of,
    missing,
    saved_by_int8,
    torchscript_bytes,
)
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import numpy as np
    import torch

    from titrant.runtime.values import Rows, TorchModel, TorchScriptModel

RECURRENT = ("LSTM", "GRU", "LSTMCell", "GRUCell", "RNNCell")
QUANTIZED = ("Linear", *RECURRENT, "Embedding")
# What a row of an embedding adds: its scale and zero point, both in fp32; below so many columns they outweigh the rest.
_ROW_BYTES, _LEAST_COLUMNS = 8, 4
_MATRIX = 2
# What the packed weights of a direction of a recurrent layer take beside them, and of a cell for each row of a matrix.
_PACKED_BYTES, _CELL_ROW_BYTES = 1400, 4

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
    """Need torch and a linear, recurrent or embedding layer: convolutions stay as they are."""
    unmet = missing(hardware, "torch")
    if model is None or any(
        layer.dtype in ("", "float32") and not leaves(layer) for layer in layers_of(model, *QUANTIZED)
    ):
        return unmet
    nothing = "torch.dynamic quantizes linear layers, LSTM, GRU and embeddings only and the model has none in fp32"
    return (*unmet, Unmet(nothing, "use ort.static"))


def leaves(layer: Layer) -> str:
    """Say why a layer of these types keeps its weights in fp32; "" where it does not."""
    if layer.type == "Embedding" and layer.weight_shape[-1:] < (_LEAST_COLUMNS,):
        return f"its rows have fewer than {_LEAST_COLUMNS} numbers, and each gets a scale and a zero point"
    return ""


def predict(
    params: TorchDynamicParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte for each weight of a linear, recurrent or embedding layer and four elsewhere."""
    if model is None:
        return Prediction()
    scales = PACKED_CHANNEL_BYTES * channels(model, "Linear") if params.per_channel else 0
    size = torchscript_bytes(model) - saved_by_int8(model, "Linear", shared=True) + scales
    size += kept_bytes(model, params.leave, "Linear")
    for layer in layers_of(model, *RECURRENT):
        weights, rows, directions = _recurrent_sizes(layer)
        size += directions * _PACKED_BYTES - 3 * weights
        size += 2 * rows * (PACKED_CHANNEL_BYTES * params.per_channel + _CELL_ROW_BYTES * layer.type.endswith("Cell"))
    for layer in layers_of(model, "Embedding"):
        if not leaves(layer):
            size -= 3 * math.prod(layer.weight_shape) - _ROW_BYTES * layer.weight_shape[0]
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _READ_BYTES_PER_SECOND
    peak = 3 * model.weight_bytes + _PACKER_BYTES
    return modelled(hardware, seconds, peak, size)


def _recurrent_sizes(layer: Layer) -> tuple[int, int, int]:
    """Return how many weights a recurrent layer multiplies by, the rows of its matrices in all directions, and those.

    Facts show one matrix, as high as a direction is; how many there are follows from the parameters, as if their inputs
    were as wide as their state. Each row has two biases.
    """
    height, width = layer.weight_shape[-2:] or (0, 0)
    if not height:
        return layer.parameters, 0, 1
    directions = max(1, round(layer.parameters / (height * (2 * width + 2))))
    return layer.parameters - 2 * height * directions, height * directions, directions


@operator(
    "quantize.torch_dynamic",
    version=3,
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
        # Measured with torch 2.13 on one thread, a multilayer perceptron and an LSTM of 160.
        arithmetic=Arithmetic(
            speedups=(
                Speedup(("product",), {1: 4.0, 32: 5.0}, on=("avx512_vnni", "avx_vnni", "amx_int8")),
                Speedup(("product",), {1: 1.2}),
                Speedup(("recurrent",), {1: 0.95, 32: 0.75}),
                Speedup(("gru",), {1: 1.4}),
            ),
            weights=0.25,
        ),
        layers=QUANTIZED,
        named="linear layers, LSTM, GRU, their cells and embeddings",
        leaves=leaves,
    ),
)
def quantize_torch_dynamic(params: TorchDynamicParams, context: Context, *, model: Any, example: Any) -> dict[str, Any]:
    """Quantize linear, recurrent and embedding layers to int8; each batch's activations are quantized as they come.

    Helps when: most of the time goes into large linear layers, LSTM or GRU, or most of the file is an embedding, and
                there is nothing to calibrate with.
    Inputs:     model - on the CPU, with at least one of these layers in fp32; example - rows to trace it with
    Outputs:    model - a TorchScript file with packed int8 weights; all other layers in fp32, torch.nn.RNN and
                EmbeddingBag among them, and what torch has no kernels for: LSTM and GRU without biases or with a
                projection, embeddings with max_norm or looked up by indices of three axes. A head that is tied to an
                embedding is held beside it, each in int8. The measurements quantized_layers and fp32_layers count the
                layers with weights. An answer can depend on who shares the batch
    Fails:      PreconditionError when there is no such layer in fp32, a weight is NaN or infinite, when the machine has
                no int8 kernels for torch, or when the forward takes decisions on tensor values
    Cost:       a copy of the model, five forward passes of two rows
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
    from titrant.runtime.backends.torch.quantized.linear import check_finite, weighted
    from titrant.runtime.backends.torch.script import TRACED_ROWS, save_script, traced
    from titrant.runtime.operators.model.fold import with_plain_weights

    model = with_plain_weights(model)
    # A module that is one layer cannot have itself replaced in itself.
    alone = type(model.module).__name__ in QUANTIZED
    module = torch.nn.Sequential(model.module) if alone else model.module
    arrays = example_arrays(model, example, TRACED_ROWS)
    axes = _operand_axes(module, arrays)
    linear = (name for name in linear_layers(module) if name in axes)
    every = {**dict.fromkeys(linear, "Linear"), **dict(_others(module, axes))}
    layers = {name: kind for name, kind in every.items() if name not in params.leave}
    if not layers:
        raise PreconditionError(
            Diagnostic(
                "X210",
                "the model has no linear, recurrent or embedding layer in fp32 that torch has int8 kernels for; "
                "convolutions stay as they are",
                help="use quantization.method ort.static",
            )
        )
    check_finite(module, layers)
    _choose_kernels()
    with fixed_settings(context.threads, context.seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao says on every call that it moves to torchao
        quantized = _quantized(module, layers, params.per_channel)
        script = traced(quantized, model.outputs, arrays)
    left = sum(name not in layers for name in weighted(module))
    return save_script(script, model, context.scratch), len(layers), left


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


def _quantized(module: "torch.nn.Module", layers: Mapping[str, str], per_channel: bool) -> "torch.nn.Module":
    import torch
    from torch.ao import quantization

    rule = quantization.per_channel_dynamic_qconfig if per_channel else quantization.default_dynamic_qconfig
    rules = {
        name: quantization.float_qparams_weight_only_qconfig if kind == "Embedding" else rule
        for name, kind in layers.items()
    }
    result: torch.nn.Module = quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
        copy.deepcopy(module).eval(), rules, dtype=torch.qint8, inplace=True
    )
    return result


def _others(module: "torch.nn.Module", axes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield the recurrent and embedding layers that torch has int8 kernels for, and their types."""
    for name, layer in module.named_modules():
        kind = type(layer).__name__
        own = type(layer).__module__.startswith("torch.nn.") and kind in (*RECURRENT, "Embedding")
        if own and name in axes and _has_kernel(layer, axes[name]):
            yield name, kind


def _has_kernel(layer: Any, axes: int) -> bool:
    """Whether torch computes such a layer in int8: an embedding, looked up by so many axes, or a recurrent one."""
    import torch

    if next(layer.parameters()).dtype != torch.float32:
        return False
    if isinstance(layer, torch.nn.Embedding):
        return layer.max_norm is None and layer.embedding_dim >= _LEAST_COLUMNS and axes <= _MATRIX
    return bool(layer.bias) and not getattr(layer, "proj_size", 0)


def _operand_axes(module: "torch.nn.Module", arrays: "Mapping[str, np.ndarray]") -> dict[str, int]:
    """Return of how many axes the first operand of each layer is that is called, at most; raises X206 as tracing does.

    A layer that is not called, because the forward reads its weights itself, cannot have them packed.
    """
    from titrant.runtime.backends.torch.call import refuse_decisions
    from titrant.runtime.backends.torch.determinism import plain_attention

    axes: dict[str, int] = {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, given, name=name: axes.update({name: max(axes.get(name, 0), given[0].ndim if given else 9)})
        )
        for name, layer in module.named_modules()
        if type(layer).__name__ in QUANTIZED
    ]
    try:
        if hooks:
            with plain_attention():
                refuse_decisions(module.eval(), arrays)
    finally:
        for hook in hooks:
            hook.remove()
    return axes
