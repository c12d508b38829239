"""The ranges of activations that NNCF will set are counted from a forward pass of torch's."""

import re

import pytest
import torch  # noqa: TID253 - the file defines modules
from torch import nn  # noqa: TID253

from titrant.runtime.backends.torch.determinism import plain_attention
from titrant.runtime.inspect.torch_forward import run_forward
from titrant.runtime.values import TorchModel
from titrant.schema.facts import TensorSpec


class Mixed(nn.Module):
    """Convolutions with a gate over their channels, attention over places, a recurrent layer: (batch, 3, 8, 8)."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.squeeze, self.excite = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.layer = nn.LSTM(width, width, 2, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        places = x.flatten(2).transpose(1, 2)
        read = self.norm(places)
        places = places + self.attention(read, read, read, need_weights=False)[0]
        return self.head(self.layer(places)[0][:, -1])


def seen(module, *shape):
    spec = TensorSpec("x", ("batch", *shape), "float32")
    with plain_attention():
        return run_forward("a net", module.eval(), (spec,), "unlabeled")


def ranges(module, *shape):
    return seen(module, *shape).exported.ranges


def test_counts_as_many_as_nncf_sets(rows, apply):
    pytest.importorskip("nncf")
    torch.manual_seed(0)
    module = Mixed().eval()
    model = TorchModel(module, "m:Mixed", {}, "", (("x", ("batch", 3, 8, 8), "float32"),), ("logits",))
    example = rows(3, 8, 8)
    plain = apply("export.onnx", {"model": model, "example": example}).outputs["model"]
    made = apply("quantize.openvino_ptq", {"model": plain, "calibration": example}).outputs["model"]
    text = made.path.read_text()
    assert text.count('type="FakeQuantize"') == ranges(module, 3, 8, 8)
    assert re.findall(r'name="/(\w+)/Conv[^"]*/fq_weights', text) == ["stem"]


class Cut(nn.Module):
    """Halves of a product's answers, of which the second is read as `read` says: (batch, 4) → (batch, 2)."""

    def __init__(self, read):
        super().__init__()
        self.first, self.second, self.read = nn.Linear(4, 4), nn.Linear(2, 2), read

    def forward(self, x):
        left, right = self.first(x).view(-1, 2, 2).unbind(1)
        return self.second(left) + self.read(right)


def test_needs_one_range_where_all_that_reads_a_tensor_wants_one():
    assert ranges(Cut(nn.Linear(2, 2)), 4) == 1 + 1 + 2  # the input, both halves at once, two operands of the sum


def test_needs_one_for_each_reader_where_one_stays_in_float():
    assert ranges(Cut(torch.tanh), 4) == 1 + 1 + 2  # the input, the left half, two operands of the sum


def test_names_the_products_that_compute_gates_of_channels():
    assert seen(Mixed(), 3, 8, 8).excitations == {"squeeze", "excite"}


@pytest.mark.parametrize("active", [torch.relu, nn.functional.silu, nn.PReLU(), nn.functional.leaky_relu])
@pytest.mark.parametrize("gate", [torch.sigmoid, lambda x: nn.functional.relu6(x + 3) / 6])
def test_names_them_with_every_activation_and_sigmoid_that_nncf_knows(active, gate):
    gated = Mixed()
    gated.forward = lambda x: x * gate(gated.excite(active(gated.squeeze(x.mean((2, 3), keepdim=True)))))
    assert seen(gated, 8, 8, 8).excitations == {"squeeze", "excite"}


def test_names_none_where_nncf_finds_no_gates():
    gated = Mixed()
    inner = lambda x: torch.relu(gated.squeeze(x.mean((2, 3), keepdim=True)))  # noqa: E731
    gated.forward = lambda x: x * nn.functional.hardsigmoid(gated.excite(inner(x)))
    assert seen(gated, 8, 8, 8).excitations == set()
    gated.forward = lambda x: gated.excite(torch.relu(gated.squeeze(x[:, :1].expand(-1, 8, -1, -1))))
    assert seen(gated, 3, 8, 8).excitations == set()
    unbiased = Mixed()
    unbiased.squeeze.bias = None
    assert seen(unbiased, 3, 8, 8).excitations == set()


def test_follows_a_thousand_concatenations():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2, 2)

        def forward(self, x):
            kept = x
            for _ in range(1200):
                kept = torch.cat((kept, x), 1)[:, -2:].view(-1, 2)
            return self.head(kept)

    assert ranges(Growing(), 2) > 0
