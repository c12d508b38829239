"""Counts and summaries of live modules."""

import mlx.nn
import numpy as np
import onnx  # noqa: TID253
import pytest
import safetensors.torch
import torch  # noqa: TID253 - the tests build tiny modules
from torch import nn  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253

import titrant


class Tied(nn.Module):
    """Two layers that share a weight, one frozen parameter, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.ones(2, dtype=torch.float16), requires_grad=False)
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("scratch", torch.zeros(5), persistent=False)


def test_counts_tied_weights_once():
    assert titrant.count_parameters(Tied()) == titrant.Counts(total=14, trainable=12, bytes=12 * 4 + 2 * 2)


def test_counts_on_the_meta_device():
    with torch.device("meta"):
        module = nn.Linear(1 << 20, 1 << 20, bias=False)
    assert titrant.count_parameters(module).bytes == 4 << 40
    line = titrant.summary(module).lines[0]
    assert (line.mean, line.ok) == (None, True)


@pytest.mark.parametrize("kind", [nn.Linear, nn.LSTM])
def test_counts_what_torch_packs(kind):
    module = nn.Sequential(kind(6, 4), nn.Identity())
    packed = torch.ao.quantization.quantize_dynamic(module, {kind})
    whole, counts = titrant.count_parameters(module), titrant.count_parameters(packed)
    assert (counts.total, counts.trainable) == (whole.total, 0)
    assert counts.bytes < whole.bytes
    assert next(line.dtype for line in titrant.summary(packed).lines if "weight" in line.name) == "qint8"


@pytest.mark.parametrize("method", ["int8", "nf4"])
def test_counts_the_numbers_of_a_layer_in_few_bits(method):
    module = nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 3))
    given = (module, {"input": torch.ones(2, 64)})
    made = titrant.apply(f"quantize.bnb_{method}", {"model": given}).outputs["model"].module
    assert titrant.count_parameters(made).total == titrant.count_parameters(module).total
    layers = titrant.layers(made, torch.ones(2, 64), seconds=0.01)
    assert layers.parameters == titrant.count_parameters(module).total


def test_lists_every_parameter_and_saved_buffer():
    found = titrant.summary(Tied())
    assert [(line.name, line.count, line.tied, line.trainable) for line in found.lines] == [
        ("scale", 2, "", False),
        ("first.weight", 9, "", True),
        ("first.bias", 3, "", True),
        ("second.weight", 9, "first.weight", True),
        ("mean", 2, "", False),
    ]
    assert found.ok
    assert found.counts.total == 14


def test_gives_statistics_over_what_is_finite_and_names_what_is_not():
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 3.0], [float("nan"), float("-inf")]]))
        module.bias.fill_(float("nan"))
    weight, bias = titrant.summary(module).lines
    assert (weight.mean, weight.deviation, weight.minimum, weight.maximum) == (2.0, 1.0, 1.0, 3.0)
    assert weight.verdict == "bad: 1 NaN, 1 infinite"
    assert (bias.mean, bias.verdict) == (None, "bad: 2 NaN")
    assert not titrant.summary(module).ok


def test_writes_a_line_a_parameter():
    text = str(titrant.summary(Tied()))
    assert len(text.splitlines()) == 7
    assert "tied to first.weight" in text
    assert text.endswith("14 parameters, 12 trainable, 52 B; tied weights counted once")


class Embedded(nn.Module):
    """A small language model whose head is its embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.mix = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.norm.running_mean += 0.5  # torch writes equal tensors once
        self.norm.running_var += 0.5
        self.head = nn.Linear(4, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.norm(self.mix(self.embed(tokens)).relu()))


# 11 * 4, 4 * 4 + 4, 2 * 4: what torchinfo gives too.
EMBEDDED = 72


@pytest.fixture
def onnx_file(tmp_path):
    file = tmp_path / "model.onnx"
    torch.onnx.export(
        Embedded().eval(), (torch.zeros(2, dtype=torch.int64),), file, dynamo=False, input_names=["tokens"],
        do_constant_folding=False,
    )  # fmt: skip
    return file


def test_counts_the_parameters_of_an_onnx_file_once(onnx_file):
    counts = titrant.count_parameters(onnx_file)
    assert (titrant.count_parameters(Embedded()).total, counts.total, counts.trainable) == (EMBEDDED, EMBEDDED, 0)
    assert counts.bytes == 4 * EMBEDDED
    found = titrant.summary(str(onnx_file))
    assert found.counts == counts
    assert {line.name for line in found.lines if not line.parameters} >= {"norm.running_mean", "norm.running_var"}
    weight = next(line for line in found.lines if line.name == "embed.weight")
    assert (weight.shape, weight.dtype, weight.mean is None, weight.trainable) == ((11, 4), "float32", False, False)


