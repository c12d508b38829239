"""How long a model takes to answer, and what memory, from its layers and from what this machine was measured to do."""

import math
from collections.abc import Iterator, Mapping

from titrant.schema.facts import Bench, Hardware, Layer, ModelFacts
from titrant.schema.frozen import dataclass
from titrant.schema.work import ModelUse

# Where no bench was run: one thread of a small server, fp32 operations and bytes a second.
_DEFAULT_FLOPS, _DEFAULT_BYTES = 40e9, 8e9
# Of the bench's matrix products, what an engine reaches in its layers; measured with torch 2.13 and onnxruntime 1.31
# on TabularNet, DigitsNet, SmallCnn and ResNet-20, one thread.
_REACHED = {"torch": 0.75, "torchscript": 0.75, "onnx": 1.1}
# What calling a layer costs however small it is, and what answering a batch costs beside its layers.
_LAYER_SECONDS = {"torch": 5e-6, "torchscript": 4e-6, "onnx": 0.5e-6}
_CONVOLUTION_SECONDS = {"torch": 100e-6, "torchscript": 70e-6, "onnx": 2e-6}
_CALL_SECONDS = {"torch": 150e-6, "torchscript": 90e-6, "onnx": 55e-6}
# Torch writes and reads every layer's answer in memory; onnxruntime fuses what comes after a product into it.
_PASSES = {"torch": 3.0, "torchscript": 2.0, "onnx": 0.5}
# Weights up to this size stay in the caches from one batch to the next.
_CACHED_BYTES = 8 << 20
# Of the peak of activations that a module's forward pass has, what an engine holds.
_HELD = {"torch": 2.5, "torchscript": 2.2, "onnx": 1.5}
# int8 products in a network reach this share of the bench's.
_INT8_SHARE = {"ort.static": 0.6, "ort.dynamic": 0.5, "torch.dynamic": 0.4}
# What an optimizer takes for each tensor, and how often it reads or writes each weight.
_TENSOR_SECONDS, _UPDATE_PASSES = 80e-6, 8
# A second thread helps this much.
_THREAD_GAIN = 0.75
_SHAPED = 2


@dataclass(frozen=True)
class Speed:
    """What one machine does in a second with a number of threads; `measured` says that a bench was run."""

    flops: float
    int8: float
    bytes: float
    measured: bool

    @property
    def basis(self) -> str:
        """The basis of what follows from it."""
        return "modelled" if self.measured else "guess"


def speed_of(hardware: Hardware, threads: int = 1) -> Speed:
    """Return the speed of a machine: its bench's, or else a small server's."""
    bench = hardware.bench or Bench()
    many = 1 + _THREAD_GAIN * (min(threads, hardware.identity.cores or threads) - 1)
    flops = (bench.fp32_flops_per_second or _DEFAULT_FLOPS) * many
    int8 = (bench.int8_flops_per_second or 2 * _DEFAULT_FLOPS) * many
    bandwidth = bench.memory_bytes_per_second or _DEFAULT_BYTES
    return Speed(flops, int8, bandwidth, bench.fp32_flops_per_second is not None)


def basis_of(hardware: Hardware) -> str:
    """Return the basis of what is predicted for a machine: a guess until it was measured."""
    return speed_of(hardware).basis


def forward_seconds(model: ModelFacts, speed: Speed, kind: str, batch: int, method: str = "none") -> float:
    """Return the seconds of answering one batch with a model of a kind: torch, onnx or torchscript."""
    cached = model.weight_bytes <= _CACHED_BYTES
    seconds = _CALL_SECONDS[kind]
    for layer, answer, count in _alike(model):
        products = batch * (layer.flops or 0) / (_rate(layer, speed, method) * _REACHED[kind])
        each = products if cached else max(products, layer.weight_bytes / speed.bytes)
        each += batch * answer * _PASSES[kind] / speed.bytes
        each += (_CONVOLUTION_SECONDS if _is_convolution(layer) else _LAYER_SECONDS)[kind]
        seconds += count * each
    return seconds


