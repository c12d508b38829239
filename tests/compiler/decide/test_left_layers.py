"""`skip` and `only` become the layers that a method leaves, and each layer of a candidate has a planned precision."""

import importlib.util
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.decide.number_format import planned_layers
from titrant.compiler.decide.rule import Chain
from titrant.runtime import catalog
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Layer
from titrant.schema.recipe.reduce import Quantization

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

F32 = "float32"
LAYERS = (
    Layer("stem", "Conv2d", 320, 1280, (32, 1, 3, 3), dtype=F32),
    Layer("block.conv", "Conv2d", 9216, 36864, (32, 32, 3, 3), dtype=F32),
    Layer("block.norm", "BatchNorm2d", 64, 256, (32,), dtype=F32),
    Layer("block.act", "ReLU", 0, 0),
    Layer("rnn", "LSTM", 9216, 36864, dtype=F32),
    Layer("own", "Own", 64, 256, dtype=F32, custom=True),
    Layer("dead", "Linear", 64, 256, (8, 8), dtype=F32, unread=True),
    Layer("head", "Linear", 330, 1320, (10, 32), dtype=F32),
)
MODEL = replace(case.DIGITS, layers=LAYERS, weight_bytes=77_000, parameters=19_250)
EVERY = ("quantization.bits=8", "level=balanced")


def decided(*changes):
    return case.decided(case.TRAINED, *EVERY, *changes, model=MODEL, data=case.DIGIT_DATA)


def chains(*changes):
    return {chain.id: chain for chain in decided(*changes).settled.chains}


def line(answer, subject):
    return next(one for one in answer.decisions if one.subject == subject)


def test_leaves_what_a_pattern_names_of_what_the_method_would_take():
    made = chains("quantization.skip=[block, head]")
    assert made["ort.static"].options["leave"] == ("block.conv", "head")
    made = chains("quantization.skip=[stem]")
    assert made["ort.static"].options["leave"] == ("stem",)
    assert "leave" not in made["ort.dynamic"].options  # it takes no convolution anyway


def test_leaves_all_that_only_does_not_name():
    made = chains("quantization.only=[head]")
    assert made["ort.static"].options["leave"] == ("stem", "block.conv", "own")


def test_leaves_nothing_where_nobody_asks():
    assert all("leave" not in chain.options for chain in chains().values())


def test_says_which_layers_stay():
    told = line(decided("quantization.skip=[block.*]"), "quantization.skip")
    assert (told.asked, told.because) == ("block.*", "the recipe says so")
    assert told.chosen == "2 layers keep their precision: block.conv, block.norm"
    told = line(decided("quantization.only=[stem]"), "quantization.only")
    assert told.chosen == "1 layer alone is quantized: stem"


def test_leaves_out_a_method_that_cannot_leave_layers_and_says_which_can():
    with pytest.raises(InfeasibleError) as caught:
        case.decided(
            case.TRAINED, "quantization.bits=16", "quantization.skip=[head]", model=MODEL, data=case.DIGIT_DATA,
            hardware=case.machine("avx2", "avx512_bf16"),
        )  # fmt: skip
    (found,) = caught.value.diagnostics
    because = "it has no way to leave layers as they are, and quantization.skip asks for that: take skip out, or choose"
    assert because in found.help
    assert "(cast)" in found.help


def test_refuses_a_method_that_is_left_with_nothing():
    because = r"P061: torch\.dynamic cannot run here: quantization.skip leaves nothing to quantize"
    with pytest.raises(InfeasibleError, match=because) as caught:
        decided("quantization.method=torch.dynamic", "quantization.skip=[head, rnn]")
    (refused,) = caught.value.diagnostics
    assert refused.help == "leave it some of the layers that it would quantize: rnn, head"
    assert refused.where.key == "quantization.skip"


def test_names_both_patterns_that_leave_a_method_nothing():
    with pytest.raises(InfeasibleError, match=r"quantization\.only and quantization.skip leave nothing to quantize"):
        decided("quantization.method=torch.dynamic", "quantization.only=[head]", "quantization.skip=[head]")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("method", ["ort.static", "ort.dynamic", "torch.dynamic"])
def test_says_that_weights_are_no_fp32(method, dtype):
    layers = tuple(replace(layer, dtype=dtype if layer.dtype else "", custom=False) for layer in LAYERS)
    because = rf"the weights are {dtype}, and {method} quantizes float32"
    with pytest.raises(InfeasibleError, match=because) as caught:
        case.decided(
            case.TRAINED, f"quantization.method={method}", model=replace(MODEL, layers=layers), data=case.DIGIT_DATA
        )
    assert [refused.help for refused in caught.value.diagnostics] == ["give it the model with float32 weights"]


