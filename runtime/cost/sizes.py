"""Predict how large a model file becomes, from the model's facts alone, and name the packages that a machine lacks."""

import math
from collections.abc import Collection, Sequence

from titrant.runtime.backends.backend import distribution
from titrant.schema.cost import Unmet
from titrant.schema.facts import Hardware, Layer, ModelFacts

# Instruction sets that multiply in bf16, rather than convert to fp32 and back.
NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")

# Layer types, as torch modules and as ONNX nodes.
CONVOLUTIONS = (
    "Conv1d", "Conv2d", "Conv3d", "Conv", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "ConvTranspose",
)  # fmt: skip
PRODUCTS = ("Linear", "Gemm", "MatMul")
# Modules of torch that an ONNX file holds as matrix products.
PRODUCTS_IN_FILE = (*PRODUCTS, "MultiheadAttention", "NonDynamicallyQuantizableLinear")
EMBEDDINGS = ("Embedding", "Gather")
STEPWISE = ("LSTM", "GRU", "RNN")
LAYER_NORMS = ("LayerNorm", "LayerNormalization")
NORMALIZATIONS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "BatchNormalization")

# Measured with torch 2.13 and onnxruntime 1.31 on two multilayer perceptrons, two small convolutional networks and
# ResNet-20: what a file spends beside the numbers, for each layer and once.
ONNX_LAYER_BYTES, ONNX_BYTES = 250, 400
SCRIPT_LAYER_BYTES, SCRIPT_BYTES = 100, 3000
PROGRAM_LAYER_BYTES, PROGRAM_BYTES, PROGRAM_ATTENTION_BYTES = 2200, 3500, 28_000
# Of transformers whose attention and norms are functions: for each operation, for each layer, and once.
PROGRAM_OPERATION_BYTES, PROGRAM_CALLED_BYTES, PROGRAM_FUNCTION_BYTES = 330, 1_000, 6_000
PROGRAM_DIRECTION_BYTES = 4_600  # of a recurrent layer's direction: four tensors
CODE_LAYER_BYTES, CODE_BYTES = 8_000, 1_490_000
PACKED_CHANNELS, PACKED_INT8_CHANNEL_BYTES = 64, 40
TENSOR_BYTES, TORCH_BYTES = 90, 500
# What a node of an exported file takes, its name and those of what it reads, and for each letter of the path of its
# module: least squares over five transformers and eight other networks, which reshape and mask by functions that no
# layer shows. The thirty nodes of an attention layer whose operations are not known.
FILE_NODE_BYTES, FILE_PATH_BYTES, ATTENTION_BYTES = 60, 4.4, 6_000
# The same of a file that onnxruntime's methods write, which is folded and whose names are short: for each node, or
# layer, what an attention layer has besides where its operations are not known, and once.
SHORT_NODE_BYTES, SHORT_LAYER_BYTES, SHORT_ATTENTION_BYTES, SHORT_BYTES = 70, 90, 2_500, 300
# What quantize and dequantize nodes around a layer take.
QDQ_LAYER_BYTES = 430
# Of a weight in fp32, and the axes of a matrix.
_WEIGHT_BYTES, _MATRIX = 4, 2
# What a node of a graph made elsewhere spends beside its numbers.
ONNX_NODE_BYTES = 180
# What a channel with a scale of its own adds: that of its weights, in QDQ also that of its bias.
SCALE_BYTES, QDQ_SCALE_BYTES, PACKED_CHANNEL_BYTES = 4, 8, 16


def layers_of(model: ModelFacts, *types: str) -> tuple[Layer, ...]:
    """Return the layers of some types that hold weights which a forward pass reads."""
    return tuple(layer for layer in model.layers if layer.type in types and layer.weight_bytes and not layer.unread)


