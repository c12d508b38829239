"""export.onnx takes TorchScript and torch.export files: free batch, branches kept, layers that keep their names."""

import warnings
from functools import cache

import numpy as np
import pytest
import torch  # noqa: TID253 - the file defines torch modules
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253

from titrant.runtime.api import apply as apply_operator
from titrant.runtime.backends import backend
from titrant.runtime.backends.torch.program.original import kept_program, kept_script
from titrant.runtime.backends.torch.session import Border
from titrant.runtime.values import OnnxModel, Rows
from titrant.schema.diagnostics.diagnostics import PreconditionError

FEATURES, COUNT = 12, 8


class Convolutional(nn.Module):
    """A convolution whose normalization folds into it, and a linear layer: (batch, 12) → (batch, 3)."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(1, 4, 3, bias=False)
        self.normalization = nn.BatchNorm1d(4)
        self.head = nn.Linear(40, 3)

    def forward(self, x):
        features = torch.relu(self.normalization(self.convolution(x.unsqueeze(1))))
        return self.head(features.reshape(x.shape[0], -1))


class Recurrent(nn.Module):
    """An LSTM over six steps, both ways: (batch, 12) → (batch, 3)."""

    def __init__(self):
        super().__init__()
        self.memory = nn.LSTM(2, 4, batch_first=True, bidirectional=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.memory(x.reshape(x.shape[0], 6, 2))[0][:, -1])


class Encoding(nn.Module):
    """An encoder layer, which eval mode runs by one fused call: (batch, 12) → (batch, 3)."""

    def __init__(self, *, first=False, activation="relu"):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=first, activation=activation)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x.reshape(x.shape[0], 3, 4)).mean(1))


class Deciding(nn.Module):
    """One of two layers, by what is computed: (batch, 12) → (batch, 3)."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(FEATURES, FEATURES)
        self.low = nn.Linear(FEATURES, 3)
        self.high = nn.Linear(FEATURES, 3)

    def forward(self, x):
        hidden = torch.relu(self.first(x)) - 0.4
        if bool(hidden.mean() > 0):
            return self.high(hidden)
        return self.low(hidden)


