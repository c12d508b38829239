"""Predict how large an IR becomes from the model's facts alone, and name the packages that a machine lacks."""

import math
from collections.abc import Collection
from dataclasses import replace

from titrant.runtime.backends.backend import distribution
from titrant.runtime.cost.sizes import (
    CONVOLUTIONS,
    EMBEDDINGS,
    LAYER_NORMS,
    PRODUCTS_IN_FILE,
    channels,
    folded_bytes,
    layers_of,
    saved_by_int8,
)
from titrant.schema.cost import Unmet
from titrant.schema.facts import Hardware, Layer, ModelFacts

QUANTIZED = (*CONVOLUTIONS, *PRODUCTS_IN_FILE, *EMBEDDINGS)
RECURRENT = ("LSTM", "GRU", "RNN")

# Bytes of text that describe a graph, fitted to a residual, a depthwise and two plain convolutional networks, two
# encoders and two multilayer perceptrons: once, for each convolution with what follows it, matrix product, layer norm
# (which is several operations), attention layer and recurrent layer of torch's, and node of a graph made elsewhere.
_TEXT_BYTES, _CONVOLUTION_BYTES, _PRODUCT_BYTES, _NORM_BYTES = 1700, 2250, 1180, 7000
_ATTENTION_BYTES, _RECURRENT_BYTES, _NODE_BYTES = 13000, 8500, 600
# What unpacking weights in few bits adds to a convolution and to a matrix product, and what groups add to that; what
# the ranges of activations add to either, and around a layer norm.
_CONVOLUTION_UNPACKING_BYTES, _PRODUCT_UNPACKING_BYTES, _GROUPS_BYTES = 1580, 1375, 745
_CONVOLUTION_RANGE_BYTES, _PRODUCT_RANGE_BYTES, _NORM_RANGE_BYTES = 1850, 1150, 3200
# A scale of 16 bits, of 32 bits, and what the ranges of a layer's activations take beside the weights.
_SCALE_BYTES, _WIDE_SCALE_BYTES, _RANGES_BYTES = 2, 4, 16


def not_installed(hardware: Hardware, *packages: str) -> tuple[Unmet, ...]:
    """Name every package that is not installed on the machine: one extra of titrant's brings them all."""
    return tuple(
        Unmet(f"{package} is not installed", "pip install 'titrant[openvino]'")
        for package in packages
        if distribution(hardware.identity.packages, package) is None
    )


def ir_bytes(model: ModelFacts) -> int:
    """Predict an fp32 IR: the weights that are read, once, and the text."""
    unread = sum(layer.weight_bytes for layer in model.layers if layer.unread)
    return folded_bytes(model) - unread + _text_bytes(model)


def _text_bytes(model: ModelFacts) -> int:
    if model.is_graph:
        return _TEXT_BYTES + _NODE_BYTES * len(model.layers)
    return (
        _TEXT_BYTES
        + _CONVOLUTION_BYTES * len(layers_of(model, *CONVOLUTIONS))
        + _PRODUCT_BYTES * len(layers_of(model, *PRODUCTS_IN_FILE, *EMBEDDINGS))
        + _RECURRENT_BYTES * len(layers_of(model, *RECURRENT))
        + _NORM_BYTES * len(layers_of(model, *LAYER_NORMS))
        + _ATTENTION_BYTES * len(layers_of(model, "MultiheadAttention"))
    )


def int8_bytes(model: ModelFacts, leave: Collection[str], *, ranges: bool) -> int:
    """Predict an IR with weights in 8 bits, with or without `ranges` of activations; layers to leave are left."""
    model = _without(model, leave)
    convolutions, products = layers_of(model, *CONVOLUTIONS), layers_of(model, *PRODUCTS_IN_FILE, *EMBEDDINGS)
    unpacking = _CONVOLUTION_UNPACKING_BYTES * len(convolutions) + _PRODUCT_UNPACKING_BYTES * len(products)
    size = ir_bytes(model) - saved_by_int8(model, *QUANTIZED) + unpacking
    if not ranges:
        return size + _SCALE_BYTES * channels(model, *QUANTIZED)
    return (
        size
        - saved_by_int8(model, *RECURRENT)
        + (_WIDE_SCALE_BYTES * channels(model, *QUANTIZED))
        + (_CONVOLUTION_RANGE_BYTES + _RANGES_BYTES) * len(convolutions)
        + (_PRODUCT_RANGE_BYTES + _RANGES_BYTES) * len(products)
        + _NORM_RANGE_BYTES * len(layers_of(model, *LAYER_NORMS))
    )


def int4_bytes(model: ModelFacts, leave: Collection[str], *, groups: tuple[int, int], all_layers: bool) -> int:
    """Predict an IR with weights in 4 bits where they can be, else in 8; `groups` are the size asked and the least."""
    size = int8_bytes(model, leave, ranges=False)
    for layer in four_bit_layers(_without(model, leave), groups, all_layers=all_layers):
        elements, rows = math.prod(layer.weight_shape), layer.weight_shape[0]
        scales = elements // group_size(_length(layer), *groups)
        size += _GROUPS_BYTES - (elements + 1) // 2 + _SCALE_BYTES * (scales - rows)
    return size


def four_bit_layers(model: ModelFacts, groups: tuple[int, int], *, all_layers: bool) -> tuple[Layer, ...]:
    """List the matrix products whose weights get 4 bits: all but the last, where a group divides their sums."""
    products = layers_of(model, *PRODUCTS_IN_FILE)
    inner = layers_of(model, *PRODUCTS_IN_FILE, *EMBEDDINGS) if all_layers else products[:-1]
    return tuple(layer for layer in inner if layer.weight_shape and group_size(_length(layer), *groups))


def group_size(length: int, asked: int, least: int) -> int:
    """Return the group that divides a sum: as asked, else the largest smaller power of two, 0 below the least.

    So NNCF adjusts it.
    """
    if length % asked == 0:
        return asked
    largest = math.gcd(length, 1 << ((asked - 1).bit_length() - 1)) if asked > 1 else 1
    return largest if least <= largest < asked else 0


def _length(layer: Layer) -> int:
    """Return how many products a sum of a layer has: a node's weights may lie the other way."""
    return layer.weight_shape[-2 if layer.type in ("MatMul",) and len(layer.weight_shape) > 1 else -1]


def _without(model: ModelFacts, leave: Collection[str]) -> ModelFacts:
    """Return the facts as if the layers to leave were of a type that no method takes."""
    if not leave:
        return model
    return replace(
        model, layers=tuple(replace(layer, type="left") if layer.name in leave else layer for layer in model.layers)
    )
