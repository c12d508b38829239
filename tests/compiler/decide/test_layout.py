"""How weights lie in memory: said where it is asked, done where torch trains or runs, refused where it does nothing."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.decide.decide import decide
from titrant.compiler.decide.rule import LeftOut
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.parse import parse

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)
LAST, SCRIPT = "memory.layout=channels_last", "export=[{format: torchscript}]"


def lines(decisions):
    return [line for line in decisions.decisions if line.subject == "memory.layout"]


def refused(*changes, text=case.TRAINED):
    with pytest.raises(RecipeError) as caught:
        case.decided(text, *changes)
    return caught.value.diagnostics[0]


def test_lays_out_what_torch_runs_and_times_what_is_contiguous_beside():
    decisions = case.decided(case.TRAINED, LAST, "level=minimal")
    by_id = {chain.id: chain for chain in decisions.settled.chains}
    assert by_id["torchscript-fp32.channels_last"].layout == "channels_last"
    assert by_id["onnx-fp32"].layout == ""
    assert [chain.id for chain in decisions.settled.plain] == ["torchscript-fp32"]
    (line,) = lines(decisions)
    assert line.chosen == "channels_last in torchscript-fp32.channels_last"
    assert "onnx-fp32" in [rejected.value for rejected in line.rejected]


def test_trains_so_whatever_is_released():
    text = case.TRAINED.replace(", weights: included", "") + "train: {epochs: 2}\nexport: [{format: onnx}]\n"
    decisions = case.decided(text, LAST, data=case.DIGIT_DATA, model=case.DIGITS)
    assert decisions.settled.training["layout"] == "channels_last"
    assert lines(decisions)[0].chosen == "channels_last in training"
    plain = case.decided(text, data=case.DIGIT_DATA, model=case.DIGITS)
    assert "layout" not in plain.settled.training


@pytest.mark.parametrize("asked", ["auto", "contiguous"])
def test_says_what_is_contiguous_and_changes_no_candidate(asked):
    plain = case.decided(case.TRAINED, SCRIPT, "quantization.method=none")
    decisions = case.decided(case.TRAINED, SCRIPT, "quantization.method=none", f"memory.layout={asked}")
    assert decisions.settled == plain.settled
    assert lines(plain) == []
    (line,) = lines(decisions)
    assert (line.asked, line.chosen.startswith("contiguous")) == (asked, True)
    assert [rejected.value for rejected in line.rejected] == ["channels_last"] * (asked == "auto")


@pytest.mark.parametrize("asked", ["contiguous", "channels_last"])
def test_refuses_a_layout_that_nothing_has(asked):
    found = refused(f"memory.layout={asked}", "export=[{format: onnx}]")
    assert (found.code, "onnx-fp32" in found.message) == ("R239", True)


def test_refuses_channels_last_without_a_convolution():
    assert refused(LAST, SCRIPT, text=case.RECIPE).code == "R238"
    assert case.decided(case.RECIPE, "memory.layout=contiguous")
    flat = replace(case.DIGITS, layers=(replace(case.DIGITS.layers[0], type="Conv1d"),))
    with pytest.raises(RecipeError, match="R238"):
        case.decided(case.TRAINED, LAST, SCRIPT, model=flat)


@pytest.mark.parametrize("asked", ["contiguous", "channels_last", "auto"])
def test_refuses_a_layout_for_a_file_that_runs_as_it_is(asked, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"")
    text = case.TRAINED.replace(case.TRAINED.splitlines()[3], "model: {onnx: net.onnx}")
    parsed = parse(text, "x.yaml", folder=tmp_path, overrides=(f"memory.layout={asked}",))
    if asked == "auto":
        assert bind(parsed)
        return
    with pytest.raises(RecipeError) as caught:
        bind(parsed)
    assert [each.code for each in caught.value.diagnostics] == ["R237"]


def test_leaves_candidates_out_by_the_names_that_they_have():
    named = "torchscript-fp32.channels_last"
    omitted = {named: LeftOut("no room", by_budget=True)}
    bound = case.bound(case.TRAINED, LAST, "level=minimal")
    without = decide(bound, case.AVX2, case.DIGITS, case.DIGIT_DATA, left_out=omitted)
    assert named not in [chain.id for chain in without.settled.chains]


def test_serves_rungs_that_name_a_method():
    decisions = case.decided(case.TRAINED, LAST, "quantization.adapt=[none]", SCRIPT)
    assert decisions.settled.ladder[0].chains == ("torchscript-fp32.channels_last",)
