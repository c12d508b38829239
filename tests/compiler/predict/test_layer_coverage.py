"""The coverage table: which layers a method would touch, and patterns that name none."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import check_facts
from titrant.compiler.predict.layer_coverage import coverage, left_because
from titrant.runtime import catalog
from titrant.schema.cost import Unmet
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.facts import Layer
from titrant.schema.language.parse import parse

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

MIXED = replace(
    case.DIGITS,
    layers=(
        Layer("features.0", "Conv2d", 320, 1280, (32, 1, 3, 3)),
        Layer("features.1", "BatchNorm2d", 64, 256, (32,)),
        Layer("features.2", "ReLU", 0, 0),
        Layer("features.3", "Conv2d", 9216, 36864, (32, 32, 3, 3)),
        Layer("head", "Linear", 330, 1320, (10, 32)),
    ),
)


class Chosen:
    """As much of a plan as the table reads."""

    def __init__(self, *methods):
        self.candidates = tuple(type("Candidate", (), {"method": method})() for method in methods)


def table(bound, hardware=case.AVX2):
    found = coverage(Chosen("ort.static"), bound, hardware, MIXED)
    return {
        one.method: {(group.type, group.layers): group.because for group in one.groups} for one in found
    }, found  # fmt: skip


def with_patterns(text=case.TRAINED, **patterns):
    """Bind a recipe and give it patterns, which bind refuses in this version."""
    keys = ", ".join(f"{key}: {list(value)}" for key, value in patterns.items())
    parsed = parse(f"{text}quantization: {{{keys}}}\n".replace("'", '"'), "x.yaml", folder=Path())
    return replace(case.bound(text), parsed=parsed, recipe=parsed.recipe)


def test_tells_touched_layers_from_others_by_type_with_the_reason():
    rows, found = table(case.bound(case.TRAINED))
    convolutions = ("Conv2d", ("features.0", "features.3"))
    assert rows["ort.static"][convolutions] == ""
    others = "ort.static quantizes convolutions, matrix products, embeddings and layer norms only"
    assert rows["ort.static"]["BatchNorm2d", ("features.1",)] == others
    assert rows["ort.dynamic"][convolutions] == (
        "with scales found anew for each batch convolutions take 8 to 16 times as long in onnxruntime"
    )
    assert rows["ort.dynamic"]["Linear", ("head",)] == ""
    recurrent = "torch.dynamic quantizes linear layers, LSTM, GRU, their cells and embeddings only"
    assert rows["torch.dynamic"][convolutions] == recurrent
    static = next(one for one in found if one.method == "ort.static")
    assert static.candidate
    assert static.share == pytest.approx((1280 + 36864 + 1320) / (1280 + 256 + 36864 + 1320))


def test_promises_nothing_of_weights_that_a_module_of_the_user_holds_nor_of_other_numbers_than_fp32():
    layers = (Layer("own", "Own", 9, 36, custom=True), Layer("wide", "Linear", 9, 72, (3, 3), dtype="float64"))
    odd = replace(MIXED, layers=(*MIXED.layers, *layers))
    found = coverage(Chosen(), case.bound(case.TRAINED), case.AVX2, odd)
    told = {(one.method, group.layers): group.because for one in found for group in one.groups}
    assert told["ort.static", ("own",)] == "what becomes of its own weights is known after export"
    assert told["ort.dynamic", ("wide",)] == "its weights are float64, and ort.dynamic quantizes float32"


def test_blames_no_layer_for_a_library_that_is_missing():
    bare = case.machine("avx2", packages={"torch": "2.13.0"})
    rows, _ = table(case.bound(case.TRAINED), bare)
    assert rows["ort.static"]["Linear", ("head",)] == ""


def test_leaves_out_methods_that_take_another_kind_of_model():
    found = coverage(Chosen(), case.bound(case.TRAINED), case.AVX2, replace(MIXED, source="onnx"))
    by_ir = {"openvino.bf16", "openvino.ptq", "openvino.weights"}
    assert {one.method for one in found} == {"ort.dynamic", "ort.static", "ort.nbits", *by_ir}


def test_keeps_layers_that_a_pattern_skips_and_those_that_only_does_not_name():
    rows, _ = table(with_patterns(skip=["features.0"]))
    assert rows["ort.static"]["Conv2d", ("features.0",)] == "quantization.skip has features.0"
    assert rows["ort.static"]["Conv2d", ("features.3",)] == ""
    rows, _ = table(with_patterns(only=["features"]))
    assert rows["ort.static"]["Linear", ("head",)] == "quantization.only does not name it"


def test_refuses_a_pattern_that_matches_no_layer_with_a_caret_under_it():
    bound = with_patterns(skip=["features.*", "haed"])
    with pytest.raises(RecipeError) as caught:
        check_facts(bound, MIXED, case.DIGIT_DATA)
    (found,) = caught.value.diagnostics
    assert found.code == "R139"
    assert found.message == "`haed` matches none of the model's 4 layers with weights"
    assert found.help == "did you mean `head`?"
    place = found.where
    assert place.text[place.column - 1 : place.column - 1 + place.width] == '"haed"'


def test_takes_a_pattern_for_a_layer_or_for_the_module_that_it_lies_in():
    for pattern in ("head", "features", "features.*", "f*.3"):
        check_facts(with_patterns(skip=[pattern]), MIXED, case.DIGIT_DATA)


def test_asks_about_ten_thousand_layers_of_two_kinds_three_times():
    asked = []

    def requires(params, hardware, model):
        asked.append(model and model.layers)
        return (
            (Unmet("torch is missing"),)
            if model is None or model.layers[0].parameters == 100
            else (Unmet("torch is missing"), Unmet("no"))
        )

    layers = tuple(Layer(f"blocks.{place}.fc", "Linear", 100 + place % 2, 400, (10, 10)) for place in range(10_000))
    cast = replace(catalog.get("model.cast"), requires=requires)
    told = left_because(
        cast, cast.params(), case.AVX2, replace(MIXED, layers=layers), case.bound(case.TRAINED).recipe.quantization
    )
    assert told == ("", "no") * 5_000
    assert asked == [None, layers[:1], layers[1:2]]
    found = coverage(Chosen("ort.static"), case.bound(case.TRAINED), case.AVX2, replace(MIXED, layers=layers))
    assert len(found[0].groups[0].layers) == 10_000