def test_says_that_no_candidate_quantizes_recurrent_layers():
    layers = tuple(replace(layer, type="RNN") if layer.name == "rnn" else layer for layer in LAYERS)
    found = case.decided(case.TRAINED, *EVERY, model=replace(MODEL, layers=layers), data=case.DIGIT_DATA)
    told = next(one for one in found.decisions if one.rule == "layers.recurrent")
    assert told.chosen == "recurrent layers stay as they are: rnn"


def planned(chain, **patterns):
    made = planned_layers(chain, case.AVX2, MODEL, Quantization(**patterns))
    return dict(zip(made.layers, made.planned, strict=True)), made


def test_plans_a_precision_for_every_layer_that_multiplies_and_for_no_other():
    static, made = planned(chains()["ort.static"])
    assert static == {
        "stem": "int8", "block.conv": "int8", "rnn": "fp32", "own": "engine's choice", "head": "int8"
    }  # fmt: skip
    assert made.custom == ("own",)
    dynamic, _ = planned(chains()["ort.dynamic"])
    assert (dynamic["stem"], dynamic["head"]) == ("fp32", "int8")


def test_asks_fp32_of_a_plain_conversion_and_nothing_of_one_that_is_quantized_already():
    plain = case.decided(case.TRAINED, "quantization.method=none", model=MODEL, data=case.DIGIT_DATA).settled.chains[0]
    assert set(planned(plain)[0].values()) == {"fp32"}
    whole = replace(MODEL, layers=(*LAYERS, Layer("q", "MatMulInteger", 64, 64, (8, 8), dtype="int8")))
    made = planned_layers(plain, case.AVX2, whole, Quantization())
    assert set(made.planned) == {"engine's choice"}


def test_asks_nothing_of_a_plain_conversion_of_weights_in_16_bits():
    """An engine without kernels for them multiplies in fp32, and nobody asked for less."""
    plain = case.decided(case.TRAINED, "quantization.method=none", model=MODEL, data=case.DIGIT_DATA).settled.chains[0]
    half = replace(MODEL, layers=tuple(replace(layer, dtype="float16") for layer in LAYERS[:2]) + LAYERS[2:])
    made = planned_layers(plain, case.AVX2, half, Quantization())
    precisions = dict(zip(made.layers, made.planned, strict=True))
    assert (precisions["stem"], precisions["head"]) == ("engine's choice", "fp32")


TIED = replace(MODEL, layers=(*LAYERS, Layer("out", "Linear", 0, 0, (32, 32), dtype=F32, shared_with="table")))


@pytest.mark.parametrize(
    ("method", "planned"),
    [("ort.static", "int8"), ("ort.dynamic", "int8"), ("bnb.nf4", "fp32"),
     ("torchao.int8_weight_only", "int8"), ("openvino.weights", "int8"), ("openvino.bf16", "bf16")],
)  # fmt: skip
def test_plans_a_layer_whose_weight_is_that_of_another(method, planned):
    """A head that is tied to a table holds no weight of its own, and is multiplied all the same."""
    declaration = catalog.get(catalog.method_operator(method)).method
    chain = Chain(method, method, declaration.bits[0], declaration.engine, declaration.format, declaration.rank)
    made = planned_layers(chain, case.AVX2, TIED, Quantization())
    assert dict(zip(made.layers, made.planned, strict=True))["out"] == planned


def test_leaves_a_layer_whose_weight_is_that_of_another():
    answer = case.decided(case.TRAINED, *EVERY, "quantization.skip=[out]", model=TIED, data=case.DIGIT_DATA)
    static = next(chain for chain in answer.settled.chains if chain.id == "ort.static")
    assert static.options["leave"] == ("out",)


def test_plans_what_it_leaves_to_stay():
    """Whatever is skipped, and whatever it complements: each layer is either left or planned in int8."""
    static, weighty = chains()["ort.static"], [layer.name for layer in LAYERS if layer.weight_bytes]
    for count in range(1, len(weighty) + 1):
        for names in itertools.combinations(weighty, count):
            for patterns in ({"skip": names}, {"only": names}):
                made, _ = planned(static, **patterns)
                kept = {name for name in made if (name in names) == ("skip" in patterns)}
                assert {name for name in made if made[name] == "int8"} == {"stem", "block.conv", "head"} - kept
