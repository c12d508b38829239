"""A student of one's own and another teacher: looked at, planned beside the original, refused where nothing fits."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from case import DATA, MODEL, RECIPE, VNNI, bound

from titrant.compiler.compile import compile_plan
from titrant.compiler.decide.decide import decide
from titrant.compiler.decide.rule import LoadStep
from titrant.compiler.facts.inspect import request
from titrant.compiler.facts.load_steps import OtherLoad, OtherModel, other_loads
from titrant.schema.diagnostics.diagnostics import InfeasibleError, RecipeError
from titrant.schema.facts import Layer, TensorSpec
from titrant.schema.values.canonical import read_back

SMALL = replace(
    MODEL,
    digest="22" * 32,
    parameters=1000,
    trainable=1000,
    weight_bytes=4000,
    layers=(Layer("thin.0", "Linear", 496, 1984, (16, 30)), Layer("thin.2", "Linear", 34, 136, (2, 16))),
    flops=1000,
)
LARGE = replace(MODEL, digest="66" * 32, parameters=9000, trainable=9000, weight_bytes=36_000)
STUDENT = "student: {factory: 'titrant.recipes.models:TabularNet', args: {features: auto, classes: auto}}"
TEACHER = "teacher: {factory: 'titrant.recipes.models:TabularNet', args: {features: 30, classes: 2}, weights: included}"


def recipe(*parts, factorize=""):
    inner = ", ".join((*parts, "temperature: 3", "weight: 0.8", "layers: [net.*]"))
    return f"{RECIPE}reduction: {{{factorize}distillation: {{{inner}}}}}\n"


def load(model, **params):
    return OtherLoad({"factory": "titrant.recipes.models:TabularNet", "weights": None, **params}, model)


def plan_of(text, *changes, student=SMALL, teacher=None):
    others = {"student": load(student)} if "student" in text else {}
    others |= {} if teacher is None else {"teacher": load(teacher, weights="included")}
    changes = ("quantization.method=ort.dynamic", "export=[{format: onnx}]", *changes)
    return compile_plan(bound(text, *changes), VNNI, MODEL, DATA, others=others)


def steps_of(plan):
    return {step.id: step for step in plan.steps}


def test_begins_with_the_student_and_lets_the_original_teach_it():
    plan = plan_of(recipe(STUDENT))
    steps = steps_of(plan)
    student = next(step for step in plan.steps if step.operator == "model.load" and step.id != "model")
    taught = next(step for step in plan.steps if step.operator == "distill.fit")
    assert taught.inputs == {
        "model": f"{student.id}.model",
        "teacher": plan.original,
        "train": "transform.train",
        "tuning": "transform.tuning",
    }
    assert {name: taught.params[name] for name in ("temperature", "weight", "layers", "epochs")} == {
        "temperature": 3.0, "weight": 0.8, "layers": ["net.*"], "epochs": 3,
    }  # fmt: skip
    assert [candidate.id for candidate in plan.candidates] == ["student+ort.dynamic"]
    executed = steps["student+ort.dynamic.executed"]
    assert executed.params["layers"] == ["thin.0", "thin.2"]
    said = {line.subject: line for line in plan.decisions}
    assert said["reduction.distillation.student"].chosen == "1,000 parameters, weights drawn from the seed"
    assert "26% of the original's 3,906" in said["reduction.distillation.student"].because


def test_predicts_a_student_by_its_own_facts():
    whole, small = plan_of(recipe(STUDENT), student=LARGE), plan_of(recipe(STUDENT))
    assert small.candidates[0].predicted_bytes < whole.candidates[0].predicted_bytes


def test_lets_another_teacher_teach():
    plan = plan_of(recipe(STUDENT, TEACHER), teacher=LARGE)
    taught = next(step for step in plan.steps if step.operator == "distill.fit")
    assert taught.inputs["teacher"] == "teacher.model"
    assert steps_of(plan)["teacher"].params["weights"] == "included"
    assert plan.original == "fit.model"


def test_lets_the_fine_tuned_original_teach():
    """It is trained before whoever learns from it, and once for all of them."""
    plan = plan_of(recipe(STUDENT, "teacher: fine_tuned"))
    taught = next(step for step in plan.steps if step.operator == "distill.fit")
    assert taught.inputs["teacher"] == "control.model"
    order = [step.id for step in plan.steps]
    assert order.count("control") == 1
    assert order.index("control") < order.index(taught.id)
    assert steps_of(plan)["control"].inputs["model"] == plan.original == "fit.model"
    said = {line.subject: line for line in plan.decisions}
    assert said["reduction.distillation.teacher"].chosen == "the original, fine-tuned as the candidates are"


@pytest.mark.parametrize("key", ["student", "teacher"])
def test_refuses_other_outputs_and_names_both_shapes(key):
    wide = replace(SMALL, outputs=(TensorSpec("logits", ("batch", 5), "float32"),))
    models = {"student": SMALL, "teacher": LARGE} | {key: wide}
    with pytest.raises(InfeasibleError, match=rf"P107: the {key} answers \(batch, 5\), and the original \(batch, 2\)"):
        plan_of(recipe(STUDENT, TEACHER), **models)


def test_allows_no_much_smaller_student_under_the_medical_safeguards():
    text, medical = recipe(STUDENT), ("level=medical_critical",)
    with pytest.raises(InfeasibleError, match="P108: level medical_critical allows 10% of the parameters to go"):
        plan_of(text, *medical)
    near = replace(SMALL, parameters=3600, trainable=3600)
    step = LoadStep("model.load", load(near).params, near)
    assert decide(bound(text, *medical), VNNI, MODEL, DATA, others={"student": step}).settled.student == step


def test_names_the_pattern_that_no_module_of_the_original_has():
    text = recipe(factorize="pruning: {method: magnitude}, ").replace("net.*", "nett.*")
    with pytest.raises(RecipeError, match=r"R139: `nett\.\*` names none of the model's 3 modules"):
        plan_of(text)


def test_looks_at_students_and_teachers_with_the_rows_of_the_recipe():
    """Inspection answers with their facts and arguments, by which the plan loads them."""
    from titrant.runtime.inspect.inspect import inspect

    made = bound(recipe(STUDENT, TEACHER).replace("included", "included"))
    question = request(made)
    assert set(question["others"]) == {"student", "teacher"}
    answered = json.loads(json.dumps(inspect(question)))
    found = {key: read_back(OtherModel, value) for key, value in answered["others"].items()}
    loads = other_loads(made, {}, found)
    assert loads["student"].params["args"] == {"features": 30, "classes": 2}
    assert loads["student"].params["inputs"] == [{"name": "features", "shape": ["batch", 30], "dtype": "float32"}]
    assert loads["teacher"].params["weights"] == "included"
    assert loads["student"].model.outputs[0].shape == ("batch", 2)


@pytest.mark.parametrize("source", ["onnx", "torchscript", "exported"])
def test_asks_for_no_training_where_the_original_is_a_file_that_cannot_teach(source):
    text = RECIPE.replace("factory: titrant.recipes.models:TabularNet", f"{source}: net.file").replace(
        "  args: {features: auto, classes: auto}\n", ""
    )
    with pytest.raises(RecipeError) as refused:
        bound(f"{text.replace('train: {epochs: 3}', '')}reduction: {{distillation: {{{STUDENT}}}}}\n")
    said = {diagnostic.code: diagnostic.message for diagnostic in refused.value.diagnostics}
    assert f"the original is a file (`{source}`)" in said["R188"]
    assert "R189" not in said
