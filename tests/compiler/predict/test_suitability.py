"""Whether a level suits a model: the planner's rules, asked about the model alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.predict.suitability import suitability_of
from titrant.schema.facts import DataFacts, Hardware, HardwareIdentity, Layer, ModelFacts, RoleFacts
from titrant.schema.language.parse import parse

RECIPE = """\
titrant: 1
name: some
level: LEVEL
task: binary_classification
model: {factory: "titrant.recipes.models:TabularNet", args: {features: 8, classes: 2}}
data: {source: {sklearn: breast_cancer}, label: target}
train: {epochs: 1}
"""
PACKAGES = {"torch": "2.13.0", "onnx": "1.23.0", "onnxruntime": "1.31.0"}
MACHINE = Hardware(HardwareIdentity("linux", "x86_64", "toy", ("avx2",), 2, 8 << 30, (), "3.11", PACKAGES))
DATA = DataFacts("d", 100, (), ("a", "b"), None, (), {"calibration": RoleFacts(rows=20, units=20)})


def layer(name, kind, shape, **more):
    elements = 1
    for size in shape:
        elements *= size
    return Layer(name, kind, elements, 4 * elements, shape, **more)


CONVOLUTIONAL = (
    layer("stem", "Conv2d", (16, 3, 3, 3)),
    layer("norm", "BatchNorm2d", (16,)),
    Layer("relu", "ReLU", 0, 0),
    layer("alone", "BatchNorm2d", (16,)),
    layer("deep", "Conv2d", (16, 1, 3, 3), groups=16),
    layer("mine", "Odd", (64, 64), custom=True),
    layer("table", "Embedding", (1000, 64)),
    layer("wide", "LayerNorm", (64,)),
    layer("head", "Linear", (2, 1024)),
)

GROUPED = (*CONVOLUTIONAL, layer("group", "GroupNorm", (64,)))


def asked(level, layers=CONVOLUTIONAL, rows=DATA.roles, **more):
    size = sum(one.weight_bytes for one in layers)
    model = ModelFacts("factory", "m", size // 4, size // 4, size, layers, (), (), **more)
    bound = bind(parse(RECIPE.replace("LEVEL", level), "some.yaml", folder=Path.cwd()))
    return suitability_of(bound, MACHINE, model, replace(DATA, roles=rows))


def warnings(found, name):
    return " ".join(next(one for one in found.layers if one.name == name).warnings)


def test_names_the_methods_that_a_level_would_use_and_the_reasons_against_others():
    found = asked("balanced")
    assert found.suits
    assert {"torch.dynamic", "ort.dynamic", "ort.static", "ort.nbits-8bit"} <= set(found.chosen)
    assert any(one.value == "cast" for one in found.rejected)
    critical = asked("medical_critical")
    assert {"torch.dynamic", "ort.dynamic", "ort.static", "ort.nbits-8bit"} <= set(critical.chosen)


@pytest.mark.parametrize("level", ["minimal", "auto"])
def test_suits_without_quantizing_where_the_level_wants_none(level):
    found = asked(level)
    assert found.suits
    assert "quantizes nothing" in found.verdict
    assert all(one.endswith("fp32") for one in found.chosen)


@pytest.mark.parametrize("level", ["balanced", "aggressive", "medical_critical"])
def test_does_not_suit_where_nothing_can_be_quantized(level):
    layers = tuple(one for one in CONVOLUTIONAL if one.type == "LayerNorm")
    found = asked(level, layers)
    assert not found.suits
    assert "no method of this version" in found.verdict


def test_says_which_methods_take_each_layer():
    found = {one.name: one.methods for one in asked("balanced").layers}
    assert found["stem"] == ("ort.static",)
    assert set(found["head"]) == {"torch.dynamic", "ort.dynamic", "ort.static", "ort.nbits-8bit"}
    assert set(found["table"]) == {"torch.dynamic", "ort.dynamic", "ort.static", "ort.nbits-8bit"}
    assert found["wide"] == ("ort.static",)
    assert found["relu"] == ()


def test_warns_by_layer():
    found = asked("balanced")
    assert "the first that is quantized" in warnings(found, "stem")
    assert "the last that is quantized" in warnings(found, "head")
    assert warnings(found, "norm") == ""
    assert "no convolution stands before it" in warnings(found, "alone")
    assert "depthwise" in warnings(found, "deep")
    assert "depthwise" not in warnings(found, "stem")
    assert "fewer than 1,024" in warnings(found, "deep")
    assert "a module of your own" in warnings(found, "mine")
    assert "for the one scale that ort.static has" in warnings(found, "wide")
    assert "for the one scale that ort.static has" in warnings(asked("balanced", GROUPED), "group")
    linear = asked("balanced", CONVOLUTIONAL[6:], rows={})
    assert "the first that is quantized" in warnings(linear, "table")
    assert "keeps fp32" in warnings(linear, "wide")


def test_tries_methods_for_exported_files_on_weights_that_a_module_of_the_user_holds():
    own = asked("balanced", (layer("mine", "Odd", (64, 64), custom=True),))
    assert {"ort.dynamic", "ort.static"} <= set(own.chosen)
    assert "torch.dynamic" not in own.chosen
    wide = asked("balanced", (layer("head", "Linear", (64, 64), dtype="float64"),))
    assert not wide.suits


def test_warns_of_code_that_decides_on_values():
    assert any("tensor values" in one for one in asked("balanced", reads_values=True).warnings)


def test_answers_where_nothing_can_run():
    bare = replace(MACHINE, identity=replace(MACHINE.identity, packages={}))
    bound = bind(parse(RECIPE.replace("LEVEL", "balanced"), "some.yaml", folder=Path.cwd()))
    model = ModelFacts("factory", "m", 1, 1, 4, CONVOLUTIONAL, (), ())
    found = suitability_of(bound, bare, model, DATA)
    assert not found.suits
    assert "not installed" in found.verdict


def test_answers_for_ten_thousand_layers_at_once():
    found = asked("balanced", tuple(layer(f"l{place}", "Linear", (8, 8)) for place in range(10_000)))
    assert len(found.layers) == 10_000
