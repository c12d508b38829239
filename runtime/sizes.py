"""How large a model file becomes, from the model's facts alone."""

from titrant.schema.facts import Layer, ModelFacts

# Layer types, as torch modules and as ONNX nodes.
CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d", "Conv", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
PRODUCTS = ("Linear", "Gemm", "MatMul")
NORMALIZATIONS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "BatchNormalization")

# Measured with torch 2.13 and onnxruntime 1.31 on two multilayer perceptrons, two small convolutional networks and
# ResNet-20: what a file spends beside the numbers, for each layer and once.
ONNX_LAYER_BYTES, ONNX_BYTES = 250, 400
QDQ_LAYER_BYTES, QDQ_BYTES = 1500, 300
SCRIPT_LAYER_BYTES, SCRIPT_BYTES = 100, 3000
TENSOR_BYTES, TORCH_BYTES = 90, 500
# What a node of a graph made elsewhere spends beside its numbers.
ONNX_NODE_BYTES = 180
# What a channel with a scale of its own adds: scale and zero point of its weights (5), in QDQ also of its bias (8).
DYNAMIC_CHANNEL_BYTES, QDQ_CHANNEL_BYTES, PACKED_CHANNEL_BYTES = 5, 13, 16


def layers_of(model: ModelFacts, *types: str) -> tuple[Layer, ...]:
    """Return the layers of some types that hold weights."""
    return tuple(layer for layer in model.layers if layer.type in types and layer.weight_bytes)


def onnx_bytes(model: ModelFacts) -> int:
    """Predict an fp32 ONNX file: the weights once, batch normalization folded into the layer before it."""
    return folded_bytes(model) + ONNX_LAYER_BYTES * len(model.layers) + ONNX_BYTES


def torchscript_bytes(model: ModelFacts, *, halved: bool = False) -> int:
    """Predict a frozen TorchScript file: the weights once, in 16 bits where `halved`, each aligned to 64 bytes."""
    weights = folded_bytes(model) // (2 if halved else 1)
    return weights + SCRIPT_LAYER_BYTES * len(model.layers) + SCRIPT_BYTES


def torch_bytes(model: ModelFacts) -> int:
    """Count a kept torch module: its tensors, and what says how to build it again."""
    return model.weight_bytes + TENSOR_BYTES * sum(2 for layer in model.layers if layer.weight_bytes) + TORCH_BYTES


def folded_bytes(model: ModelFacts) -> int:
    """Return the weights' bytes when of four numbers a channel of each normalization one is left, the bias."""
    return model.weight_bytes - sum(layer.weight_bytes for layer in layers_of(model, *NORMALIZATIONS)) * 3 // 4


def saved_by_int8(model: ModelFacts, *types: str) -> int:
    """Return the bytes that int8 weights of some layer types save: three of every four."""
    return sum(_elements(layer) * 3 for layer in layers_of(model, *types))


def channels(model: ModelFacts, *types: str) -> int:
    """Count the output channels of some layer types, each of which gets a scale of its own."""
    return sum(layer.weight_shape[0] for layer in layers_of(model, *types) if layer.weight_shape)


def _elements(layer: Layer) -> int:
    count = 1
    for size in layer.weight_shape:
        count *= size
    return count if layer.weight_shape else layer.parameters
