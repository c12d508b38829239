"""A file for MLX gives a module that is written in MLX the answers of the torch module whose weights it has."""

import copy

import numpy as np
import pytest
import torch  # noqa: TID253 - the modules are its
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253 - the modules are its

import titrant
from titrant.api.live.values import live_model
from titrant.runtime.backends import backend
from titrant.runtime.backends.mlx.weights import (
    MlxModel,
    dequantized,
    described,
    layers_of,
    quantizable,
    quantized,
    tensors_of,
    write,
)
from titrant.schema.diagnostics.diagnostics import StepError

mx = pytest.importorskip("mlx.core", reason="MLX runs nothing without it: pip install 'mlx[cpu]'")
mlx = pytest.importorskip("mlx.nn", reason="MLX runs nothing without it: pip install 'mlx[cpu]'")

WORDS = torch.tensor([[1, 2, 3, 4, 5, 6], [0, 9, 9, 1, 0, 7]])
KINDS = backend.kinds()


class Net(nn.Module):
    """Every layer whose weight MLX has otherwise or alike: (batch, words) → (batch, 5)."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 64)
        self.line = nn.Conv1d(64, 32, 3, padding=1)
        self.up = nn.ConvTranspose1d(32, 64, 2, stride=2)
        self.image = nn.Conv2d(1, 4, (3, 5), padding=(1, 2), bias=False)
        self.scaled = nn.BatchNorm2d(4)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 5)

    def forward(self, x):
        features = self.up(torch.relu(self.line(self.table(x).transpose(1, 2)))).transpose(1, 2)
        image = self.scaled(self.image(features[:, None]))
        return self.head(self.norm(image.sum(1)).mean(1))


class InMlx(mlx.Module):
    """The same, as somebody writes it in MLX."""

    def __init__(self):
        super().__init__()
        self.table = mlx.Embedding(10, 64)
        self.line = mlx.Conv1d(64, 32, 3, padding=1)
        self.up = mlx.ConvTranspose1d(32, 64, 2, stride=2)
        self.image = mlx.Conv2d(1, 4, (3, 5), padding=(1, 2), bias=False)
        self.scaled = mlx.BatchNorm(4)
        self.norm = mlx.LayerNorm(64)
        self.head = mlx.Linear(64, 5)

    def __call__(self, x):
        features = self.up(mlx.relu(self.line(self.table(x))))
        image = self.scaled(self.image(features[..., None]))
        return self.head(self.norm(image.sum(-1)).mean(1))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = Net()
    made(torch.randint(0, 10, (8, 6)))  # running averages of its own
    return made.eval()


def in_mlx(file, bits=None):
    model = InMlx()
    if bits:
        mlx.quantize(model, group_size=64, bits=bits)
    model.load_weights(str(file))
    model.eval()
    return np.array(model(mx.array(WORDS.numpy())))


def test_plain_weights_answer_in_mlx_as_in_torch(net, tmp_path):
    written = titrant.export(net, "mlx", tmp_path / "net", inputs=WORDS)
    assert written.path == tmp_path / "net.safetensors"
    assert written.relative == 0.0
    np.testing.assert_allclose(in_mlx(written.path), net(WORDS).numpy(force=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_weights_answer_in_mlx_as_the_ones_that_are_judged(bits, net, tmp_path):
    layers = quantizable(net)
    assert layers == ("table", "head")
    live = live_model(net, {"x": WORDS.numpy()})
    file = write(live, tmp_path / "model.safetensors", bits=bits, layers=layers).path
    judged = KINDS["mlx"].weights_into(file, live).module(WORDS).numpy(force=True)
    np.testing.assert_allclose(in_mlx(file, bits), judged, rtol=1e-5, atol=1e-6)
    assert 0 < np.abs(judged - net(WORDS).numpy(force=True)).max() < {4: 0.3, 8: 0.03}[bits]


def test_says_which_layers_are_in_which_precision(torch_model, tmp_path):
    model = torch_model("Lookup", 4, size=8)
    file = write(model, tmp_path / "model.safetensors", bits=4, layers=["table"])
    executed = {layer.name: (layer.precision, layer.engine_op) for layer in layers_of(file, ["head", "table"])}
    assert executed["head"] == ("fp32", "Linear")
    assert executed["table"] == ("int4", "QuantizedEmbedding")


def test_writes_a_weight_that_layers_share_once(torch_model, tmp_path):
    torch.manual_seed(1)
    shared = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    shared[1].weight = shared[0].weight
    rows = {"input": np.ones((2, 64), np.float32)}
    live = live_model(shared, rows)
    model = write(live, tmp_path / "model.safetensors", bits=8, layers=quantizable(shared))
    back = KINDS["mlx"].weights_into(model.path, live).module
    assert back[0].weight is back[1].weight
    weight = dequantized(quantized(shared[0].weight.detach(), 8), 8)
    assert torch.equal(back[0].weight, weight)


def test_calls_every_layer_of_a_shared_weight_quantized(torch_model, tmp_path):
    model = torch_model("SharedSquare", 256)
    file = write(model, tmp_path / "model.safetensors", bits=8, layers=quantizable(model.module))
    ran = layers_of(file, ["first", "second", "head"])
    assert {layer.name: layer.precision for layer in ran} == dict.fromkeys(("first", "second", "head"), "int8")


@settings(max_examples=25)
@given(
    kind=st.sampled_from((nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.lists(st.integers(1, 3), min_size=3, max_size=3),
)
def test_puts_any_convolution_back_as_it_was(tmp_path_factory, kind, channels, kernel):
    layer = kind(*channels, tuple(kernel[: int(kind.__name__[-2])]))
    live = live_model(layer, {"input": np.ones((1, channels[0], *[4] * int(kind.__name__[-2])), np.float32)})
    model = write(live, tmp_path_factory.mktemp("c") / "model.safetensors")
    back = tensors_of(model, described(model))
    assert {name: value.tolist() for name, value in back.items()} == {
        name: value.tolist() for name, value in copy.deepcopy(layer).state_dict().items()
    }
    written = mx.load(str(model.path))["weight"]
    into = channels[1] if "Transpose" in kind.__name__ else layer.weight.shape[0]
    assert written.shape[0] == into
    assert written.shape[-1] == channels[0]


def test_refuses_a_file_that_is_not_in_its_layout(net, tmp_path):
    file = titrant.export(net, "safetensors", tmp_path / "plain", inputs=WORDS).path
    with pytest.raises(StepError, match=r"X212: mlx cannot load plain\.safetensors"):
        described(MlxModel(file))
