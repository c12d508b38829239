"""Bits that a recipe asks for: given, or refused with the reason, never something else in silence."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.compiler.machine.profile import shipped_profile
from titrant.schema.diagnostics.diagnostics import InfeasibleError, RecipeError

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)
decided = case.decided

MACHINES = (
    case.AVX2,
    case.VNNI,
    case.machine("sse"),
    case.machine("avx512_bf16", packages={"torch": "2.13.0"}),
    shipped_profile("nvidia-h100").hardware,
)
LEVELS = ("auto", "minimal", "balanced", "aggressive", "medical_critical")


def line(found, subject):
    return next(one for one in found.decisions if one.subject == subject)


@given(
    bits=st.sampled_from((4, 8, 16)),
    level=st.sampled_from(LEVELS),
    preserve=st.sampled_from(("none", "medical")),
    form=st.sampled_from(("auto", "onnx", "torchscript")),
    engine=st.sampled_from(("auto", "torch", "onnxruntime")),
    machine=st.sampled_from(MACHINES),
    recipe=st.sampled_from((case.RECIPE, case.UNLABELED)),
    weight_bytes=st.sampled_from((15_624, 300 * 10**6, 2 * 10**9)),
)
def test_gives_these_bits_or_refuses(bits, level, preserve, form, engine, machine, recipe, weight_bytes):  # noqa: PLR0917
    model = replace(case.MODEL, weight_bytes=weight_bytes, parameters=weight_bytes // 4)
    changes = (f"level={level}", f"preserve={preserve}", f"export=[{{format: {form}}}]", f"target.engine={engine}")
    try:
        found = decided(recipe, *changes, f"quantization.bits={bits}", hardware=machine, model=model)
    except (InfeasibleError, RecipeError):
        return
    assert {chain.bits for chain in found.settled.chains} == {bits}
    assert line(found, "quantization.bits").chosen == f"only methods that give {bits} bits"


def test_puts_the_bits_before_the_level_and_says_so():
    found = decided(case.RECIPE, "level=minimal", "quantization.bits=8")
    assert line(found, "quantization.bits").because == (
        "the recipe says so; it comes before level minimal, whose fewest are 32"
    )
    rejected = {one.value: one.reason for one in line(found, "quantization.method").rejected}
    assert rejected["onnx-fp32"] == (
        "its weights stay at 32 bits, and bits: 8 asks for 8: leave bits out to consider it too"
    )


def test_says_why_nothing_gives_the_bits_on_this_machine():
    with pytest.raises(InfeasibleError) as caught:
        decided(case.RECIPE, "quantization.bits=16", hardware=case.machine("sse"))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "P062"
    assert "its weights stay at 32 bits, and bits: 16 asks for 16" in diagnostic.help


def test_holds_a_user_s_method_to_the_bits_that_are_asked_for():
    bound = case.bound(case.RECIPE, "level=balanced", "quantization.bits=16")
    section = bound.recipe.quantization.model_copy(update={"method": "ort.dynamic"})  # past the check that bind makes
    asking = replace(bound, recipe=bound.recipe.model_copy(update={"quantization": section}))
    with pytest.raises(InfeasibleError, match="it gives 8 bits, and bits: 16 asks for 16"):
        case.decide(asking, case.AVX2, case.MODEL, case.DATA)


def test_takes_an_original_that_has_the_bits_already():
    half = replace(case.MODEL, weight_bytes=2 * case.MODEL.parameters)
    found = decided(case.RECIPE, "quantization.bits=16", model=half)
    assert "onnx-fp32" in [chain.id for chain in found.settled.chains]
