"""Parameters and FLOPs of a module and of the ONNX files made from it are the same, and as one counts by hand."""

import sys
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - the tests export tiny modules
import pytest
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from titrant.recipes.models import DigitsNet, SmallCnn, TabularNet
from titrant.runtime.backends.torch.determinism import plain_attention
from titrant.runtime.data.parameters import File
from titrant.runtime.inspect.onnx import describe_onnx
from titrant.runtime.inspect.torch import describe_live
from titrant.runtime.operators.export.onnx import quiet_export
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams
from titrant.schema.facts import TensorSpec

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))
from resnet20 import ResNet20

WIDTH, HEADS, PLACES, WORDS, INNER = 16, 4, 12, 50, 32


class Writer(nn.Module):
    """A small transformer whose output layer is its table of words: (batch, 12) → (batch, 13, 50)."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.places = nn.Parameter(torch.zeros(1, PLACES, WIDTH))
        self.first = nn.Parameter(torch.zeros(1, 1, WIDTH))
        block = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, batch_first=True, activation="gelu")
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, WORDS, bias=False)
        self.out.weight = self.words.weight

    def forward(self, words):
        x = torch.cat([self.first.expand(words.shape[0], -1, -1), self.words(words) + self.places], 1)
        return self.out(self.norm(self.blocks(x)))


class Neck(nn.Module):
    """A block as in ResNets, MobileNets and their kin: narrow, depthwise, squeezed and excited, scaled."""

    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(
            nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU6(),
            nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4), nn.Hardswish(),
            nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8),
        )  # fmt: skip
        self.excite = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.SiLU(), nn.Conv2d(2, 8, 1))
        self.scale = nn.Parameter(torch.zeros(8, 1, 1))

    def forward(self, x):
        y = self.part(x)
        return x + self.scale * y * self.excite(y).sigmoid()


class Listens(nn.Module):
    """A recurrent layer and a linear one: (batch, 7, 6) → (batch, 3)."""

    def __init__(self, kind, **settings):
        super().__init__()
        self.layer = kind(6, 5, batch_first=True, **settings)
        self.head = nn.Linear(10 if settings.get("bidirectional") else 5, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


def norms():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.InstanceNorm2d(8), nn.InstanceNorm2d(8, affine=True), nn.PReLU(),
        nn.PReLU(8), nn.ConvTranspose2d(8, 4, 2, stride=2), nn.LayerNorm([4, 12, 12]), nn.Flatten(), nn.Linear(576, 1),
    )  # fmt: skip


IMAGE = (8, 6, 6)
CONVOLUTIONS = 2 * 36 * (8 * 4 + 4 * 9 + 4 * 8) + 2 * (8 * 2 + 2 * 8)
BLOCK = 2 * 13 * (4 * WIDTH * WIDTH + 2 * WIDTH * INNER) + 2 * 2 * 13 * 13 * WIDTH
# What builds it, the shape and dtype of a case, and by hand: parameters, channels of batch normalization, FLOPs.
MODELS = {
    "tabular": (lambda: TabularNet(30, 2), (30,), "float32", 12_354, 0, 2 * (30 * 128 + 128 * 64 + 64 * 2)),
    "digits": (
        DigitsNet, (1, 8, 8), "float32", 260_682, 384,
        2 * (64 * 64 * 9 * (1 + 64) + 16 * 9 * 128 * (64 + 128) + 128 * 10),
    ),
    "small cnn": (
        SmallCnn, (1, 28, 28), "float32", 93_154, 224,
        2 * (784 * 32 * 9 + 196 * 64 * 32 * 9 + 49 * 128 * 64 * 9 + 128 * 2),
    ),
    "resnet-20": (ResNet20, (3, 32, 32), "float32", 269_722, 688, 81_102_080),
    "neck": (
        Neck, IMAGE, "float32", 8 * 4 + 4 * 9 + 4 * 8 + 2 * (4 + 4 + 8) + (8 * 2 + 2) + (2 * 8 + 8) + 8, 16,
        CONVOLUTIONS,
    ),
    "norms": (
        norms, (3, 8, 8), "float32", 8 * 28 + 16 + 16 + 1 + 8 + (8 * 4 * 4 + 4) + 2 * 576 + 577, 0,
        2 * 36 * 8 * 27 + 2 * 8 * 36 * 16 + 2 * 576,
    ),
    "lstm": (
        lambda: Listens(nn.LSTM, num_layers=2, bidirectional=True), (7, 6), "float32",
        2 * 20 * (6 + 5 + 2) + 2 * 20 * (10 + 5 + 2) + 33, 0, 7 * 2 * 2 * 20 * (11 + 15) + 2 * 30,
    ),
    "gru": (lambda: Listens(nn.GRU, bias=False), (7, 6), "float32", 15 * 11 + 18, 0, 7 * 2 * 15 * 11 + 2 * 15),
    "rnn": (lambda: Listens(nn.RNN), (7, 6), "float32", 5 * 13 + 18, 0, 7 * 2 * 5 * 11 + 2 * 15),
    "transformer": (
        Writer, (PLACES,), "int64",
        WORDS * WIDTH + (PLACES + 1) * WIDTH + 2 * (4 * WIDTH * (WIDTH + 1) + (WIDTH + 1) * INNER
        + (INNER + 1) * WIDTH + 4 * WIDTH) + 2 * WIDTH, 0, 2 * BLOCK + 2 * 13 * WIDTH * WORDS,
    ),
}  # fmt: skip
# Files made smaller from one of each sort.
REDUCED = ("neck", "lstm", "tabular")


def facts_of(file):
    return describe_onnx(ModelLoadOnnxParams(onnx=File(path=str(file), digest="d")), None)


def module_of(name):
    """Build a model whose weights all differ, as they do after training: equal ones are written once."""
    build, shape, dtype, *_ = MODELS[name]
    torch.manual_seed(0)
    module = build().eval()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return module, torch.zeros(2, *shape, dtype=getattr(torch, dtype))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export a model once, with a free batch."""
    folder = tmp_path_factory.mktemp("exported")

    def export(name):
        file = folder / f"{name}.onnx"
        if not file.exists():
            module, example = module_of(name)
            with torch.no_grad(), plain_attention(), quiet_export():
                torch.onnx.export(
                    module, (example,), str(file), dynamo=False, opset_version=17, input_names=["x"],
                    output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
                )  # fmt: skip
        return file

    return export


