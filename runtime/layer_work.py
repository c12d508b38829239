"""What each layer of a model has to do: products, weights and answers, from the model's facts alone."""

import math
from collections.abc import Iterator

from titrant.schema.facts import Layer, ModelFacts

_SHAPED = 2


def layers_with_answers(model: ModelFacts) -> Iterator[tuple[Layer, int]]:
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


def alike(model: ModelFacts) -> tuple[tuple[Layer, int, int], ...]:
    """Return layers that cost different things: one of each kind, its answer's bytes, and how many there are.

    A plan asks dozens of times about one model, which may have ten thousand layers of a few kinds.
    """
    if not _last or _last[0][0] is not model:
        found: dict[tuple[object, ...], tuple[Layer, int, int]] = {}
        for layer, answer in layers_with_answers(model):
            kind = (layer.weight_shape, layer.flops, layer.weight_bytes, answer)
            found[kind] = (layer, answer, found[kind][2] + 1) if kind in found else (layer, answer, 1)
        _last[:] = [(model, tuple(found.values()))]
    return _last[0][1]


def answers_bytes(model: ModelFacts) -> int:
    """Return the bytes of all layers' answers to one case, as far as they follow from FLOPs and weights."""
    return sum(size for _, size in layers_with_answers(model))


def answer_bytes(model: ModelFacts) -> int:
    """Return the bytes of the model's own answer to one case, in fp32."""
    return sum(4 * math.prod(size for size in spec.shape[1:] if isinstance(size, int)) for spec in model.outputs)


def is_convolution(layer: Layer) -> bool:
    """Tell a convolution by its weights, which have more dimensions than a product's."""
    return len(layer.weight_shape) > _SHAPED


def is_product(layer: Layer) -> bool:
    """Tell a linear layer or matrix product by its weights, which have two dimensions."""
    return len(layer.weight_shape) == _SHAPED
