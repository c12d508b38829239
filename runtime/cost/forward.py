"""Predict the time and memory of forward passes, on CPU or accelerator, from a model's layers and measured speed.

Without a measurement the figures of a small machine are assumed. Data steps cost what they took at inspection.
"""

import math
from collections.abc import Iterator

from titrant.runtime.backends.model_kind import RunCost
from titrant.schema.cost import FP32, Arithmetic, ModelUse
from titrant.schema.facts import Bench, DataFacts, GpuSpeed, Hardware, Layer, ModelFacts, spec_bytes
from titrant.schema.plan import Prediction
from titrant.schema.values.frozen import dataclass

# A small accelerator, assumed where nothing is known: FLOP/s in fp32, FLOP/s in 16 bits, bytes a second.
_FLOPS, _HALF_FLOPS, _BYTES = 5e12, 5e12, 200e9
# What vendors do not publish: bytes a second from pageable memory, one kernel launch, a few numbers there and back.
_TRANSFER_BYTES, _LAUNCH_SECONDS, _GPU_CALL_SECONDS = 6e9, 6e-6, 60e-6
# The share of large matrix products' FLOP/s that layers reach, and the share of a published peak that such products do.
_GPU_REACHED, _PEAK_SHARE = 0.5, 0.7


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
    recorded = hardware.bench.gpus.get(name) if hardware.bench is not None else None
    speed = recorded or GpuSpeed()
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
        call_seconds=speed.call_seconds or _GPU_CALL_SECONDS,
    )
    return rates, speed.measured


def gpu_forward_seconds(model: ModelFacts, rates: GpuRates, cost: RunCost, batch: int, arithmetic: Arithmetic) -> float:
    """Return the seconds of one batch: inputs to the accelerator, every layer, outputs back.

    A layer takes as long as its launches, its arithmetic or its memory traffic, whichever is longest: they overlap.
    """
    # No bench multiplies whole numbers on an accelerator: they are taken to be as fast as 16 bits.
    halved = arithmetic.half or arithmetic.products > 0
    flops = (rates.half if halved else rates.flops) * _GPU_REACHED
    launching = cost.launches * rates.launch_seconds
    seconds = rates.call_seconds + batch * (model_input_bytes(model) + model_output_bytes(model)) / rates.transfer
    for layer, output, count in distinct_layers(model):
        products = batch * (layer.flops or 0) / flops
        moved = (layer.weight_bytes + batch * output * cost.gpu_passes) / (2 if halved else 1)
        seconds += count * max(launching, products, moved / rates.bytes)
    return seconds


# Where no bench was run: one thread of a small server, fp32 operations a second by its widest instruction set, in the
# products of many rows, and bytes a second. Processors with AMX are clocked lower: fp32 of ResNet-20 and a perceptron
# took 1.6 to 2.1 times what 120e9 says in onnxruntime.
_FLOPS_BY_SET, _LEAST_FLOPS, _DEFAULT_BYTES = {"amx_tile": 90e9, "avx512f": 120e9, "avx2": 60e9}, 40e9, 30e9
# Bytes a second of weights from caches, one thread: 55 to 95 GB/s on processors with AVX-512, weights of 0.5 to 17 MB.
# Products of few rows are no faster than that, whatever is computed.
_CACHE_BYTES = 60e9
# Weights up to this size stay in the caches from one batch to the next.
_CACHED_BYTES = 8 << 20
# What an optimizer takes for each tensor, and how often it reads or writes each weight.
_TENSOR_SECONDS, _UPDATE_PASSES = 80e-6, 8
# A second thread helps this much.
_THREAD_GAIN = 0.75


@dataclass(frozen=True)
class Speed:
    """What one machine does in a second with a number of threads, or its accelerator where `gpu` is given.

    `measured` says that a bench was run on whichever it is.
    """

    flops: float
    int8: float
    bytes: float
    measured: bool
    gpu: GpuRates | None = None
    instructions: tuple[str, ...] = ()

    @property
    def basis(self) -> str:
        """The basis of what follows from it."""
        return "modelled" if self.measured else "guess"


def speed_of(hardware: Hardware, threads: int = 1, device: str = "cpu") -> Speed:
    """Return the speed of a machine or of its accelerator: its bench's, a published one, or else a small one's."""
    bench = hardware.bench or Bench()
    many = 1 + _THREAD_GAIN * (min(threads, hardware.identity.cores or threads) - 1)
    instructions = hardware.identity.instructions
    assumed = next((flops for name, flops in _FLOPS_BY_SET.items() if name in instructions), _LEAST_FLOPS)
    flops = (bench.fp32_flops_per_second or assumed) * many
    int8 = (bench.int8_flops_per_second or 2 * assumed) * many
    bandwidth = bench.memory_bytes_per_second or _DEFAULT_BYTES
    if device == "cpu":
        return Speed(flops, int8, bandwidth, bench.measured, instructions=instructions)
    rates, measured = gpu_rates(hardware, device)
    return Speed(flops, int8, bandwidth, measured, rates)


