"""How long a forward pass takes on an accelerator, from the model's layers and from the accelerator's own figures."""

from titrant.runtime.layer_work import distinct_layers, model_input_bytes, model_output_bytes
from titrant.schema.facts import GpuSpeed, Hardware, ModelFacts
from titrant.schema.frozen import dataclass

# A small accelerator, assumed where nothing is known: FLOP/s in fp32, FLOP/s in 16 bits, bytes a second.
_FLOPS, _HALF_FLOPS, _BYTES = 5e12, 5e12, 200e9
# What vendors do not publish: bytes a second from pageable memory, one kernel launch, a few numbers there and back.
_TRANSFER_BYTES, _LAUNCH_SECONDS, _CALL_SECONDS = 6e9, 6e-6, 60e-6
# The share of large matrix products' FLOP/s that layers reach, and the share of a published peak that such products do.
_REACHED, _PEAK_SHARE = 0.5, 0.7
# Kernels that a layer launches, each with Python or the interpreter around it.
_LAUNCHES = {"torch": 4.0, "torchscript": 3.0, "onnx": 1.5}
# How often a layer's output is written or read in the accelerator's memory.
_PASSES = {"torch": 3.0, "torchscript": 2.0, "onnx": 2.0}
# The method after which layers compute in 16 bits.
_HALF_METHOD = "cast"


@dataclass(frozen=True)
class GpuRates:
    """What an accelerator is assumed to do: FLOP/s, bytes a second and seconds, its own or a small accelerator's."""

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
    # Where the 16-bit figure is not known, it is at least the 32-bit one.
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
    """Return the seconds of one batch: inputs to the accelerator, every layer, outputs back.

    A layer takes as long as its launches, its arithmetic or its memory traffic, whichever is longest: they overlap.
    """
    halved = method == _HALF_METHOD
    flops = (rates.half if halved else rates.flops) * _REACHED
    launching = _LAUNCHES[kind] * rates.launch_seconds
    seconds = rates.call_seconds + batch * (model_input_bytes(model) + model_output_bytes(model)) / rates.transfer
    for layer, output, count in distinct_layers(model):
        products = batch * (layer.flops or 0) / flops
        moved = (layer.weight_bytes + batch * output * _PASSES[kind]) / (2 if halved else 1)
        seconds += count * max(launching, products, moved / rates.bytes)
    return seconds
