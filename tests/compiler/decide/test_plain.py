"""Plain conversions that are timed beside what a recipe names, and never released."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.compiler.decide.measuring import is_plain, same_place
from titrant.schema.diagnostics.diagnostics import InfeasibleError, RecipeError

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)
decided = case.decided


def plain_ids(found):
    return [chain.id for chain in found.settled.plain]


@pytest.mark.parametrize(
    ("method", "plain"),
    [
        ("ort.static", ["onnx-fp32"]),
        ("ort.dynamic", ["onnx-fp32"]),
        ("torch.dynamic", ["torchscript-fp32"]),
        ("none", []),
        ("auto", []),
    ],
)
def test_times_one_beside_a_named_method_only(method, plain):
    found = decided(case.RECIPE, "level=balanced", f"quantization.method={method}")
    assert plain_ids(found) == plain
    lines = [line for line in found.decisions if line.rule == "profile.plain"]
    assert [line.chosen for line in lines] == plain
    for line in lines:
        assert line.because == (
            "candidates in its engine and format are compared with it too; it is timed beside them, never released"
        )


def test_times_one_beside_the_bits_that_a_recipe_names():
    found = decided(case.RECIPE, "quantization.bits=8")
    assert plain_ids(found) == ["onnx-fp32", "torchscript-fp32"]
    (line,) = [line for line in found.decisions if line.rule == "profile.plain"]
    assert line.chosen == "onnx-fp32, torchscript-fp32"
    assert {chain.bits for chain in found.settled.chains} == {8}


@given(
    method=st.sampled_from(("auto", "none", "ort.static", "ort.dynamic", "torch.dynamic")),
    bits=st.sampled_from(("auto", "8", "16")),
    level=st.sampled_from(("auto", "minimal", "balanced", "aggressive", "medical_critical")),
    form=st.sampled_from(("auto", "onnx", "torchscript", "safetensors")),
    recipe=st.sampled_from((case.RECIPE, case.TRAINED, case.UNLABELED)),
)
def test_gives_every_candidate_one_plain_conversion_in_its_place(method, bits, level, form, recipe):
    changes = (f"quantization.method={method}", f"quantization.bits={bits}", f"level={level}")
    try:
        found = decided(recipe, *changes, f"export=[{{format: {form}}}]")
    except (InfeasibleError, RecipeError):
        return
    chains, plain = found.settled.chains, found.settled.plain
    for chain in chains:
        beside = [other for other in (*chains, *plain) if is_plain(other) and same_place(other, chain)]
        assert len(beside) == 1
    assert all(is_plain(chain) for chain in plain)
    assert not {chain.id for chain in plain} & {chain.id for chain in chains}