@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_the_module_and_with_what_one_counts_by_hand(name, exported):
    *_, parameters, normalized, flops = MODELS[name]
    module, example = module_of(name)
    spec = TensorSpec("x", ("batch", *example.shape[1:]), str(example.dtype).removeprefix("torch."))
    live, file = describe_live(module, (spec,)), facts_of(exported(name))
    assert (live.parameters, live.flops) == (parameters, flops)
    # Of scale and bias of a batch normalization export leaves the bias of a convolution.
    assert (file.parameters, file.flops) == (parameters - normalized, flops)
    assert sum(layer.parameters for layer in file.layers) == file.parameters
    assert sum(layer.flops or 0 for layer in file.layers) == file.flops
    assert not [note for note in (*live.notes, *file.notes) if "FLOPs" in note]


class Rows:
    """Two batches to look at, as onnxruntime's calibration reads them."""

    def __init__(self, shape):
        generator = np.random.default_rng(0)
        self.batches = [{"x": generator.normal(size=(2, *shape)).astype(np.float32)} for _ in range(2)]

    def get_next(self):
        return self.batches.pop() if self.batches else None


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", REDUCED)
def test_counts_an_int8_file_as_the_one_it_was_made_from(name, per_channel, exported, tmp_path):
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    source, shape = exported(name), MODELS[name][1]
    wanted = facts_of(source)
    quantize_dynamic(source, tmp_path / "dynamic.onnx", per_channel=per_channel, weight_type=QuantType.QInt8)
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(source, tmp_path / f"{form.name}.onnx", Rows(shape), form, per_channel=per_channel)
    for file in sorted(tmp_path.glob("*.onnx")):
        found = facts_of(file)
        assert (file.stem, found.parameters, found.flops) == (file.stem, wanted.parameters, wanted.flops)
        assert found.weight_bytes < wanted.weight_bytes
        if file.stem == "QDQ":  # what is unpacked first is the layer's
            assert parameters_by_name(found) == parameters_by_name(wanted)
            products = [
                layer for layer in found.layers if layer.type in ("Conv", "MatMul", "Gemm") and layer.weight_bytes
            ]
            assert {layer.dtype for layer in products} == {"int8"}


def parameters_by_name(facts):
    return {layer.name: layer.parameters for layer in facts.layers if layer.parameters}


def test_counts_one_case_where_a_file_insists_on_several(exported, tmp_path):
    model = onnx.load(exported("resnet-20"))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "four.onnx")
    one, four = facts_of(exported("resnet-20")), facts_of(tmp_path / "four.onnx")
    assert (four.flops, four.activation_bytes) == (one.flops, one.activation_bytes)
    assert [layer.flops for layer in four.layers] == [layer.flops for layer in one.layers]
