"""The matrices that layers multiply by or look rows up in, and what of a model is quantized already."""

import math
from collections.abc import Iterator

from titrant.schema.cost import Unmet
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


# Number formats of weights that a method made, and the operators that multiply by them or look them up.
_FEW_BITS = ("int8", "uint8", "int4", "uint4")
_UNPACKING = (
    "DequantizeLinear", "MatMulNBits", "GatherBlockQuantized", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "Conv",
    "ConvTranspose", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "Einsum", "Gather", "LSTM", "GRU",
    "RNN",
)  # fmt: skip
_BEGINS, _ENDS = ("QLinear", "QGemm", "QAttention"), ("Integer", "IntegerToFloat")


def quantized_already(model: ModelFacts) -> tuple[Unmet, ...]:
    """Refuse a graph that holds weights of few bits: rounding what is left would compound unknown errors."""
    types = [
        layer.type
        for layer in model.layers
        if layer.dtype in _FEW_BITS
        and len(layer.weight_shape) >= _AXES
        and (layer.type in _UNPACKING or layer.type.startswith(_BEGINS) or layer.type.endswith(_ENDS))
    ]
    if not types:
        return ()
    named = ", ".join(dict.fromkeys(types))
    cause = f"{len(types)} of its nodes with weights are quantized already ({named})"
    return (Unmet(cause, "give the model in fp32, or use quantization.method none"),)
