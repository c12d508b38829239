"""How large a model file becomes, from the model's facts alone."""

from titrant.schema.facts import Layer, ModelFacts

# Layer types, as torch modules and as ONNX nodes.
CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d", "Conv", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
PRODUCTS = ("Linear", "Gemm", "MatMul")
NORMALIZATIONS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "BatchNormalization")

# Measured with torch 2.13 and onnxruntime 1.31 on a multilayer perceptron, a digits network and ResNet-20: what
# a file spends beside the numbers, for each layer and once.
ONNX_LAYER_BYTES, ONNX_BYTES = 170, 400
QDQ_LAYER_BYTES, QDQ_BYTES = 2400, 1500
SCRIPT_LAYER_BYTES, SCRIPT_BYTES = 330, 3000
# A channel's scale (4) and zero point (1), and its bias as int32 with scale and zero point of its own.
CHANNEL_BYTES = 17


def layers_of(model: ModelFacts, *types: str) -> tuple[Layer, ...]:
    """Return the layers of some types that hold weights."""
    return tuple(layer for layer in model.layers if layer.type in types and layer.weight_bytes)


def onnx_bytes(model: ModelFacts) -> int:
    """Predict an fp32 ONNX file: the weights once, batch normalization folded into the layer before it."""
    folded = sum(layer.weight_bytes for layer in layers_of(model, *NORMALIZATIONS))
    return model.weight_bytes - folded // 2 + ONNX_LAYER_BYTES * len(model.layers) + ONNX_BYTES


def torchscript_bytes(model: ModelFacts) -> int:
    """Predict a frozen TorchScript file: the weights once, each constant aligned to 64 bytes."""
    return model.weight_bytes + SCRIPT_LAYER_BYTES * len(model.layers) + SCRIPT_BYTES


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
