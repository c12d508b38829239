"""What torchao's methods need, how large their files become, and how long making one takes."""

from collections.abc import Collection
from dataclasses import replace

from titrant.runtime.cost.sizes import channels, exported_bytes, kept_bytes, layers_of, missing, saved_by_int8
from titrant.schema.cost import Unmet
from titrant.schema.facts import Gpu, Hardware, ModelFacts

LINEAR = "Linear"
# What a quantized layer's graph spends more than the layer's own, and more for each module that it lies in, which every
# node names: three layers of 64 inputs, in none, one and three. A channel's scale and zero point.
LAYER_BYTES, LEVEL_BYTES, CHANNEL_BYTES = 9_850, 825, 5
# With activations a processor without AMX writes out 36,800 a layer, one with it 29,100: between them.
DYNAMIC_LAYER_BYTES, DYNAMIC_LEVEL_BYTES = 33_000, 3_060


# Seconds to quantize and export, at all, and for each layer; with activations, whose operations are written out.
_SECONDS, _LAYER_SECONDS, _DYNAMIC_LAYER_SECONDS = 0.5, 0.12, 1.2
_READ_BYTES_PER_SECOND = 50e6
PEAK_BYTES = 90 << 20
# Seconds of the C++ compiler, at all and for each layer, and the memory that torch takes to write its code.
_COMPILE_SECONDS, _COMPILE_LAYER_SECONDS = 10.0, 0.3
COMPILED_PEAK_BYTES = 250 << 20


def compile_seconds(model: ModelFacts) -> float:
    """Predict how long AOTInductor takes."""
    return _COMPILE_SECONDS + _COMPILE_LAYER_SECONDS * len(model.layers)


def lacking_compiler(hardware: Hardware) -> tuple[Unmet, ...]:
    """Say that there is no C++ compiler, where there is none."""
    if "c++" in hardware.identity.packages:
        return ()
    return (Unmet("AOTInductor needs a C++ compiler, and there is no g++ here", "apt install g++, or set CXX"),)


def seconds_of(model: ModelFacts, *, dynamic: bool = False) -> float:
    """Predict how long quantizing and exporting takes."""
    each = _DYNAMIC_LAYER_SECONDS * len(layers_of(model, LINEAR)) if dynamic else 0.0
    return _SECONDS + _LAYER_SECONDS * len(model.layers) + each + model.weight_bytes / _READ_BYTES_PER_SECOND


def needs(name: str, hardware: Hardware, model: ModelFacts | None, leave: Collection[str] = ()) -> tuple[Unmet, ...]:
    """Name what a method for linear layers in fp32 lacks: torchao, or such a layer."""
    unmet = lacking_torchao(hardware)
    if model is None or any(layer.dtype in ("", "float32") for layer in layers_of(without(model, leave), LINEAR)):
        return unmet
    cause = f"{name} quantizes linear layers only and the model has none in fp32"
    return (*unmet, Unmet(f"{cause} that it may" if leave else cause, "use ort.static"))


def lacking_torchao(hardware: Hardware) -> tuple[Unmet, ...]:
    """Name torch and torchao where they are not installed."""
    unmet = missing(hardware, "torch")
    if "torchao" not in hardware.identity.packages:
        unmet = (*unmet, Unmet("torchao is not installed", "pip install 'titrant[torchao]'"))
    return unmet


def lacking_gpu(hardware: Hardware, least: tuple[int, int], what: str) -> tuple[Unmet, ...]:
    """Say that kernels run on a CUDA device of some compute capability only, where there is none."""
    able = [gpu for gpu in hardware.identity.gpus if gpu.kind == "cuda" and _capability(gpu) >= least]
    if able:
        return ()
    seen = ", ".join(f"{gpu.name} ({gpu.capability})" for gpu in hardware.identity.gpus if gpu.kind == "cuda")
    cause = f"{what} has kernels for CUDA devices of compute capability {least[0]}.{least[1]} and more only"
    return (Unmet(f"{cause}, and here is {seen or 'none'}", "run it on such a machine, with target.device: cuda"),)


def _capability(gpu: Gpu) -> tuple[int, int]:
    major, _, minor = (gpu.capability or "").partition(".")
    return (int(major or 0), int(minor or 0)) if major.isdigit() else (0, 0)


def without(model: ModelFacts, leave: Collection[str]) -> ModelFacts:
    """Return a model's facts without the layers of these names."""
    return replace(model, layers=tuple(layer for layer in model.layers if layer.name not in leave)) if leave else model


def size_of(model: ModelFacts, leave: Collection[str], *, dynamic: bool = False) -> int:
    """Predict the torch.export file of a model whose linear layers have int8 weights, a scale a channel."""
    taken = without(model, leave)
    each, level = (DYNAMIC_LAYER_BYTES, DYNAMIC_LEVEL_BYTES) if dynamic else (LAYER_BYTES, LEVEL_BYTES)
    quantized = [layer for layer in taken.layers if layer.type == LINEAR and layer.has_weights and not layer.unread]
    graph = sum(each + level * layer.name.count(".") for layer in quantized)
    added = graph + CHANNEL_BYTES * channels(taken, LINEAR) + kept_bytes(model, leave, LINEAR)
    # A weight that two layers share is quantized for each.
    return exported_bytes(model) - saved_by_int8(taken, LINEAR, shared=True) + added
