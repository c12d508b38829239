"""The damage of regions is measured, or estimated where many layers of a torch module make that pay; a plan says so."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.schema.facts import Layer
from titrant.schema.language.parse import parse

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parents[1] / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)

# Enough rows that a mixture can show that it keeps what is asked.
ROLES = {name: replace(role, rows=900, units=900) for name, role in small.JUDGED.roles.items()}
ASKED = ("quantization.method=ort.static", "validation.retention=0.97")


def compiled(folder, layers, *overrides):
    linear = tuple(Layer(f"net.{place}", "Linear", 1024, 4096, (32, 32), 2048) for place in range(layers))
    model = replace(
        small.MODEL, layers=linear, flops=2048 * layers, weight_bytes=4096 * layers, parameters=1024 * layers
    )
    bound = bind(parse(small.TABULAR, "x.yaml", folder=folder, overrides=(*ASKED, *overrides)))
    return compile_plan(bound, small.HARDWARE, model, replace(small.JUDGED, roles=ROLES))


def sensitivity_steps(plan):
    return [step for step in plan.steps if step.operator.startswith("sensitivity.")]


def chosen(plan, subject):
    return [line.chosen for line in plan.decisions if line.subject == subject]


@pytest.mark.parametrize(("layers", "operator"), [(50, "sensitivity.regions"), (51, "sensitivity.fisher")])
def test_estimates_the_damage_of_more_than_fifty_layers(layers, operator, tmp_path):
    plan = compiled(tmp_path, layers)
    (step,) = sensitivity_steps(plan)
    assert step.operator == operator
    assert len(step.params["layers"]) == layers
    assert step.params["task"] == "binary_classification"
    estimated = operator == "sensitivity.fisher"
    assert chosen(plan, "search.mix_layers.sensitivity") == ["one pass of gradients"] * estimated
    assert ("module" in step.inputs) == estimated


def test_gives_the_estimate_the_module_that_the_file_is_exported_from(tmp_path):
    plan = compiled(tmp_path, 60)
    (step,) = sensitivity_steps(plan)
    steps = {step.id: step for step in plan.steps}
    source = step.inputs["model"]
    while steps[source.rpartition(".")[0]].operator != "export.onnx":
        source = steps[source.rpartition(".")[0]].inputs["model"]
    assert step.inputs["module"] == steps[source.rpartition(".")[0]].inputs["model"]


@pytest.mark.parametrize("layers", [6, 60])
def test_checks_sensitivities_where_the_recipe_asks_for_it(layers, tmp_path):
    (plain,), plan = sensitivity_steps(compiled(tmp_path, layers)), compiled(tmp_path, layers, CHECKED)
    (step,) = sensitivity_steps(plan)
    assert "check" not in plain.params
    assert step.params == {**plain.params, "check": True}
    assert chosen(plan, "search.check_sensitivity") == ["on all 900 tuning rows"]


CHECKED = "search.check_sensitivity=true"


def test_says_why_there_is_nothing_to_check(tmp_path):
    plan = compiled(tmp_path, 6, CHECKED, "quantization.method=ort.dynamic")
    assert chosen(plan, "search.check_sensitivity") == ["none"]
    assert sensitivity_steps(plan) == []


@pytest.mark.parametrize(("evaluations", "mixtures"), [(1, 0), (2, 1), (4, 3), (9, 4)])
def test_plans_no_more_mixtures_than_the_budget_has_evaluations_for(evaluations, mixtures, tmp_path):
    plan = compiled(tmp_path, 6, f"search.budget.evaluations={evaluations}")
    assert sum(bool(candidate.allocation) for candidate in plan.candidates) == mixtures
    said = f"up to {mixtures} mixture{'s' * (mixtures > 1)} of ort.static" if mixtures else "none"
    assert chosen(plan, "search.mix_layers") == [said]


def test_learns_nothing_of_the_uniform_file_from_what_mixtures_cost(tmp_path):
    plan = compiled(tmp_path, 6)
    shapes = {step.id: step.prediction.shape for step in plan.steps}
    assert shapes["ort.static"] != shapes["ort.static.mix1"] == shapes["ort.static.mix2"]