def takes_none(model: ModelFacts, *types: str) -> bool:
    """Tell whether a method that quantizes fp32 weights of some types certainly finds none in the model's ONNX file.

    Weights that a module holds itself, or makes of others, may be multiplied there: only the file shows it.
    """
    if not model.is_graph and any(layer.custom and layer.weight_bytes for layer in model.layers):
        return False
    return not any(layer.dtype in ("", "float32") for layer in layers_of(model, *types))


def onnx_bytes(model: ModelFacts) -> int:
    """Predict an fp32 ONNX file: the weights that are read, once, and batch normalization folded into what precedes.

    Nodes are counted by layers or by the operations of a forward pass, whichever comes to more.
    """
    nodes = ONNX_LAYER_BYTES * _read_layers(model)
    if model.file_nodes:
        path = sum(len(layer.name) for layer in model.layers) / max(1, len(model.layers))
        nodes = max(nodes, round(model.file_nodes * (FILE_NODE_BYTES + FILE_PATH_BYTES * path)))
    else:
        nodes += ATTENTION_BYTES * len(layers_of(model, "MultiheadAttention"))
    return _held_bytes(model) + nodes + ONNX_BYTES


def short_onnx_bytes(model: ModelFacts) -> int:
    """Predict what onnxruntime's methods would write if they quantized nothing: see `onnx_bytes`."""
    nodes = max(SHORT_LAYER_BYTES * _read_layers(model), SHORT_NODE_BYTES * model.file_nodes)
    if not model.file_nodes:
        nodes += SHORT_ATTENTION_BYTES * len(layers_of(model, "MultiheadAttention"))
    return _held_bytes(model) - model.repeated_bytes + nodes + model.mask_bytes + SHORT_BYTES


def _held_bytes(model: ModelFacts) -> int:
    copied = sum(_WEIGHT_BYTES * _elements(layer) for layer in tied_to_table(model))
    return folded_bytes(model) - _unread_bytes(model) + copied


def torchscript_bytes(model: ModelFacts, *, halved: bool = False) -> int:
    """Predict a frozen TorchScript file: the weights once, in 16 bits where `halved`, each aligned to 64 bytes."""
    weights = (folded_bytes(model) - _unread_bytes(model)) // (2 if halved else 1)
    return weights + SCRIPT_LAYER_BYTES * _read_layers(model) + SCRIPT_BYTES


def exported_bytes(model: ModelFacts, *, halved: bool = False) -> int:
    """Predict a torch.export file: the weights once, in 16 bits where `halved`, and what describes its graph."""
    weights = folded_bytes(model) // (2 if halved else 1)
    attention = PROGRAM_ATTENTION_BYTES * len(layers_of(model, "MultiheadAttention"))
    directions = PROGRAM_DIRECTION_BYTES * sum(map(_directions, layers_of(model, *STEPWISE)))
    by_layer = PROGRAM_LAYER_BYTES * len(model.layers) + attention + directions + PROGRAM_BYTES
    if directions:  # an operation a step, as torch counts
        return weights + by_layer
    by_operation = PROGRAM_OPERATION_BYTES * model.operations + PROGRAM_CALLED_BYTES * len(model.layers)
    return weights + max(by_layer, by_operation + PROGRAM_FUNCTION_BYTES)


def _directions(layer: Layer) -> int:
    """Return how many pairs of matrices a recurrent layer has, as if all their inputs were as wide as their state."""
    if len(layer.weight_shape) != _MATRIX:
        return 1
    height, width = layer.weight_shape
    return max(1, round(layer.parameters / (height * (2 * width + 2))))