def basis_of(hardware: Hardware) -> str:
    """Return the basis of what is predicted for a machine: a guess until it was measured."""
    return speed_of(hardware).basis


def forward_seconds(model: ModelFacts, speed: Speed, cost: RunCost, batch: int, arithmetic: Arithmetic = FP32) -> float:
    """Return the seconds of one batch through a model, as its engine runs it."""
    if speed.gpu is not None:
        return gpu_forward_seconds(model, speed.gpu, cost, batch, arithmetic)
    cached = model.weight_bytes <= _CACHED_BYTES
    seconds = cost.call_seconds + work_seconds(model, speed, cost, batch, arithmetic)
    for layer, output, count in distinct_layers(model):
        kind = layer_class(layer)
        if not layer.flops or kind in ("", "embedding"):
            continue  # it is among the operations that multiply by no weights
        rows = product_rows(layer, batch)
        speedup = arithmetic.speedup(kind, rows, speed.instructions)
        rate = _rate(layer, speed, arithmetic) if speedup is None else speed.flops
        # A multiply-add of a row reads four bytes, which the rows of one product share.
        reads = 2 * batch * layer.flops / max(rows, 1) / _CACHE_BYTES
        reached = cost.reached * (cost.depthwise if kind == "depthwise" else 1.0)
        products = max(batch * layer.flops / (rate * reached), reads) / (speedup or 1.0)
        passes, extra, read = cost.passes, 0.0, 1.0
        if speedup is not None:
            passes, extra, read = passes + arithmetic.around, arithmetic.layer_seconds, arithmetic.weights
        each = products if cached else max(products, layer.weight_bytes * read / speed.bytes)
        each += batch * output * passes / speed.bytes + extra
        each += cost.convolution_seconds if is_convolution(layer) else cost.layer_seconds
        if kind == "gru":
            each += layer.flops / (2 * math.prod(layer.weight_shape)) / (speedup or 1.0) * cost.step_seconds
        seconds += count * each
    return seconds


def work_seconds(model: ModelFacts, speed: Speed, cost: RunCost, batch: int, arithmetic: Arithmetic = FP32) -> float:
    """Return the seconds of a batch's operations that multiply by no weights: by their number, bytes and FLOPs."""
    seconds = 0.0
    for kind, work in model.work.items():
        if kind in cost.work_passes:
            moved = batch * (work.read_bytes + work.written_bytes) * cost.work_passes[kind] / speed.bytes
            seconds += work.count * cost.operation_seconds + moved * arithmetic.work
        seconds += batch * work.flops / (speed.flops * cost.reached * cost.batched) * arithmetic.work
    return seconds


def update_seconds(model: ModelFacts, speed: Speed) -> float:
    """Return the seconds of one optimizer step over every weight, and of autograd building its graph."""
    tensors = sum(2 for layer in model.layers if layer.weight_bytes)
    return tensors * _TENSOR_SECONDS + _UPDATE_PASSES * model.weight_bytes / speed.bytes


def opening_seconds(model: ModelFacts, use: ModelUse, cost: RunCost, speed: Speed) -> float:
    """Return what opening a model takes, weights on their way to a device included: nothing for a live module here."""
    placing = 0.0 if speed.gpu is None else model.weight_bytes / speed.gpu.transfer
    layers = cost.open_layer_seconds * len(model.layers)
    return placing + cost.open_seconds + layers + cost.open_byte_seconds * _read_bytes(model, use, cost)


def opened_bytes(model: ModelFacts, use: ModelUse, cost: RunCost) -> int:
    """Return the memory that opening a model takes: the file and the weights as the engine packs them.

    Of weights that are mapped it counts the pages that stay while there is room.
    """
    return cost.open_copies * _read_bytes(model, use, cost) + _mapped_bytes(model, use, cost)


def _read_bytes(model: ModelFacts, use: ModelUse, cost: RunCost) -> int:
    return max(0, (use.bytes or model.weight_bytes) - _mapped_bytes(model, use, cost))


def _mapped_bytes(model: ModelFacts, use: ModelUse, cost: RunCost) -> int:
    return model.apart_bytes if cost.mapped and use.method == ModelUse().method else 0


def held_bytes(model: ModelFacts, use: ModelUse, cost: RunCost, batch: int, *, on_device: bool = False) -> int:
    """Return the bytes of the machine's memory that one batch takes beside the model.

    A device with memory of its own holds the activations itself; only inputs and outputs are left here.
    """
    if on_device:
        return (model_input_bytes(model) + model_output_bytes(model)) * batch
    share = cost.held * (use.arithmetic or FP32).held
    return int((model.activation_bytes or 0) * batch * share)


def fixed_batch(model: ModelFacts) -> int | None:
    """Return the batch size that the model insists on, None where it is free."""
    sizes = [spec.shape[0] for spec in model.inputs if spec.shape]
    return min((size for size in sizes if isinstance(size, int)), default=None)


def modelled(hardware: Hardware, seconds: float, peak_bytes: int, output_bytes: int) -> Prediction:
    """Predict a step on the CPU whose output's size follows from the model, and whose time from the machine's speed."""
    return Prediction(
        seconds=seconds,
        peak_bytes=peak_bytes,
        output_bytes=output_bytes,
        basis=basis_of(hardware),
        bases={"output_bytes": "modelled"},
    )