class Stacked(nn.Module):
    """Layers in a list in a list, of which a trace says nothing: (batch, 12) → (batch, 3)."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleList(nn.Linear(FEATURES, FEATURES) for _ in range(2)) for _ in range(2))
        self.head = nn.Linear(FEATURES, 3)

    def forward(self, x):
        for block in self.blocks:
            x = torch.relu(block[1](torch.relu(block[0](x))))
        return self.head(x)


class Choosing(nn.Module):
    """One of two ways by torch.cond, which torch.export keeps."""

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda a: a + 1, lambda a: a - 1, (x,))


ENCODING = ("layer.self_attn", "layer.self_attn.out_proj", "layer.linear1", "layer.linear2", "head")
NETS = {
    "convolutional": (Convolutional, ("convolution", "head")),
    "recurrent": (Recurrent, ("memory", "head")),
    "encoding": (Encoding, ENCODING),
    "encoding first": (lambda: Encoding(first=True, activation="gelu"), ENCODING),
}


def rows(count=COUNT):
    x = np.random.default_rng(3).normal(size=(count, FEATURES)).astype(np.float32)
    return Rows("tuning", {"x": x}, None, np.arange(count), np.arange(count, dtype=np.uint64))


def kept(net, form, folder):
    """Write a net's file as its owner would, and take it as titrant takes an original."""
    file, x = folder / f"{form}.pt", torch.zeros(2, FEATURES)
    border = Border((("x", ("batch", FEATURES), "float32"),), ("logits",))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if form == "exported":
            torch.export.save(torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},)), file)
            return kept_program(file, border, folder)
        script = torch.jit.script(net) if form == "scripted" else torch.jit.trace(net, x)
        torch.jit.save(torch.jit.freeze(script) if form == "frozen" else script, str(file))
    return kept_script(file, border, folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Give a net, and its file in one form, made once."""
    made = {}

    def get(name, form):
        if (name, form) not in made:
            torch.manual_seed(0)
            net = NETS[name][0]().eval()
            made[name, form] = net, kept(net, form, tmp_path_factory.mktemp("file"))
        return made[name, form]

    return get


@pytest.fixture(scope="module")
def written(files, tmp_path_factory):
    """Give what `export.onnx` makes of a net's file, made once."""

    @cache
    def get(name, form):
        inputs = {"model": files(name, form)[1], "example": rows()}
        return apply_operator("export.onnx", inputs, scratch=tmp_path_factory.mktemp("written")).outputs

    return get


# torch.export takes a second a net.
MADE = [(name, form) for name in NETS for form in ("traced", "frozen")] + [("encoding", "exported")]


@pytest.mark.parametrize(("name", "form"), [*MADE, ("recurrent", "exported")])
def test_answers_any_batch_as_the_file_does_and_names_the_layers_that_it_runs(name, form, files, written, answers):
    net, model = files(name, form)
    layers = NETS[name][1]
    if form == "frozen":  # its code names no modules: layers are called after operation and place
        layers = [layer.name for layer in backend.get("torch").executed(model, layers=_called(model))]
        assert all(layers)
    made = written(name, form)
    assert isinstance(made["model"], OnnxModel)
    assert made["parity"]["rows"] == COUNT
    for count in (1, 5):
        x = np.random.default_rng(count).normal(size=(count, FEATURES)).astype(np.float32)
        with torch.no_grad():
            np.testing.assert_allclose(answers(made["model"], x), net(torch.from_numpy(x)).numpy(), atol=2e-5)
    ran = backend.get("onnxruntime").executed(made["model"], layers=layers)
    assert {layer.name for layer in ran} - {""} == {*layers}
    ran = backend.get("torch").executed(model, layers=layers)
    assert {layer.name for layer in ran} == {*layers}


def _called(model):
    from titrant.runtime.backends.torch.executed import calls_with_constants
    from titrant.runtime.backends.torch.session import load_script

    return [name for name, _, _ in calls_with_constants(load_script(model)[0].inlined_graph)]


def test_keeps_both_ways_of_a_scripted_forward_and_quantizes_what_is_outside_them(tmp_path, apply, answers):
    torch.manual_seed(0)
    net = Deciding().eval()
    model = kept(net, "scripted", tmp_path)
    made = apply("export.onnx", {"model": model, "example": rows()}).outputs["model"]
    ways = set()
    for scale in (0.1, 3.0):
        x = scale * np.random.default_rng(1).normal(size=(4, FEATURES)).astype(np.float32)
        np.testing.assert_allclose(answers(made, x), answers(model, x), atol=2e-5)
        with torch.no_grad():
            ways.add(bool((torch.relu(net.first(torch.from_numpy(x))) - 0.4).mean() > 0))
    assert ways == {True, False}
    quantized = apply("quantize.ort_static", {"model": made, "calibration": rows()}).outputs["model"]
    ran = backend.get("onnxruntime").executed(quantized, layers=("first", "low", "high"))
    assert {layer.name: layer.precision for layer in ran} == {"first": "int8", "low": "fp32", "high": "fp32"}


@pytest.mark.parametrize("form", ["traced", "frozen", "exported"])
def test_gives_the_same_bytes_twice_and_says_nothing(form, files, written, apply, capfd):
    first = written("recurrent", form)["model"]
    second = apply("export.onnx", {"model": files("recurrent", form)[1], "example": rows()}).outputs["model"]
    assert first.path.read_bytes() == second.path.read_bytes()
    assert capfd.readouterr() == ("", "")


def test_refuses_a_program_that_chooses_between_branches(tmp_path, apply):
    model = kept(Choosing().eval(), "exported", tmp_path)
    with pytest.raises(PreconditionError, match="X285: the program chooses between branches"):
        apply("export.onnx", {"model": model, "example": rows()})


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    widths=st.lists(st.integers(2, 6), min_size=1, max_size=3),
    equal=st.booleans(),
    form=st.sampled_from(["traced", "frozen"]),
)
def test_names_each_layer_once_whatever_their_number_and_numbers(widths, equal, form, tmp_path_factory):
    from types import SimpleNamespace

    from titrant.runtime.operators.export.onnx import ExportOnnxParams, export_file

    sizes = [FEATURES, *widths]
    layers = [nn.Linear(before, after) for before, after in zip(sizes, widths, strict=False)]
    if equal:  # numbers that do not tell one layer of a size from another
        for layer in layers:
            nn.init.constant_(layer.weight, 0.5)
            nn.init.zeros_(layer.bias)
    folder = tmp_path_factory.mktemp("chain")
    model = kept(nn.Sequential(*layers).eval(), form, folder)
    names = _called(model) if form == "frozen" else [str(place) for place in range(len(layers))]
    scratch = tmp_path_factory.mktemp("scratch")
    exported, _, _ = export_file(model, rows(), ExportOnnxParams(), SimpleNamespace(scratch=scratch, threads=1, seed=0))
    ran = backend.get("onnxruntime").executed(exported, layers=names)
    assert sorted(layer.name for layer in ran) == sorted(names)


