"""What each layer of a model computes, reads and writes, from the model's facts alone."""

import math
from collections.abc import Iterator

from titrant.schema.data_size import spec_bytes
from titrant.schema.facts import Layer, ModelFacts

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


# A cache of one model, found by identity: hashing ten thousand layers would cost what it saves. It holds the model, so
# that no other can take its place in memory.
_last: list[tuple[ModelFacts, tuple[tuple[Layer, int, int], ...]]] = []


def distinct_layers(model: ModelFacts) -> tuple[tuple[Layer, int, int], ...]:
    """Return one layer of each kind, the bytes of its output for one case, and how many of them the model has.

    Layers of a kind cost the same. A plan asks dozens of times about one model, which may have ten thousand layers of a
    few kinds.
    """
    if not _last or _last[0][0] is not model:
        found: dict[tuple[object, ...], tuple[Layer, int, int]] = {}
        for layer, output in layers_with_outputs(model):
            kind = (layer.type, layer.weight_shape, layer.flops, layer.weight_bytes, output)
            found[kind] = (layer, output, found[kind][2] + 1) if kind in found else (layer, output, 1)
        _last[:] = [(model, tuple(found.values()))]
    return _last[0][1]


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
