"""Of more mistakes than anybody reads the first are said, and that there are more, wherever they are found."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.compiler.bind.bind import bind
from titrant.compiler.bind.bound_recipe import Finding, unclaimed
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.parse import parse
from titrant.schema.language.yaml_tree import MOST_FINDINGS

RECIPE = """titrant: 1
name: a
level: balanced
task: binary_classification
model: {factory: "net:Net", weights: included}
data:
  source: {factory: "net:load", files: [FILES]}
  inputs: [INPUTS]
  label: y
  split: {train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}
validation: {gates: [GATES]}
export: [EXPORTS]
"""
GATE = "{metric: accuracy, comparison: at_least, threshold: 0.5, slice: subgroup s.f}"
# What stands there otherwise, a mistake, and how it is found: by a check of files or by a rule of the language.
MISTAKES = {
    "FILES": ("net.py", "a{0}.bin", "R102"),
    "INPUTS": ("x", "x", "R022"),
    "GATES": ("", GATE.replace("{", "{{").replace("}", "}}"), "R027"),
    "EXPORTS": ("{{format: onnx}}", "{{format: onnx}}", "R022"),
}


def recipe(place, count):
    text = RECIPE
    for name, (right, wrong, _) in MISTAKES.items():
        first = 1 if right and wrong == right else 0  # the first of what stands twice is right
        filled = ", ".join(wrong.format(number) for number in range(count + first)) if name == place else right.format()
        text = text.replace(name, filled or "{metric: accuracy, comparison: at_least, threshold: 0.5}")
    return text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.sampled_from(sorted(MISTAKES)), st.integers(MOST_FINDINGS - 2, MOST_FINDINGS + 200))
def test_says_the_first_mistakes_and_that_more_follow(tmp_path, place, count):
    (tmp_path / "net.py").write_text("class Net: ...\ndef load(): ...\n", "utf-8")
    with pytest.raises(RecipeError) as raised:
        bind(parse(recipe(place, count), "r.yaml", folder=tmp_path))
    codes = [found.code for found in raised.value.diagnostics]
    more = ["R028"] if count > MOST_FINDINGS else []
    assert codes == [MISTAKES[place][2]] * min(count, MOST_FINDINGS) + more
    assert all(found.where is not None for found in raised.value.diagnostics)


def finding(number, severity="error"):
    return Finding(("files", number), Diagnostic("R102", "", severity=severity))


def test_looks_for_no_more_mistakes_than_it_says():
    asked = []
    found = unclaimed(asked.append(number) or finding(number) for number in range(10**5))
    assert (len(asked), len(found)) == (MOST_FINDINGS + 1, MOST_FINDINGS + 1)


def test_loses_no_mistake_behind_many_warnings():
    found = unclaimed([*(finding(number, "warning") for number in range(1_000)), finding(1_000)])
    assert [item.diagnostic.severity for item in found] == ["warning"] * MOST_FINDINGS + ["error"]
