"""Say what the facts of a model become when it is narrowed, before anybody knows which of its channels go."""

import math
from dataclasses import replace

from titrant.runtime.cost.forward import layer_class
from titrant.schema.facts import Layer, ModelFacts

_WIDE = ("convolution", "product")
_HALVINGS = 30


def narrowed(model: ModelFacts, sparsity: float) -> ModelFacts:
    """Return the facts of a model with a share of its parameters removed, every inner width by the same factor.

    The first layer keeps its inputs and the last its outputs; depthwise convolutions and normalizations follow. Tables
    that are looked up, recurrent layers and layers of the user's own stay as they are.
    """
    wide = [layer for layer in model.layers if layer_class(layer) in _WIDE and not layer.custom]
    if not wide or not sparsity:
        return model
    asked = model.parameters * (1 - sparsity)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _after(model, wide, middle).parameters > asked:
            high = middle
        else:
            low = middle
    return _after(model, wide, low)


def _after(model: ModelFacts, wide: list[Layer], width: float) -> ModelFacts:
    layers = tuple(_layer(layer, width, layer is not wide[0], layer is not wide[-1]) for layer in model.layers)
    gone = sum(layer.parameters for layer in model.layers) - sum(layer.parameters for layer in layers)
    lighter = sum(layer.weight_bytes for layer in model.layers) - sum(layer.weight_bytes for layer in layers)
    trainable = sum(layer.trainable for layer in model.layers) - sum(layer.trainable for layer in layers)
    flops = sum((before.flops or 0) - (after.flops or 0) for before, after in zip(model.layers, layers, strict=True))
    return replace(
        model,
        layers=layers,
        parameters=model.parameters - gone,
        trainable=model.trainable - trainable,
        weight_bytes=model.weight_bytes - lighter,
        flops=None if model.flops is None else model.flops - flops,
        activation_bytes=None if model.activation_bytes is None else math.ceil(model.activation_bytes * width),
    )


def _layer(layer: Layer, width: float, inputs: bool, outputs: bool) -> Layer:
    """Return a layer with fewer inputs, outputs or both."""
    if layer.custom or not layer.weight_shape or not layer.parameters:
        return layer
    kind, shape = layer_class(layer), list(layer.weight_shape)
    groups = layer.groups
    if kind == "depthwise" or (kind == "" and len(shape) == 1):
        shape[0] = _fewer(shape[0], width)
        groups = shape[0] if kind == "depthwise" else groups
    elif kind in _WIDE and layer.groups == 1:
        shape[0] = _fewer(shape[0], width) if outputs else shape[0]
        shape[1] = _fewer(shape[1], width) if inputs else shape[1]
    else:
        return layer
    before = math.prod(layer.weight_shape)
    weights, beside = math.prod(shape), layer.parameters - before
    # A bias, and what else a normalization has, is as wide as the outputs.
    count = weights + (beside * shape[0] // layer.weight_shape[0] if beside > 0 else 0)
    share = count / layer.parameters
    return replace(
        layer,
        parameters=count,
        trainable=round(layer.trainable * share),
        weight_bytes=round(layer.weight_bytes * share),
        weight_shape=tuple(shape),
        flops=None if layer.flops is None else layer.flops * weights // before,
        groups=groups,
    )


def _fewer(count: int, width: float) -> int:
    return max(1, round(count * width))
