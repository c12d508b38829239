"""A live module becomes a file of a format, under the name that was asked for, which answers as the module does."""

import numpy as np
import onnx  # noqa: TID253 - the format's own library
import onnxruntime  # noqa: TID253 - the format's own library
import pytest
import torch  # noqa: TID253 - the modules are its
from torch import nn  # noqa: TID253 - the modules are its

import titrant
from titrant.schema.diagnostics.diagnostics import TitrantError

ROWS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


class Two(nn.Module):
    """Two inputs, answers by name."""

    def forward(self, image, age):
        return {"sum": image.sum(1) + age[:, 0], "twice": age * 2}


class Echoes(nn.Module):
    """An output of an input's name."""

    def forward(self, x):
        return {"x": x * 2}


class Decides(nn.Module):
    """A forward that decides on values."""

    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class Writes(nn.Module):
    """A forward that writes into its input."""

    def forward(self, x):
        return x.mul_(2).add_(0.1).sum(1, keepdim=True)


class Scales(nn.Module):
    """A forward with arguments that have values of their own."""

    def forward(self, x, mask=None, scale: float = 2.0, mode: str = "all"):
        return x * scale if mask is None else x * mask


class Counts(nn.Module):
    """A forward that depends on how many cases there are."""

    def forward(self, x):
        return x / float(x.shape[0])


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).train()


@pytest.mark.parametrize(
    ("form", "opener"),
    [
        ("onnx", lambda path: onnxruntime.InferenceSession(str(path)).run(None, {"input": ROWS})[0]),
        ("torchscript", lambda path: torch.jit.load(str(path))(torch.from_numpy(ROWS)).numpy(force=True)),
    ],
)
@pytest.mark.parametrize("name", ["net", "v1.2", "own"])
def test_writes_the_file_that_was_named_and_says_how_far_it_is_apart(form, opener, name, net, tmp_path):
    suffix = {"onnx": ".onnx", "torchscript": ".pt"}[form]
    written = titrant.export(net, form, tmp_path / (name + suffix * (name == "own")), inputs=ROWS)
    assert written.path == tmp_path / (name + suffix)
    assert [path.name for path in tmp_path.iterdir()] == [written.path.name]
    expected = net.eval()(torch.from_numpy(ROWS)).numpy(force=True)
    assert np.abs(opener(written.path) - expected).max() <= written.absolute + 1e-7
    assert 0 <= written.relative < 1e-5
    assert (written.format, written.rows) == (form, 3)


def test_leaves_the_module_as_it_was_and_replaces_an_earlier_file(net, tmp_path):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    first = titrant.export(net, "onnx", tmp_path / "net", shape=(1, 4)).path.read_bytes()
    again = titrant.export(net, "onnx", str(tmp_path / "net"), shape=(1, 4)).path.read_bytes()
    assert first == again
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    "shown",
    [
        {"inputs": {"image": np.ones((2, 3), np.float32), "age": np.ones((2, 1), np.float32)}},
        {"inputs": [torch.ones(2, 3), torch.ones(2, 1)]},
        {"shape": {"image": (2, 3), "age": (2, 1)}},
        {"shape": {"age": (1, 1), "image": (1, 3)}, "dtype": {"age": "float32"}},
    ],
)
def test_takes_inputs_by_name_in_order_or_by_shape(shown, tmp_path):
    written = titrant.export(Two(), "onnx", tmp_path / "two", **shown)
    graph = onnx.load(str(written.path)).graph
    assert {value.name for value in graph.input} == {"image", "age"}
    assert [value.name for value in graph.output] == ["sum", "twice"]


def test_takes_whole_numbers_by_their_dtype(tmp_path):
    written = titrant.export(nn.Embedding(5, 2), "onnx", tmp_path / "table", shape=(1, 3), dtype="int64")
    assert written.relative == 0.0


@pytest.mark.parametrize("form", ["onnx", "openvino", "torchscript", "exported", "safetensors"])
def test_leaves_the_inputs_as_they_are_where_the_forward_writes_into_them(form, tmp_path):
    inputs = torch.from_numpy(ROWS.copy())
    written = titrant.export(Writes(), form, tmp_path / "net", inputs=inputs)
    assert torch.equal(inputs, torch.from_numpy(ROWS))
    assert written.relative < 1e-5


@pytest.mark.parametrize("form", ["onnx", "torchscript", "exported"])
def test_leaves_arguments_out_that_have_a_value_of_their_own(form, tmp_path):
    assert titrant.export(Scales(), form, tmp_path / "net", inputs=ROWS).relative < 1e-6


@pytest.mark.parametrize("opset", [14, 18])
def test_writes_the_operator_set_that_was_asked_for(opset, net, tmp_path):
    written = titrant.export(net, "onnx", tmp_path / "net", shape=(1, 4), opset=opset)
    assert written.opset == opset == onnx.load(str(written.path)).opset_import[0].version


@pytest.mark.parametrize(
    ("code", "model", "asked", "options"),
    [
        ("X370", nn.ReLU(), ("onx", "x"), {"shape": (1, 4)}),
        ("X370", nn.ReLU(), ("auto", "x"), {"shape": (1, 4)}),
        ("X370", nn.ReLU(), ("torchscript", "x"), {"shape": (1, 4), "opset": 17}),
        ("X370", nn.ReLU(), ("onnx", "x"), {"shape": (1, 4), "opset": 99}),
        ("X371", nn.ReLU(), ("onnx", "x.pt"), {"shape": (1, 4)}),
        ("X371", nn.ReLU(), ("onnx", "nowhere/x"), {"shape": (1, 4)}),
        ("X372", nn.ReLU(), ("onnx", "x"), {}),
        ("X372", nn.ReLU(), ("onnx", "x"), {"shape": (1, 4), "inputs": ROWS}),
        ("X372", nn.ReLU(), ("onnx", "x"), {"shape": (0, 4)}),
        ("X372", nn.ReLU(), ("onnx", "x"), {"shape": ()}),
        ("X372", nn.ReLU(), ("onnx", "x"), {"shape": (1, 4), "dtype": "complex64"}),
        ("X372", nn.ReLU(), ("onnx", "x"), {"inputs": [ROWS, ROWS]}),
        ("X206", Decides(), ("onnx", "x"), {"shape": (1, 4)}),
        ("X207", Echoes(), ("onnx", "x"), {"shape": (1, 4)}),
        ("X207", nn.BatchNorm1d(4, track_running_stats=False), ("onnx", "x"), {"inputs": ROWS}),
        ("X208", Counts(), ("onnx", "x"), {"inputs": ROWS}),
        ("X683", nn.Linear(4, 2), ("onnx", "x"), {"shape": (1, 5)}),
    ],
)
def test_refuses_what_cannot_be_and_leaves_nothing_behind(code, model, asked, options, tmp_path):
    form, name = asked
    with pytest.raises(TitrantError) as caught:
        titrant.export(model, form, tmp_path / name, **options)
    assert caught.value.diagnostics[0].code == code
    assert [*tmp_path.iterdir()] == []
