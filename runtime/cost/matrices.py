"""The matrices that layers multiply by or look rows up in, which way round they lie, and which are held twice."""

import math
from collections.abc import Iterator

from titrant.schema.facts import Layer, ModelFacts
from titrant.schema.values.frozen import dataclass

_AXES = 2
_TABLES = ("Embedding", "Gather")


@dataclass(frozen=True)
class WeightMatrix:
    """A layer's weights: `outputs` rows of `inputs` numbers; of a table each row is looked up whole."""

    inputs: int
    outputs: int
    is_product: bool


def matrices_of(layer: Layer) -> Iterator[WeightMatrix]:
    """Yield a layer's matrix, none where it has no weights of two axes (leading axes of size 1 do not count).

    Torch writes (out, in), a MatMul (in, out); which way a Gemm has it, its bias shows, which has as many numbers as it
    has outputs: facts do not hold its `transB`.
    """
    shape = layer.weight_shape
    if len(shape) < _AXES or math.prod(shape[:-_AXES]) != 1:
        return
    rows, columns = shape[-_AXES:]
    bias = layer.parameters - rows * columns
    turned = layer.type == "MatMul" or (layer.type == "Gemm" and bias == columns != rows)
    yield WeightMatrix(rows, columns, True) if turned else WeightMatrix(columns, rows, layer.type not in _TABLES)


def turned_copies(model: ModelFacts, products: tuple[str, ...]) -> tuple[Layer, ...]:
    """Return the products whose weight is the table of an embedding: quantized, each way of reading has its copy.

    A tied weight belongs to the first layer that has it, and counts no bytes in the second.
    """
    tables = {layer.weight_shape for layer in model.layers if layer.type in _TABLES and layer.weight_bytes}
    return tuple(
        layer
        for layer in model.layers
        if layer.type in products
        and not layer.unread
        and layer.weight_shape in tables
        and layer.weight_bytes < 4 * math.prod(layer.weight_shape)
    )


def recurrent_sizes(layer: Layer) -> tuple[int, int]:
    """Return how many weights a recurrent layer multiplies by, and how many rows its matrices have, all directions.

    Each row has two biases. Torch's facts show one matrix of as many rows as a direction has; how many directions and
    layers there are follows from the parameters, as if their inputs were as wide as their state.
    """
    shape = layer.weight_shape
    if len(shape) < _AXES:
        return layer.parameters, 0
    *outside, height, width = shape
    directions = math.prod(outside) if outside else max(1, round(layer.parameters / (height * (2 * width + 2))))
    rows = directions * height
    return max(layer.parameters - 2 * rows, 0), rows