def update_seconds(model: ModelFacts, speed: Speed) -> float:
    """Return what an optimizer takes to change every weight once, and autograd to find out who depends on whom."""
    tensors = sum(2 for layer in model.layers if layer.weight_bytes)
    return tensors * _TENSOR_SECONDS + _UPDATE_PASSES * model.weight_bytes / speed.bytes


def opening_seconds(model: ModelFacts, use: ModelUse) -> float:
    """Return what opening a model takes: nothing for a live module."""
    if use.kind == "torch":
        return 0.0
    per_layer, per_byte = (0.0008, 8e-9) if use.kind == "torchscript" else (0.0005, 6e-9)
    return 0.004 + per_layer * len(model.layers) + per_byte * (use.bytes or model.weight_bytes)


def opened_bytes(model: ModelFacts, use: ModelUse) -> int:
    """Return the memory that opening a model takes: the file and the weights as the engine packs them."""
    return 0 if use.kind == "torch" else 2 * (use.bytes or model.weight_bytes)


def held_bytes(model: ModelFacts, use: ModelUse, batch: int) -> int:
    """Return the memory that answering one batch takes beside the model."""
    share = _HELD[use.kind] / (2 if use.method == "ort.static" else 1)
    return int((model.activation_bytes or 0) * batch * share)


def fixed_batch(model: ModelFacts) -> int | None:
    """Return the batch size that the model insists on, None where it is free."""
    sizes = [spec.shape[0] for spec in model.inputs if spec.shape]
    return min((size for size in sizes if isinstance(size, int)), default=None)


def answers_bytes(model: ModelFacts) -> int:
    """Return the bytes of all layers' answers to one case, as far as they follow from FLOPs and weights."""
    return sum(size for _, size in _layers(model))


def answer_bytes(model: ModelFacts) -> int:
    """Return the bytes of the model's own answer to one case, in fp32."""
    return sum(4 * math.prod(size for size in spec.shape[1:] if isinstance(size, int)) for spec in model.outputs)


def _layers(model: ModelFacts) -> Iterator[tuple[Layer, int]]:
    """List the layers, each with the bytes of its answer to one case.

    Of a layer with products the answer follows from its FLOPs; any other is taken to answer as much as the one before.
    """
    answer = 0
    for layer in model.layers:
        inner = math.prod(layer.weight_shape[1:]) if len(layer.weight_shape) >= _SHAPED else 0
        if inner and layer.flops:
            answer = 4 * layer.flops // (2 * inner)
        yield layer, answer


# The model that was asked about last, and its layers; kept, so that no other can come to stand where it stood.
_last: list[tuple[ModelFacts, tuple[tuple[Layer, int, int], ...]]] = []


def _alike(model: ModelFacts) -> tuple[tuple[Layer, int, int], ...]:
    """Return layers that cost different things: one of each kind, its answer's bytes, and how many there are.

    A plan asks dozens of times about one model, which may have ten thousand layers of a few kinds.
    """
    if not _last or _last[0][0] is not model:
        found: dict[tuple[object, ...], tuple[Layer, int, int]] = {}
        for layer, answer in _layers(model):
            kind = (layer.weight_shape, layer.flops, layer.weight_bytes, answer)
            found[kind] = (layer, answer, found[kind][2] + 1) if kind in found else (layer, answer, 1)
        _last[:] = [(model, tuple(found.values()))]
    return _last[0][1]


def _is_convolution(layer: Layer) -> bool:
    return len(layer.weight_shape) > _SHAPED


def _rate(layer: Layer, speed: Speed, method: str) -> float:
    """Return the operations a second of a layer's products: a dynamic method leaves convolutions alone."""
    shares: Mapping[str, float] = _INT8_SHARE
    if method not in shares or (method != "ort.static" and len(layer.weight_shape) != _SHAPED):
        return speed.flops
    return speed.int8 * shares[method]