def compiled_bytes(model: ModelFacts, int8: Sequence[Layer] = ()) -> int:
    """Predict a package of AOTInductor: its machine code, and the weights once, products packed in blocks of channels.

    Layers of `int8` hold a byte for each weight, and for each channel a scale, a zero point and the sum of its weights.
    One that shares its weight has a copy, in fp32 where it is left and what counts the weight is not.
    """
    size = folded_bytes(model) + CODE_LAYER_BYTES * len(model.layers) + CODE_BYTES
    narrow = {layer.name for layer in int8}  # looked up by name: comparing whole layers is quadratic in their number
    for layer in layers_of(model, "Linear"):
        width = 1 if layer.name in narrow else _WEIGHT_BYTES
        size += (-layer.weight_shape[0] % PACKED_CHANNELS) * layer.weight_shape[1] * width
    left = {layer.name for layer in model.layers} - narrow
    return (
        size
        + sum(_elements(layer) for layer in int8 if is_tied(layer))
        + (kept_bytes(model, left, *{layer.type for layer in int8}) if int8 else 0)
        - sum(min(_elements(layer) * 3, layer.weight_bytes * 3 // 4) for layer in int8)
        + sum(PACKED_INT8_CHANNEL_BYTES * layer.weight_shape[0] for layer in int8)
    )


def torch_bytes(model: ModelFacts) -> int:
    """Count a kept torch module: its tensors, and what says how to build it again."""
    return model.weight_bytes + TENSOR_BYTES * sum(2 for layer in model.layers if layer.weight_bytes) + TORCH_BYTES


def folded_bytes(model: ModelFacts) -> int:
    """Return the weights' bytes when of four numbers a channel of each normalization one is left, the bias."""
    return model.weight_bytes - sum(layer.weight_bytes for layer in layers_of(model, *NORMALIZATIONS)) * 3 // 4


def _unread_bytes(model: ModelFacts) -> int:
    return sum(layer.weight_bytes for layer in model.layers if layer.unread)


def _read_layers(model: ModelFacts) -> int:
    """Count the layers that are read; in a graph constants are nodes, of which a file that is folded has none."""
    return sum(not layer.unread and layer.type != "Constant" for layer in model.layers)


def is_constant(layer: Layer) -> bool:
    """Whether a table is read at the same places in every case: a file holds what was read, and looks nothing up."""
    return layer.type == "Embedding" and layer.custom


def saved_by_int8(model: ModelFacts, *types: str, shared: bool = False) -> int:
    """Return the bytes that int8 weights of some layer types save: three of every four, tied weights once.

    A product whose weights are an embedding's gets a copy of its own in int8. `shared` says that the file in fp32 holds
    no such copy, as TorchScript does and ONNX does not, and that every tied product gets one.
    """
    saved = saved_once(model, *types)
    if shared:
        return saved - sum(_elements(layer) for layer in model.layers if layer.type in types and is_tied(layer))
    return saved + (_WEIGHT_BYTES - 1) * sum(_elements(layer) for layer in tied_to_table(model) if layer.type in types)


def saved_once(model: ModelFacts, *types: str) -> int:
    """Return the bytes that int8 weights save where a file holds equal ones once, as an IR does."""
    held = (layer for layer in layers_of(model, *types) if not is_constant(layer) and not _repeats(layer, model))
    return sum(min(_elements(layer) * 3, layer.weight_bytes * 3 // 4) for layer in held)


def _repeats(layer: Layer, model: ModelFacts) -> bool:
    """Whether a node of a graph reads weights that another one counts: the file holds them once."""
    if not model.is_graph or layer.parameters:
        return False
    return any(other.parameters and other.weight_shape == layer.weight_shape for other in model.layers)


def tied_to_table(model: ModelFacts) -> tuple[Layer, ...]:
    """Return a module's linear layers whose weights are those of an embedding, which counts them as its own."""
    tables = {layer.weight_shape for layer in model.layers if layer.type == "Embedding"}
    return tuple(
        layer for layer in model.layers if layer.type == "Linear" and layer.weight_shape in tables and is_tied(layer)
    )


def is_tied(layer: Layer) -> bool:
    """Whether an earlier layer counts the weights of this one as its own."""
    return layer.parameters < _elements(layer)


def parted(model: ModelFacts, left: Collection[str], *types: str) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """Return the layers of which quantizing parts a weight that layers of some types share, where some are `left`.

    First those that are quantized by a copy, since what counts the weight is left; then those that are left by one.
    A weight that several take stands once among them. Of layers to leave a plan says in the type that they are.
    """
    alike = [layer for layer in model.layers if layer.type.startswith(types) and len(layer.weight_shape) > 1]
    owners = {layer.weight_shape: layer for layer in reversed(alike) if not is_tied(layer)}
    of_owner: dict[tuple[str, bool], Layer] = {}
    for layer in alike:
        owner = owners.get(layer.weight_shape) if is_tied(layer) and not layer.shared_with else None
        if owner is not None and (layer.name in left) != (owner.name in left):
            of_owner.setdefault((owner.name, layer.name in left), layer)
    copies = [[layer for (_, is_left), layer in of_owner.items() if is_left == side] for side in (False, True)]
    return tuple(copies[0]), tuple(copies[1])


def kept_bytes(model: ModelFacts, left: Collection[str], *types: str) -> int:
    """Return the bytes in fp32 of what layers to leave keep of weights that others of some types give up."""
    return sum(_WEIGHT_BYTES * _elements(layer) for layer in parted(model, left, *types)[1])


def channels(model: ModelFacts, *types: str) -> int:
    """Count the output channels of some layer types, each of which gets a scale of its own."""
    return sum(_widths(model, *types))


def zero_point_bytes(model: ModelFacts, *types: str) -> int:
    """Return the bytes of the zero points of those channels: layers of equally many share them."""
    return sum({*_widths(model, *types)})


def _widths(model: ModelFacts, *types: str) -> list[int]:
    tied = tuple(layer for layer in tied_to_table(model) if layer.type in types and not layer.weight_bytes)
    return [layer.weight_shape[0] for layer in (*layers_of(model, *types), *tied) if layer.weight_shape]


def qdq_scale_bytes(model: ModelFacts, *types: str) -> int:
    """Return the bytes of a QDQ file's scales by channel, those of a bias only where it is quantized, and zero points.

    The bias of a product of several rows a case is an Add of its own, which stays in fp32.
    """
    apart = sum(
        layer.weight_shape[0]
        for layer in (*layers_of(model, *types), *tied_to_table(model))
        if layer.type in types and layer.type in PRODUCTS_IN_FILE and _without_bias(layer)
    )
    scales = QDQ_SCALE_BYTES * channels(model, *types) - (QDQ_SCALE_BYTES - SCALE_BYTES) * apart
    return scales + zero_point_bytes(model, *types)


def _without_bias(layer: Layer) -> bool:
    elements = _elements(layer)
    return bool(layer.weight_shape) and (layer.parameters <= elements or (layer.flops or 0) > 2 * elements)


def _elements(layer: Layer) -> int:
    return math.prod(layer.weight_shape) if layer.weight_shape else layer.parameters


def precision_unmet(precision: str, hardware: Hardware) -> tuple[Unmet, ...]:
    """Say what training in a precision lacks here, where steps run on the processor."""
    if precision == "fp16":
        remedy = "set train.precision to bf16 or fp32; fp16 takes a GPU, on which no training step runs yet"
        return (Unmet("no processor trains faster in fp16, whose gradients also need scaling", remedy),)
    if precision == "bf16" and not {*NATIVE_BF16} & {*hardware.identity.instructions}:
        cause = f"bf16 is emulated on this processor and slower than fp32 (it has none of {', '.join(NATIVE_BF16)})"
        return (Unmet(cause, "set train.precision to fp32"),)
    return ()


def missing(hardware: Hardware, *packages: str) -> tuple[Unmet, ...]:
    """Name every package that is not installed on the machine, with the command that installs it."""
    return tuple(
        Unmet(f"{package} is not installed", f"pip install {package}")
        for package in packages
        if distribution(hardware.identity.packages, package) is None
    )