EQUAL = {
    "linear": lambda: nn.Linear(FEATURES, FEATURES),
    "convolution": lambda: nn.Conv1d(2, 2, 3, padding=1),  # whose weights alone are one constant after quantizing
}


@pytest.mark.parametrize("left", [(), (1,), (0,), (1, 2)])
@pytest.mark.parametrize("kind", EQUAL)
def test_tells_layers_apart_that_share_one_constant(kind, left, tmp_path, apply):
    """Freezing makes one constant of weights that are equal, and each layer that reads it stays as it was asked to."""
    layers = [EQUAL[kind]() for _ in range(3)]
    for layer in layers:
        layer.load_state_dict(layers[0].state_dict())
    around = (nn.Identity(), nn.Identity()) if kind == "linear" else (nn.Unflatten(1, (2, FEATURES // 2)), nn.Flatten())
    model = kept(nn.Sequential(around[0], *layers, around[1]).eval(), "frozen", tmp_path)
    names = [f"{kind}_{place}" for place in range(3)]
    made = apply("export.onnx", {"model": model, "example": rows()}).outputs["model"]
    skipped = [names[place] for place in left]
    quantized = apply("quantize.ort_static", {"model": made, "calibration": rows()}, {"leave": skipped})
    ran = backend.get("onnxruntime").executed(quantized.outputs["model"], layers=_called(model))
    assert sorted((layer.name, layer.precision) for layer in ran) == [
        (name, "fp32" if name in skipped else "int8") for name in names
    ]


@pytest.mark.parametrize("left", ["blocks.0.0", "blocks.1.0", "head"])
def test_finds_layers_in_lists_of_a_trace_by_their_names(left, tmp_path, apply):
    net = Stacked().eval()
    with torch.no_grad():  # names of classes that were traced before are other ones
        torch.jit.trace(net, torch.zeros(2, FEATURES))
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    made = apply("export.onnx", {"model": kept(net, "traced", tmp_path), "example": rows()}).outputs["model"]
    quantized = apply("quantize.ort_static", {"model": made, "calibration": rows()}, {"leave": [left]})
    ran = backend.get("onnxruntime").executed(quantized.outputs["model"], layers=names)
    assert {layer.name: layer.precision for layer in ran} == {
        name: "fp32" if name == left else "int8" for name in names
    }
    converted = apply("export.openvino", {"model": made, "example": rows()}).outputs["model"]
    assert {layer.name for layer in backend.get("openvino").executed(converted, layers=names)} == set(names)
