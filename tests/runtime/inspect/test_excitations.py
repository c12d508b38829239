"""Which products of an ONNX graph compute gates of channels, which NNCF leaves in float."""

import onnx.parser  # noqa: TID253 - the file writes graphs
import pytest

from titrant.runtime.inspect.graph.excitations import excitations

WEIGHTS = ("w", "b", "v", "c", "three", "six", "low", "slope")
SQUEEZE = "mean = GlobalAveragePool(x) inner = Conv(mean, w, b)"
RELU, SIGMOID, GATED = "active = Relu(inner)", "gate = Sigmoid(outer)", "y = Mul(x, gate)"
EXCITE = "outer = Conv(active, v, c)"
PIECES = "moved = Add(outer, three) cut = Clip(moved, low, six) gate = {}(cut, six)"


def gates(*parts):
    """Name the outputs of the nodes that are found in a graph of these parts."""
    text = "g (float[1, 8, 4, 4] x) => (float[1, 8, 4, 4] y) {" + " ".join(parts) + "}"
    graph = onnx.parser.parse_graph(text)
    return {graph.node[place].output[0] for place in excitations(graph, WEIGHTS)}


@pytest.mark.parametrize(
    "parts",
    [
        (SQUEEZE, RELU, EXCITE, SIGMOID, GATED),
        (SQUEEZE, RELU, EXCITE, SIGMOID, "y = Mul(gate, x)"),
        (SQUEEZE.replace("GlobalAveragePool", "ReduceMean"), "active = PRelu(inner, slope)", EXCITE, SIGMOID, GATED),
        (SQUEEZE, "half = Sigmoid(inner) active = Mul(inner, half)", EXCITE, SIGMOID, GATED),
        (SQUEEZE, "half = Sigmoid(inner) active = Mul(half, inner)", EXCITE, SIGMOID, GATED),
        (SQUEEZE, RELU, EXCITE, PIECES.format("Div"), GATED),
        (SQUEEZE, RELU, EXCITE, PIECES.format("Mul"), GATED),
    ],
)
def test_finds_both_products_of_what_nncf_leaves_in_float(parts):
    assert gates(*parts) == {"inner", "outer"}


def test_finds_products_whose_biases_are_added_behind():
    added = "mean = ReduceMean(x) product = MatMul(mean, w) inner = Add(b, product)"
    excite = "wide = MatMul(active, v) outer = Add(wide, c)"
    assert gates(added, RELU, excite, SIGMOID, GATED) == {"product", "wide"}


@pytest.mark.parametrize(
    "parts",
    [
        (SQUEEZE, RELU, EXCITE, "gate = HardSigmoid(outer)", GATED),  # NNCF knows another operation of that name
        (SQUEEZE, "active = Gelu(inner)", EXCITE, SIGMOID, GATED),
        (SQUEEZE, "half = Sigmoid(mean) active = Mul(inner, half)", EXCITE, SIGMOID, GATED),
        (SQUEEZE.replace(", b)", ")"), RELU, EXCITE, SIGMOID, GATED),
        (SQUEEZE, RELU, EXCITE.replace(", c)", ")"), SIGMOID, GATED),
        (SQUEEZE.replace("GlobalAveragePool", "AveragePool"), RELU, EXCITE, SIGMOID, GATED),
        (SQUEEZE, RELU, EXCITE, SIGMOID, "y = Add(x, gate)"),
        (SQUEEZE, RELU, EXCITE, "moved = Add(outer, mean) cut = Clip(moved, low, six) gate = Div(cut, six)", GATED),
        ("y = Mul(x, w)",),
        ("half = Sigmoid(x) y = Mul(x, half)",),
    ],
)
def test_finds_none_where_nncf_finds_none(parts):
    assert gates(*parts) == set()
