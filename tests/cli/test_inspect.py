"""`titrant inspect`: what a model is made of, and whether a level suits it."""

import json
from dataclasses import replace

import numpy as np
import onnx  # noqa: TID253 - the tests build a tiny graph
import pytest
import torch  # noqa: TID253 - the tests check live modules
from onnx import TensorProto, helper  # noqa: TID253
from safetensors.numpy import save_file

import titrant
from titrant.api.inspect import Inspected
from titrant.cli.inspect import inspect_text
from titrant.schema.facts import Layer, ModelFacts, TensorSpec

SHOWN = """\
nets:Net

  layer  type    shape  dtype    parameters  bytes  FLOPs  trainable
  first  Linear  16×4   float32          80  320 B    128  yes
  table  Odd     10×2   float32          20   80 B      –  no
  without weights: ReLU 2

  layers       4
  parameters   100, 80 trainable; tied weights counted once
  weights      400 B
  FLOPs        128 a case, two per multiply-add
  activations  64 B a case
  inputs       x (batch, 4) float32
  outputs      y (batch, 16) float32
  note         a note that is so long that it does not fit into one line of one hundred columns and
               goes on
"""

WEIGHTS = """\
w.safetensors

  layer  type  shape  dtype    parameters  bytes  FLOPs  trainable
  a      –     3×4    float32          15   60 B      –  no
  b      –     3      float16           3    6 B      –  no

  layers      2
  parameters  18
  weights     66 B
  note        weights without a model: types, FLOPs and inputs are known with its factory
"""

LAYERS = (
    Layer("first", "Linear", 80, 320, (16, 4), 128, 80, "float32"),
    Layer("relu", "ReLU", 0, 0),
    Layer("relu2", "ReLU", 0, 0),
    Layer("table", "Odd", 20, 80, (10, 2), None, 0, "float32", custom=True),
)


def model(layers=LAYERS, **more):
    note = "a note that is so long that it does not fit into one line of one hundred columns and goes on"
    given = {"flops": 128, "activation_bytes": 64, "notes": (note,)}
    specs = TensorSpec("x", ("batch", 4), "float32"), TensorSpec("y", ("batch", 16), "float32")
    return ModelFacts("factory", "m", 100, 80, 400, layers, specs[:1], specs[1:], **(given | more))


def test_shows_layers_and_totals():
    assert inspect_text(Inspected("nets:Net", model())) + "\n" == SHOWN


def test_shortens_many_layers_unless_asked_for_all():
    many = tuple(Layer(f"blocks.{place}.a.very.long.name.of.a.module", "Linear", 4, 16, (2, 2), 8, 4, "float32")
                 for place in range(2_000))  # fmt: skip
    text = inspect_text(Inspected("nets:Net", model(many)))
    assert len(text.splitlines()) < 70
    assert "… 1,950 more layers (-v shows them)" in text
    assert max(map(len, text.splitlines())) <= 100
    assert len(inspect_text(Inspected("nets:Net", model(many)), whole=True).splitlines()) > 2_000


def test_inspects_a_factory_and_says_how_a_level_suits(place):
    inputs = json.dumps([{"name": "x", "shape": ["batch", 4]}])
    asked = ("inspect", "net:Net", "--args", '{"features": 4, "classes": 2}', "--inputs", inputs)
    done = place.titrant(*asked, "--level", "balanced")
    assert done.code == 0, done.all
    assert "parameters   114, all trainable" in done.out
    assert f"FLOPs        {2 * (4 * 16 + 16 * 2)} a case" in done.out
    verdict = done.out.partition("level balanced suits: ")[2].partition(" can quantize it")[0]
    assert {"torch.dynamic", "ort.dynamic", "ort.static"} <= set(" ".join(verdict.split()).split(", "))
    assert "second: the last that is quantized" in done.out
    assert max(map(len, done.out.splitlines())) <= 100
    found = json.loads(place.titrant(*asked, "--level", "minimal", "--json").out)
    assert found["model"]["parameters"] == 114
    assert found["suitability"]["suits"]
    assert "quantizes nothing" in found["suitability"]["verdict"]


def test_exits_3_where_no_method_can_meet_the_level(place):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, place.folder / "plain.onnx")
    done = place.here("inspect", "plain.onnx", "--level", "aggressive")
    assert (done.code, "does not suit" in done.out) == (3, True)


