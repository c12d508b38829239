"""What multiplies by no weights is counted by kind, with what it reads and writes for one case."""

import onnx  # noqa: TID253 - the tests build tiny graphs and modules
import pytest
import torch  # noqa: TID253
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from titrant.runtime.inspect.operation_work import OPERATION_KINDS, graph_work
from titrant.runtime.inspect.torch import describe_live
from titrant.schema.facts import TensorSpec
from titrant.schema.seen import OperationWork

PLACES, WIDTH, HEADS = 6, 8, 2


class Attends(nn.Module):
    """Attention written out: (batch, places, width) → the same."""

    def __init__(self):
        super().__init__()
        self.qkv, self.norm = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.LayerNorm(WIDTH)
        self.register_buffer("table", torch.ones(PLACES, WIDTH))

    def forward(self, x):
        batch = len(x)
        parts = self.qkv(self.norm(x) + torch.sin(self.table)).view(batch, PLACES, 3, HEADS, WIDTH // HEADS)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = torch.softmax(q @ k.transpose(2, 3), -1) @ v
        return x + functional.gelu(seen.transpose(1, 2).reshape(batch, PLACES, WIDTH))


def work_of(module, *shape):
    return describe_live(module, [TensorSpec("x", ("batch", *shape), "float32")]).work


def test_counts_what_attention_does_beside_its_layers_for_one_case():
    work = work_of(Attends().eval(), PLACES, WIDTH)
    numbers, scores = 4 * PLACES * WIDTH, 4 * HEADS * PLACES * PLACES
    assert set(work) <= set(OPERATION_KINDS)
    # Both products, by no weights: scores, and what is made of them.
    assert work["product"] == OperationWork(
        2, 2 * numbers + scores + numbers, scores + numbers, 4 * scores // 4 * WIDTH // HEADS
    )
    assert work["exponential"] == OperationWork(2, scores + numbers, scores + numbers)
    # A sum with a constant, and one with the input: the sine of a table is no work of a forward pass.
    assert work["elementwise"] == OperationWork(2, 3 * numbers, 2 * numbers)
    assert work["normalization"].count == 1


@pytest.mark.parametrize("fused", [False, True])
def test_tells_torchs_attention_from_its_weights(fused):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=not fused)[0]

    facts = describe_live(Net().eval(), [TensorSpec("x", ("batch", PLACES, WIDTH), "float32")])
    products = 2 * 2 * PLACES * PLACES * WIDTH
    assert facts.work["product"].flops == products
    assert facts.work["exponential"].written_bytes == 4 * HEADS * PLACES * PLACES
    layer = next(layer for layer in facts.layers if layer.type == "MultiheadAttention")
    assert layer.flops == facts.flops - products == 2 * PLACES * 4 * WIDTH * WIDTH


def test_leaves_the_steps_of_a_recurrent_layer_to_the_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.LSTM(4, 8, batch_first=True)

        def forward(self, x):
            return functional.relu(self.steps(x)[0][:, -1])

    short, long = (work_of(Net().eval(), steps, 4) for steps in (3, 30))
    assert short["elementwise"] == long["elementwise"] == OperationWork(1, 32, 32)
    assert "exponential" not in short


def graph(*nodes, constants=()):
    made = helper.make_graph(
        list(nodes), "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], list(constants),
    )  # fmt: skip
    return onnx.shape_inference.infer_shapes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])).graph


def test_counts_the_nodes_of_a_graph_alike_and_what_rests_on_constants_not_at_all():
    weight = numpy_helper.from_array(torch.ones(4, 4).numpy(), "w")
    nodes = [
        helper.make_node("Sin", ["w"], ["v"]), helper.make_node("MatMul", ["x", "v"], ["a"]),
        helper.make_node("Transpose", ["a"], ["t"]), helper.make_node("MatMul", ["t", "a"], ["b"]),
        helper.make_node("Softmax", ["b"], ["y"]),
    ]  # fmt: skip
    made = graph(*nodes, constants=[weight])
    shapes = {"x": (2, 4), "w": (4, 4), "v": (4, 4), "a": (2, 4), "t": (4, 2), "b": (4, 4), "y": (4, 4)}
    counted = [(node, {"a": 64, "b": 64}.get(node.output[0], 0)) for node in made.node]
    work = graph_work(counted, ["w"], shapes, 2)
    assert work == {
        "exponential": OperationWork(1, 32, 32),
        "product": OperationWork(1, 32, 32, 32),
        "strided": OperationWork(1, 16, 16),
    }


@pytest.mark.parametrize(
    ("joins", "kind"),
    [
        (lambda x: torch.stack((x, x), -1), "scattered"),
        (lambda x: torch.stack((x, x), 1), "copy"),
        (lambda x: torch.cat((x[..., :3], x[..., 3:]), -1), "scattered"),
        (lambda x: torch.cat((x, x), dim=1), "copy"),
        (lambda x: torch.cat((x, x)), "copy"),
    ],
)
def test_tells_joins_of_few_numbers_at_a_time_from_others(joins, kind):
    class Net(nn.Module):
        def forward(self, x):
            return joins(x)[: len(x)]

    work = work_of(Net(), 5, 32)
    assert (kind in work, {"copy", "scattered"} & set(work)) == (True, {kind})


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([functional.relu, functional.gelu, torch.tanh]))
def test_bytes_follow_the_shape(rows, width, function):
    class Net(nn.Module):
        def forward(self, x):
            return function(x)

    (work,) = work_of(Net(), rows, width).values()
    assert work == OperationWork(1, 4 * rows * width, 4 * rows * width)
