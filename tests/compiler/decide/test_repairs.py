"""What mends a method: in order of gain for cost, each with what it needs, exact ones kept by those that follow."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.lower.lower import lower
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Layer

HERE = Path(__file__).parents[1]


def module(name):
    specification = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


case, small = module("case"), module("small_recipes")
CONVOLUTION = Layer("c", "Conv2d", 9216, 36864, (32, 32, 3, 3), 10**6)
PRODUCT = Layer("p", "Linear", 8256, 33024, (64, 128), 2 * 8192)


def asked(*changes, layers=(CONVOLUTION, CONVOLUTION, PRODUCT), machine=case.AVX2):
    model = replace(case.MODEL, layers=tuple(replace(each, name=f"{each.name}{at}") for at, each in enumerate(layers)))
    bound = case.bound(case.RECIPE, "level=balanced", "search.mix_layers=false", *changes)
    return case.decide(bound, machine, model, case.DATA)


def mending(decisions):
    return [chain for chain in decisions.settled.chains if chain.mends]


def of_static(*repairs):
    layers = (CONVOLUTION, CONVOLUTION, PRODUCT, PRODUCT)
    return asked("quantization.method=ort.static", f"quantization.repair=[{', '.join(repairs)}]", layers=layers)


def test_equalizes_first_and_keeps_it_for_what_is_tried_later():
    chains = mending(asked("quantization.method=ort.static"))
    assert [chain.id for chain in chains] == ["ort.static.equalized", "ort.static.clipped"]
    assert {chain.first for chain in chains} == {("quantize.equalize",)}
    assert chains[1].options["calibration"] == "mse"


def test_equalizes_before_a_method_of_another_engine_too():
    machine = case.machine("avx2", packages={**case.PACKAGES, "openvino": "2026.4.0", "nncf": "3.4.0"})
    [chain] = mending(asked("quantization.method=openvino.ptq", "target.engine=openvino", machine=machine))
    assert (chain.id, chain.first) == ("openvino.ptq.equalized", ("quantize.equalize",))


def test_leaves_to_be_named_what_gained_least():
    chains = mending(of_static("clip", "bias_correction"))
    assert [chain.id for chain in chains] == ["ort.static.clipped", "ort.static.cut", "ort.static.corrected"]
    assert chains[2].last == ("quantize.bias_correction",)


def test_tells_two_repairs_of_one_name_apart():
    lines = {line.subject: line.chosen for line in of_static("clip", "bias_correction").decisions}
    said = "clip (calibration: mse), clip (calibration: percentile), bias_correction"
    assert lines["quantization.repair"] == f"ort.static: {said}"


def test_smooths_the_module_before_what_takes_the_file_that_it_becomes():
    chains = mending(of_static("equalize", "smooth"))
    assert chains[1].first == ("quantize.smoothquant", "quantize.equalize")


def test_says_why_there_is_nothing_to_equalize_where_that_is_asked():
    written = "quantization.repair=[equalize, clip]"
    decisions = asked("quantization.method=ort.static", written, layers=(PRODUCT,))
    (line,) = (line for line in decisions.decisions if line.subject == "quantization.repair")
    assert [chain.id for chain in mending(decisions)] == ["ort.static.clipped", "ort.static.cut"]
    assert {other.value: other.because for other in line.rejected} == {
        "ort.static: equalize": "quantize.equalize has nothing to do on this model"
    }


def test_rounds_adaptively_below_eight_bits_alone():
    four = asked("level=aggressive", "quantization.method=ort.nbits", "quantization.bits=4")
    assert [chain.options["rounding"] for chain in mending(four)] == ["adaround"]
    eight = asked("quantization.method=ort.nbits", "quantization.bits=8")
    assert mending(eight) == []


@pytest.mark.parametrize(("rounding", "reads"), [("nearest", False), ("adaround", True)])
def test_hands_calibration_rows_to_what_reads_them_alone(rounding, reads):
    bound = case.bound(case.RECIPE, "level=aggressive", "quantization={method: ort.nbits, bits: 4, repair: none, "
                       f"options: {{rounding: {rounding}}}}}")  # fmt: skip
    model = replace(case.MODEL, layers=(PRODUCT,))
    decisions = case.decide(bound, case.AVX2, model, case.DATA)
    plan = lower(bound, decisions, case.AVX2, model, case.DATA)
    (step,) = (step for step in plan.steps if step.operator == "quantize.ort_nbits")
    assert ("calibration" in step.inputs) == reads


def test_refuses_a_repair_that_no_candidate_has():
    with pytest.raises(InfeasibleError, match=r"P065.*no candidate here can be repaired by adaround"):
        of_static("adaround")