def test_reads_a_weights_header_without_a_child(place):
    arrays = {
        "a.weight": np.zeros((3, 4), np.float32), "a.bias": np.zeros(3, np.float32), "b": np.zeros(3, np.float16),
    }  # fmt: skip
    save_file(arrays | {"b.weight": arrays.pop("b")}, place.folder / "w.safetensors")
    done = place.here("inspect", "w.safetensors")
    assert (done.code, done.out) == (0, WEIGHTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.pt",), "error[X702]: there is no file model.pt"),
        (("model.h5",), "error[X702]: there is no file model.h5"),
        ((".",), "error[X702]: . is a folder"),
        ((__file__,), "is not a model that titrant looks at"),
        (("gone.safetensors",), "there is no file"),
        (("gone.onnx",), "error[X702]: there is no file gone.onnx"),
        (("w.safetensors", "--level", "balanced"), "there is no file w.safetensors"),
        (("net:Net", "--args", "[1]"), "--args holds list"),
        (("net:Net", "--inputs", "{"), "--inputs is not JSON"),
        (("net:Net", "--set", "level=auto"), "--set has nothing to act on"),
        (("recipe.yaml", "--args", "{}"), "--args has nothing to act on"),
    ],
)
def test_refuses_what_it_cannot_answer(arguments, message, capsys):
    from titrant.cli.main import main

    assert main(["inspect", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("model.pt",), ("model.bin",), ("w.safetensors", "--level", "balanced")])
def test_asks_for_the_factory_of_weights(tmp_path, monkeypatch, arguments, capsys):
    from titrant.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / arguments[0]).touch()
    assert main(["inspect", *arguments]) == 2
    answer = capsys.readouterr().err
    assert "no model" in answer
    assert "name the factory that takes these weights" in answer
    assert main(["init", arguments[0]]) == 2
    assert f"{arguments[0]} holds weights and no model" in capsys.readouterr().err


def test_checks_a_live_module(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8, 2))
    here = titrant.detect()
    # Without instructions that compute in 16 bits: a cast takes every layer.
    hardware = replace(here, identity=replace(here.identity, instructions=("avx2",)))
    found = titrant.check_model(module, "balanced", hardware=hardware)
    assert found.suits
    methods = {one.name: one.methods for one in found.layers}["0"]
    assert "ort.static" in methods
    assert not {"ort.dynamic", "torch.dynamic"} & set(methods)
    assert not titrant.check_model(torch.nn.LayerNorm(3), "balanced", hardware=hardware).suits
    with pytest.raises(titrant.TitrantError, match="no level best"):
        titrant.check_model(module, "best")


def test_counts_what_a_live_module_does_with_inputs_or_their_description(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Flatten(),
                                 torch.nn.Linear(8, 2))  # fmt: skip
    module[0].eval()
    flops = 2 * (8 * 27 + 8 * 2)
    named = titrant.check_model(module, "balanced", input_specs=[{"name": "x", "shape": ["batch", 3, 3, 3]}])
    shown = titrant.check_model(module, "balanced", inputs=[torch.full((5, 3, 3, 3), torch.nan)])
    silent = titrant.check_model(module, "balanced")
    assert [(one.parameters, one.flops) for one in (named, shown, silent)] == [(258, flops), (258, flops), (258, None)]
    # It is as it was: its parts in their modes, and its statistics untouched.
    assert [part.training for part in module] == [False, True, True, True]
    assert (module[1].num_batches_tracked, module[1].running_mean.abs().sum()) == (0, 0)


class Two(torch.nn.Module):
    """Layers for two inputs that cannot take each other's place."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = torch.nn.Linear(6, 2), torch.nn.Linear(3, 2)

    def forward(self, wide, narrow):
        return self.wide(wide) + self.narrow(narrow)


def test_names_the_inputs_of_a_live_module_as_its_forward_does(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    tensors = [torch.zeros(1, 6), torch.zeros(1, 3)]
    specs = [{"name": "narrow", "shape": ["batch", 3]}, {"name": "wide", "shape": ["batch", 6]}]
    assert titrant.check_model(Two(), "balanced", inputs=tensors).flops == 2 * (12 + 6)
    assert titrant.check_model(Two(), "balanced", input_specs=specs).flops == 2 * (12 + 6)
    with pytest.raises(titrant.TitrantError, match="takes wide, narrow, and it is given wide, other"):
        titrant.check_model(Two(), "balanced", input_specs=[specs[1], {"name": "other", "shape": ["batch", 3]}])


class Decides(torch.nn.Module):
    """A linear layer that answers twice where the sum is positive."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 4)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else self.layer(x) * 2


def test_runs_a_live_module_for_real_where_its_code_reads_values(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    found = titrant.check_model(Decides(), "balanced", inputs=[torch.zeros(1, 3)])
    assert found.flops == 24
    assert any("code reads tensor values" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inputs": [torch.zeros(1, 4)]}, r"X683: .*shapes cannot be multiplied"),
        ({"inputs": [3]}, "X372: the input input_0 is a int"),
        ({"inputs": [torch.tensor(3.0)]}, "X372: .*a tensor without dimensions"),
        ({"inputs": [torch.zeros(1, 3)], "input_specs": []}, "say the same"),
        ({"input_specs": [{"name": "x", "shape": ["batch", "wide"]}]}, "wide"),
        ({"args": {}}, "made already"),
    ],
)
def test_says_what_inputs_a_live_module_cannot_be_shown(tmp_path, monkeypatch, given, message):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    with pytest.raises(titrant.TitrantError, match=message):
        titrant.check_model(Decides(), "balanced", **given)