def _rate(layer: Layer, speed: Speed, arithmetic: Arithmetic) -> float:
    """Return the operations a second of a layer's products: a method may leave all but matrix products alone."""
    share = arithmetic.products if is_product(layer) else arithmetic.others
    return speed.int8 * share if share else speed.flops


_SHAPED = 2
# Torch's and ONNX's recurrent layers: an ONNX file stacks their weights in three dimensions.
RECURRENT = ("LSTM", "GRU", "RNN")


def layers_with_outputs(model: ModelFacts) -> Iterator[tuple[Layer, int]]:
    """List the layers, each with the bytes of its fp32 output for one case.

    The output of a layer with matrix products follows from its FLOPs and its weights; any other layer is assumed to
    write as much as the one before it.
    """
    output = 0
    for layer in model.layers:
        inner = math.prod(layer.weight_shape[1:]) if len(layer.weight_shape) >= _SHAPED else 0
        if inner and layer.flops and not layer.type.startswith(RECURRENT):
            output = 4 * layer.flops // (2 * inner)
        yield layer, output


# A cache of few models, found by identity: hashing ten thousand layers would cost what it saves. It holds the models,
# so that no other can take their place in memory.
_MOST_MODELS = 4
_last: list[tuple[ModelFacts, tuple[tuple[Layer, int, int], ...]]] = []


def distinct_layers(model: ModelFacts) -> tuple[tuple[Layer, int, int], ...]:
    """Return one layer of each kind, the bytes of its output for one case, and how many of them the model has.

    Layers of a kind cost the same. A plan asks dozens of times about one model, which may have ten thousand layers of a
    few kinds.
    """
    counted = next((layers for other, layers in _last if other is model), None)
    if counted is None:
        by_kind: dict[tuple[object, ...], tuple[Layer, int, int]] = {}
        for layer, output in layers_with_outputs(model):
            kind = (layer.type, layer.weight_shape, layer.flops, layer.weight_bytes, layer.groups, output)
            by_kind[kind] = (layer, output, by_kind[kind][2] + 1) if kind in by_kind else (layer, output, 1)
        counted = tuple(by_kind.values())
        _last[:] = [(model, counted), *_last[: _MOST_MODELS - 1]]
    return counted


def layer_output_bytes(model: ModelFacts) -> int:
    """Return the bytes that all layers write for one case, as far as they follow from FLOPs and weights."""
    return sum(size for _, size in layers_with_outputs(model))


def model_input_bytes(model: ModelFacts) -> int:
    """Return the bytes of the model's inputs for one case."""
    return sum(spec_bytes(spec) for spec in model.inputs)


def model_output_bytes(model: ModelFacts) -> int:
    """Return the bytes of the model's outputs for one case, in fp32."""
    return sum(4 * math.prod(size for size in spec.shape[1:] if isinstance(size, int)) for spec in model.outputs)


def is_convolution(layer: Layer) -> bool:
    """Tell a convolution: its type says so, and its weights have more dimensions than a product's."""
    return len(layer.weight_shape) > _SHAPED and "Conv" in layer.type


def is_product(layer: Layer) -> bool:
    """Tell a linear layer or matrix product by its weights; a stack of products has more than two dimensions."""
    if layer.type.startswith(RECURRENT):
        return False
    return len(layer.weight_shape) >= _SHAPED and not is_convolution(layer)


# Layers that look rows up in a table, as torch modules and as ONNX nodes.
_TABLES = ("Embedding", "EmbeddingBag", "Gather")


def layer_class(layer: Layer) -> str:
    """Return one of LAYER_CLASSES, "" for a layer of none: it has no weights, or multiplies nothing by them."""
    if layer.type.startswith(RECURRENT):
        return "recurrent" if layer.type.startswith("LSTM") else "gru"
    if layer.type in _TABLES:
        return "embedding"
    if is_convolution(layer):
        return "depthwise" if layer.groups > 1 and layer.weight_shape[1] == 1 else "convolution"
    return "product" if is_product(layer) else ""


def product_rows(layer: Layer, batch: int) -> float:
    """Return the rows of a layer's product: batch x tokens, of a convolution batch x places.

    The steps of a recurrent layer come one after another, so that its rows are the batch.
    """
    elements = math.prod(layer.weight_shape)
    if not layer.flops or not elements or layer.type.startswith(RECURRENT):
        return float(batch)
    return batch * max(layer.flops / (2 * elements), 1.0)


# Rows of a role where the data is not known.
ASSUMED_ROWS = 1000
# What a step costs that does next to nothing: its folder, its request, its result.
BASE_SECONDS = 0.012


def inspected(data: DataFacts, part: str, otherwise: float) -> tuple[float, str]:
    """Return the seconds of a part of the inspection with their basis, or else a guess."""
    if part in data.seconds:
        return data.seconds[part] * 1.1 + BASE_SECONDS, "modelled"
    return otherwise, "guess"
