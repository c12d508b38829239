"""How long a forward pass takes, and what memory, from a model's layers and from this machine's measured speed."""

from collections.abc import Mapping

from titrant.runtime.gpu_cost import GpuRates, gpu_forward_seconds, gpu_rates
from titrant.runtime.layer_work import (
    distinct_layers,
    is_convolution,
    is_product,
    model_input_bytes,
    model_output_bytes,
)
from titrant.schema.facts import Bench, Hardware, Layer, ModelFacts
from titrant.schema.frozen import dataclass
from titrant.schema.plan import Prediction
from titrant.schema.work import ModelUse

# Where no bench was run: one thread of a small server, fp32 operations and bytes a second.
_DEFAULT_FLOPS, _DEFAULT_BYTES = 40e9, 8e9
# Of the bench's matrix products, what an engine reaches in its layers; measured with torch 2.13 and onnxruntime 1.31
# on TabularNet, DigitsNet, SmallCnn and ResNet-20, one thread.
_REACHED = {"torch": 0.75, "torchscript": 0.75, "onnx": 1.1}
# What calling a layer costs, however small it is, and what a batch costs beside its layers.
_LAYER_SECONDS = {"torch": 5e-6, "torchscript": 4e-6, "onnx": 0.5e-6}
_CONVOLUTION_SECONDS = {"torch": 100e-6, "torchscript": 70e-6, "onnx": 2e-6}
_CALL_SECONDS = {"torch": 150e-6, "torchscript": 90e-6, "onnx": 55e-6}
# Torch writes and reads every layer's output in memory; onnxruntime fuses what comes after a product into it.
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

    @property
    def basis(self) -> str:
        """The basis of what follows from it."""
        return "modelled" if self.measured else "guess"


def speed_of(hardware: Hardware, threads: int = 1, device: str = "cpu") -> Speed:
    """Return the speed of a machine or of its accelerator: its bench's, a published one, or else a small one's."""
    bench = hardware.bench or Bench()
    many = 1 + _THREAD_GAIN * (min(threads, hardware.identity.cores or threads) - 1)
    flops = (bench.fp32_flops_per_second or _DEFAULT_FLOPS) * many
    int8 = (bench.int8_flops_per_second or 2 * _DEFAULT_FLOPS) * many
    bandwidth = bench.memory_bytes_per_second or _DEFAULT_BYTES
    if device == "cpu":
        return Speed(flops, int8, bandwidth, bench.measured)
    rates, measured = gpu_rates(hardware, device)
    return Speed(flops, int8, bandwidth, measured, rates)


def basis_of(hardware: Hardware) -> str:
    """Return the basis of what is predicted for a machine: a guess until it was measured."""
    return speed_of(hardware).basis


def forward_seconds(model: ModelFacts, speed: Speed, kind: str, batch: int, method: str = "none") -> float:
    """Return the seconds of one batch through a model of a kind: torch, onnx or torchscript."""
    if speed.gpu is not None:
        return gpu_forward_seconds(model, speed.gpu, kind, batch, method)
    cached = model.weight_bytes <= _CACHED_BYTES
    seconds = _CALL_SECONDS[kind]
    for layer, output, count in distinct_layers(model):
        products = batch * (layer.flops or 0) / (_rate(layer, speed, method) * _REACHED[kind])
        each = products if cached else max(products, layer.weight_bytes / speed.bytes)
        each += batch * output * _PASSES[kind] / speed.bytes
        each += (_CONVOLUTION_SECONDS if is_convolution(layer) else _LAYER_SECONDS)[kind]
        seconds += count * each
    return seconds


def update_seconds(model: ModelFacts, speed: Speed) -> float:
    """Return the seconds of one optimizer step over every weight, and of autograd building its graph."""
    tensors = sum(2 for layer in model.layers if layer.weight_bytes)
    return tensors * _TENSOR_SECONDS + _UPDATE_PASSES * model.weight_bytes / speed.bytes


def opening_seconds(model: ModelFacts, use: ModelUse, speed: Speed) -> float:
    """Return what opening a model takes, weights on their way to a device included: nothing for a live module here."""
    placing = 0.0 if speed.gpu is None else model.weight_bytes / speed.gpu.transfer
    if use.kind == "torch":
        return placing
    per_layer, per_byte = (0.0008, 8e-9) if use.kind == "torchscript" else (0.0005, 6e-9)
    return placing + 0.004 + per_layer * len(model.layers) + per_byte * (use.bytes or model.weight_bytes)


def opened_bytes(model: ModelFacts, use: ModelUse) -> int:
    """Return the memory that opening a model takes: the file and the weights as the engine packs them."""
    return 0 if use.kind == "torch" else 2 * (use.bytes or model.weight_bytes)


def held_bytes(model: ModelFacts, use: ModelUse, batch: int, on_device: bool = False) -> int:
    """Return the bytes of the machine's memory that one batch takes beside the model.

    A device with memory of its own holds the activations itself; only inputs and outputs are left here.
    """
    if on_device:
        return (model_input_bytes(model) + model_output_bytes(model)) * batch
    share = _HELD[use.kind] / (2 if use.method == "ort.static" else 1)
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


def _rate(layer: Layer, speed: Speed, method: str) -> float:
    """Return the operations a second of a layer's products: a dynamic method leaves convolutions alone."""
    shares: Mapping[str, float] = _INT8_SHARE
    if method not in shares or (method != "ort.static" and not is_product(layer)):
        return speed.flops
    return speed.int8 * shares[method]
