"""How long a model takes to answer on an accelerator, from its layers and from the accelerator's own figures."""

import math

from titrant.runtime.layer_work import alike, answer_bytes
from titrant.schema.facts import GpuSpeed, Hardware, Layer, ModelFacts
from titrant.schema.frozen import dataclass

# An accelerator of which nothing is known: a small one. Operations, 16-bit operations and bytes a second.
_FLOPS, _HALF_FLOPS, _BYTES = 5e12, 5e12, 200e9
# What the vendors publish none of: an array that is not pinned, a small operation, a few numbers there and back.
_TRANSFER_BYTES, _LAUNCH_SECONDS, _CALL_SECONDS = 6e9, 6e-6, 60e-6
# Of what large matrix products reach, the share that layers do; of published peaks, the share that such products reach.
_REACHED, _PEAK_SHARE = 0.5, 0.7
# Small operations that a layer is handed over as, each with Python or the interpreter around it.
_LAUNCHES = {"torch": 4.0, "torchscript": 3.0, "onnx": 1.5}
# How often a layer's answer is written or read in the accelerator's memory.
_PASSES = {"torch": 3.0, "torchscript": 2.0, "onnx": 2.0}
# What computes in 16 bits there.
_HALVED = "cast"
_ITEM_BYTES = {"float64": 8, "int64": 8, "int16": 2, "float16": 2, "uint8": 1, "int8": 1, "bool": 1}


@dataclass(frozen=True)
class GpuRates:
    """What an accelerator is taken to do in a second, each figure its own or a small accelerator's."""

    flops: float
    half: float
    bytes: float
    transfer: float
    launch_seconds: float
    call_seconds: float


def gpu_rates(hardware: Hardware, device: str) -> tuple[GpuRates, bool]:
    """Return the rates of an accelerator (cuda, cuda:1, mps), and whether they were measured on it."""
    name = device if ":" in device else f"{device}:0"
    found = hardware.bench.gpus.get(name) if hardware.bench is not None else None
    speed = found or GpuSpeed()
    share = 1.0 if speed.measured else _PEAK_SHARE
    flops = (speed.fp32_flops_per_second or _FLOPS) * share
    # Where the 16-bit figure is not known it is no lower than the 32-bit one.
    half = (speed.half_flops_per_second or speed.fp32_flops_per_second or _HALF_FLOPS) * share
    rates = GpuRates(
        flops=flops,
        half=half,
        bytes=(speed.memory_bytes_per_second or _BYTES) * share,
        transfer=speed.transfer_bytes_per_second or _TRANSFER_BYTES,
        launch_seconds=speed.launch_seconds or _LAUNCH_SECONDS,
        call_seconds=speed.call_seconds or _CALL_SECONDS,
    )
    return rates, speed.measured


def gpu_forward_seconds(model: ModelFacts, rates: GpuRates, kind: str, batch: int, method: str) -> float:
    """Return the seconds of answering one batch: arrays there, every layer, the answer back.

    A layer takes what handing it over, its arithmetic or its memory takes, whichever is longest: they overlap.
    """
    halved = method == _HALVED
    seconds = rates.call_seconds + batch * (case_bytes(model) + answer_bytes(model)) / rates.transfer
    for layer, answer, count in alike(model):
        seconds += count * _layer_seconds(layer, batch * answer, rates, kind, batch, halved)
    return seconds


def _layer_seconds(  # noqa: PLR0917
    layer: Layer, answers: int, rates: GpuRates, kind: str, batch: int, halved: bool
) -> float:
    products = batch * (layer.flops or 0) / ((rates.half if halved else rates.flops) * _REACHED)
    moved = (layer.weight_bytes + answers * _PASSES[kind]) / (2 if halved else 1)
    return max(_LAUNCHES[kind] * rates.launch_seconds, products, moved / rates.bytes)


def case_bytes(model: ModelFacts) -> int:
    """Return the bytes of one case as the model takes it."""
    return sum(
        _ITEM_BYTES.get(spec.dtype, 4) * math.prod(size for size in spec.shape[1:] if isinstance(size, int))
        for spec in model.inputs
    )
