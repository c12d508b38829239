"""What a layer computes is told by its type and the form of its weights."""

import pytest

from titrant.runtime.cost.forward import distinct_layers, is_convolution, is_product, layer_output_bytes
from titrant.schema.facts import Layer, ModelFacts


def of_type(kind, *shape):
    return Layer(kind, kind, 1000, 4000, shape, 64_000)


@pytest.mark.parametrize(
    ("layer", "convolution", "product"),
    [
        (of_type("Conv", 8, 4, 3), True, False),
        (of_type("ConvTranspose2d", 8, 4, 3, 3), True, False),
        (of_type("Gemm", 8, 4), False, True),
        (of_type("MatMul", 2, 8, 4), False, True),
        (of_type("LSTM", 1, 128, 32), False, False),
        (of_type("GRUCell", 96, 32), False, False),
        (of_type("LayerNorm", 32), False, False),
    ],
)
def test_tells_convolutions_products_and_recurrent_layers_apart(layer, convolution, product):
    assert (is_convolution(layer), is_product(layer)) == (convolution, product)


def test_derives_no_output_from_the_weights_of_a_recurrent_layer_and_keeps_types_apart():
    layers = (of_type("MatMul", 8, 4, 4), of_type("LSTM", 8, 4, 4), of_type("Conv", 8, 4, 4))
    model = ModelFacts("onnx", "m", 3000, 0, 12_000, layers, (), ())
    assert layer_output_bytes(model) == 3 * 4 * 64_000 // (2 * 16)
    assert [layer.type for layer, _, _ in distinct_layers(model)] == ["MatMul", "LSTM", "Conv"]