def test_reads_weights_outside_an_onnx_file_and_ties_those_that_share_their_bytes(onnx_file, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    model = onnx.load(onnx_file)
    model.graph.initializer[0].raw_data = np.full(model.graph.initializer[0].dims, np.nan, np.float32).tobytes()
    onnx.save(model, outside / "m.onnx", save_as_external_data=True, size_threshold=0, location="m.data")
    inside = titrant.summary(onnx_file)
    found = titrant.summary(outside / "m.onnx")
    assert found.counts == inside.counts
    assert [line.name for line in found.lines if not line.ok] == [model.graph.initializer[0].name]
    shared = onnx.load(outside / "m.onnx", load_external_data=False)
    mix, norm = (
        next(each for each in shared.graph.initializer if each.name == name) for name in ("mix.bias", "norm.bias")
    )
    for entry, other in zip(norm.external_data, mix.external_data, strict=True):
        entry.value = other.value
    onnx.save(shared, outside / "tied.onnx")
    assert (
        next(line.tied for line in titrant.summary(outside / "tied.onnx").lines if line.name == norm.name) == "mix.bias"
    )
    assert titrant.count_parameters(outside / "tied.onnx").total == EMBEDDED - 4
    (outside / "m.data").write_bytes(b"")
    with pytest.raises(titrant.TitrantError, match=r"X160|P080"):
        titrant.summary(outside / "m.onnx")


def test_reads_a_safetensors_file(tmp_path):
    layer = nn.BatchNorm1d(4).to(torch.bfloat16)
    safetensors.torch.save_file(layer.state_dict(), tmp_path / "norm.safetensors")
    found = titrant.summary(tmp_path / "norm.safetensors")
    assert found.counts == titrant.count_parameters(str(tmp_path / "norm.safetensors")) == titrant.Counts(8, 0, 16)
    assert {line.name: line.mean for line in found.lines}["weight"] == 1.0


def test_reads_programs_and_scripts_frozen_or_not(tmp_path):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    rows = torch.ones(2, 3)
    torch.export.save(torch.export.export(net, (rows,)), tmp_path / "net.pt2")
    traced = torch.jit.trace(net, rows)
    traced.save(tmp_path / "traced.pt")
    torch.jit.freeze(traced).save(tmp_path / "frozen.pt")
    for file, names in (
        ("net.pt2", ["0.weight", "0.bias", "2.weight", "2.bias"]),
        ("traced.pt", ["0.weight", "0.bias", "2.weight", "2.bias"]),
        ("frozen.pt", ["linear_0.weight", "linear_0.bias", "linear_1.weight", "linear_1.bias"]),
    ):
        found = titrant.summary(tmp_path / file)
        assert [line.name for line in found.lines] == names
        assert found.counts == titrant.Counts(26, 0, 4 * 26)
        assert found.lines[0].mean == pytest.approx(net[0].weight.double().mean().item())
    (tmp_path / "other.pt2").write_bytes(b"nothing")
    with pytest.raises(titrant.TitrantError, match="X212"):
        titrant.summary(tmp_path / "other.pt2")


def test_counts_mlx_modules_as_torch_does():
    class Net(mlx.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [mlx.nn.Linear(64, 64), mlx.nn.BatchNorm(64)]
            self.head = mlx.nn.Linear(64, 64, bias=False)
            self.head.weight = self.layers[0].weight

    net = Net()
    net.layers[0].freeze(keys=["bias"])
    assert titrant.count_parameters(net) == titrant.Counts(64 * 64 + 64 + 128, 64 * 64 + 128, 4 * (64 * 64 + 192))
    found = titrant.summary(net)
    assert [(line.name, line.tied) for line in found.lines if line.tied] == [("head.weight", "layers.0.weight")]
    assert found.ok
    mlx.nn.quantize(net, bits=4)
    assert titrant.count_parameters(net).total == 2 * 64 * 64 + 64 + 128


def test_counts_a_scripted_module():
    assert titrant.count_parameters(torch.jit.script(nn.Linear(3, 3))).total == 12
    assert titrant.summary(torch.jit.script(nn.BatchNorm1d(2))).counts.total == 4


class Largest(TorchDispatchMode):
    """Keeps the most bytes that one call made anew; views make none."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and not func.is_view:
            self.bytes = max(self.bytes, made.nbytes)
        return made


def test_copies_no_parameter_whole():
    module = nn.Linear(2048, 1024, bias=False).to(torch.bfloat16)
    with Largest() as largest:
        titrant.summary(module)
    assert 0 < largest.bytes <= 8 << 20


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("model.pt", "P080.*load it and give the module"),
        ("nothing.safetensors", "X702.*there is no file"),
    ],
)
def test_refuses_other_files(model, words):
    with pytest.raises(titrant.TitrantError, match=words):
        titrant.count_parameters(model)


def test_refuses_what_is_no_model():
    with pytest.raises(TypeError, match="a list has no parameters to count: give a torch or MLX module"):
        titrant.count_parameters([torch.ones(2)])


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (nn.Transformer, 44_140_544),  # as torchinfo and the papers that use it say
        (lambda: nn.TransformerEncoderLayer(768, 12, 3072), 7_087_872),  # one of BERT base's twelve
        (lambda: nn.LSTM(128, 256, num_layers=2, bidirectional=True), 2_367_488),
        (lambda: nn.Conv2d(3, 64, 7, bias=False), 9_408),  # the first of ResNet
    ],
)
def test_counts_what_others_count(make, parameters):
    with torch.device("meta"):
        assert titrant.count_parameters(make()).total == parameters
