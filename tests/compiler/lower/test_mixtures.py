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
SIZES = {"size": {"[-inf, 12)": 300, "[12, 16)": 300, "[16, inf)": 300}}
ROLES = {name: replace(role, rows=900, units=900, subgroups=SIZES) for name, role in small.JUDGED.roles.items()}
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


def test_asks_on_tuning_rows_what_gates_ask_of_subgroups(tmp_path):
    free = (
        "validation.gates=[{metric: accuracy, slice: 'subgroup size.[12, 16)', comparison: at_least, threshold: 0.7}]"
    )
    plan = compiled(tmp_path, 6, "validation.bias={at_least: 0.85, min_cases: 30}", free)
    qualities = [step for step in plan.steps if step.operator == "validate.measure"]
    assert len(qualities) == len(plan.candidates)
    for step in qualities:
        groups = {gate["id"]: gate for gate in step.params["groups"]}
        assert {*groups} == {gate.id for gate in plan.contract.gates if gate.slice.startswith("subgroup")}
        assert {gate["min_cases"] for gate in groups.values()} == {30}
    (step,) = sensitivity_steps(plan)
    assert step.params["subgroups"] == ["size"]


def test_asks_nothing_of_subgroups_where_no_gate_does(tmp_path):
    plan = compiled(tmp_path, 6, "validation.bias=none")
    asked = [step.params for step in plan.steps if step.operator.startswith(("validate.measure", "sensitivity."))]
    assert len(asked) > 2
    assert not any({"groups", "subgroups"} & {*params} for params in asked)


def test_tells_of_no_subgroup_that_a_report_would_not_show(tmp_path):
    plan = compiled(tmp_path, 6, "validation.bias={at_least: 0.85, min_cases: 3}", "report.min_cell=8")
    step = next(step for step in plan.steps if step.operator == "validate.measure")
    assert {gate["min_cases"] for gate in step.params["groups"]} == {8}


def test_mixes_a_method_in_the_form_that_the_recipe_writes_and_no_variant_beside_it(tmp_path):
    written = compiled(tmp_path, 6, "quantization.options={per_channel: false}")
    assert chosen(written, "search.mix_layers") == ["up to 4 mixtures of ort.static"]
    (step,) = sensitivity_steps(written)
    assert step.params["options"]["per_channel"] is False
    auto = compiled(tmp_path, 6, "quantization.method=auto", "search.objective=[size]", "target.engine=onnxruntime")
    assert "ort.static.per_tensor" in {candidate.id for candidate in auto.candidates}
    assert {candidate.mends for candidate in auto.candidates if candidate.allocation} == {"ort.static"}


CHECKED = "search.check_sensitivity=true"


def test_says_why_there_is_nothing_to_check(tmp_path):
    plan = compiled(tmp_path, 6, CHECKED, "quantization.method=ort.dynamic")
    assert chosen(plan, "search.check_sensitivity") == ["none"]
    assert sensitivity_steps(plan) == []


@pytest.mark.parametrize(("confidence", "mixed"), [(0.9, "up to 4 mixtures of ort.static"), (0.95, "none")])
def test_mixes_where_tuning_rows_can_show_at_the_asked_confidence_what_is_kept(confidence, mixed, tmp_path):
    # 900 rows without a failure show .997 at 90 %, which takes 767, and not at 95 %, which takes 998.
    plan = compiled(tmp_path, 6, "validation.retention=0.997", f"validation.confidence={confidence}")
    assert chosen(plan, "search.mix_layers") == [mixed]


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
