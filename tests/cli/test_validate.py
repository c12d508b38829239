"""A model that was optimized elsewhere is judged as what titrant makes itself: released, or kept back with exit 5."""

import json
import os
from pathlib import Path
from unittest import mock

import pytest

import titrant
from titrant.api.plan import no_longer_planned, plan
from titrant.api.replan import replan
from titrant.api.validate import optimized_file, plan_validation, with_original
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.parse import read
from titrant.schema.plan import plan_digest
from titrant.schema.values.files import digest_file

from .conftest import RECIPE, place_in
from .linear_nets import WEIGHTS, linear

FACTORY = "  factory: net:Net\n  args: {features: auto, classes: auto}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory, warm):
    """Return a folder with an original, what onnxruntime made of it, and files that are wrong in several ways."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from titrant.runtime.backends.openvino.library import openvino

    place = place_in(tmp_path_factory.mktemp("validate"), warm)
    linear(place.folder / "original.onnx", WEIGHTS[:, ::-1])
    quantize_dynamic(place.folder / "original.onnx", place.folder / "int8.onnx", weight_type=QuantType.QInt8)
    openvino.serialize(openvino.Core().read_model(place.folder / "original.onnx"), place.folder / "ir.xml")
    linear(place.folder / "broken.onnx", WEIGHTS)
    linear(place.folder / "other.onnx", WEIGHTS[:, ::-1], taken="input.1")
    linear(place.folder / "renamed.onnx", WEIGHTS[:, ::-1], given="scores")
    text = RECIPE.replace(FACTORY, "  onnx: original.onnx\n").replace("train: {epochs: 4, learning_rate: 0.05}\n", "")
    place.write("recipe.yaml", text.replace("quantization: {method: none}\n", "quantization: {method: ort.static}\n"))
    with mock.patch.dict(os.environ, {"TITRANT_HOME": str(place.home)}):
        yield place


@pytest.fixture(scope="module")
def judged(place):
    """Return the record of the good file's judgement, which changes nothing of the file."""
    before = digest_file(place.folder / "int8.onnx")
    record = titrant.validate("recipe", place.folder / "int8.onnx", place.folder / "recipe.yaml")
    assert digest_file(place.folder / "int8.onnx") == before
    return record


def plan_of(place, optimized, original="recipe", overrides=()):
    recipe = read(place.folder / "recipe.yaml", overrides)
    return plan_validation(original, place.folder / optimized, recipe)[0].plan


def test_a_good_file_is_released_and_left_as_it_was(place, judged):
    folder = place.home / "runs" / judged.run
    assert (judged.exit, judged.verdict, judged.released) == (0, "PASS", ("given",))
    manifest = json.loads((folder / "outputs" / "titrant.json").read_text())
    (model,) = manifest["models"]
    assert model["candidate"] == "given"
    assert (folder / "outputs" / model["file"]).is_file()
    assert not (place.folder / "recipe.lock.yaml").exists()
    executed = next(result for result in judged.candidates[0].judgement.results if result.gate == "executed")
    assert executed.verdict == "PASS"


def test_nothing_is_judged_twice(place, judged):
    before = sorted(place.home.joinpath("runs").iterdir())
    again = titrant.validate("recipe", place.folder / "int8.onnx", place.folder / "recipe.yaml")
    assert again.run == judged.run
    assert sorted(place.home.joinpath("runs").iterdir()) == before


def test_a_broken_file_is_kept_back(place):
    answer = place.here("validate", "recipe", "broken.onnx", "recipe.yaml")
    assert answer.code == 5, answer.all
    assert "given: FAIL" in answer.out or "FAIL: nothing released" in answer.out
    run = max(place.home.joinpath("runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    assert not list((run / "outputs").glob("*.onnx"))
    assert list((run / "quarantine").rglob("*.onnx"))
    assert "quantization.method: ort.static → given" in answer.all
    assert "optimized elsewhere" in answer.all


def test_an_ir_is_judged_in_its_own_engine_and_its_release_again(place):
    record = titrant.validate("recipe", place.folder / "ir.xml", read(place.folder / "recipe.yaml", ("name=ir",)))
    assert (record.exit, record.released) == (0, ("given",))
    folder = place.home / "runs" / record.run / "outputs"
    (model,) = json.loads((folder / "titrant.json").read_text())["models"]
    assert (model["engine"], model["format"]) == ("openvino", "openvino")
    again = plan_of(place, folder / model["file"])
    graph = next(step for step in again.steps if step.id == "given").params["graph"]
    assert Path(graph["path"]) == folder / model["file"] / "model.xml"
    assert optimized_file(record.run).engine == "openvino"


@pytest.fixture(scope="module")
def module_recipe(place):
    """Return a recipe of a module beside a file that says how such a module is built, and others."""
    from safetensors.torch import save_file

    from titrant.runtime.backends.torch.module import save_torch
    from titrant.runtime.operators.model.load import ModelLoadParams, load_torch

    factory = "titrant.recipes.models:TabularNet"
    for name, classes in (("kept", 2), ("other", 3)):
        inputs = [{"name": "features", "shape": ["batch", 4], "dtype": "float32"}]
        about = {"factory": factory, "args": {"features": 4, "classes": classes}, "inputs": inputs}
        model, _ = load_torch(
            ModelLoadParams.model_validate_json(json.dumps(about | {"outputs": [{"name": "logits"}]})), seed=0
        )
        place.folder.joinpath(name).mkdir()
        save_torch(model, place.folder / name)
    save_file(model.module.state_dict(), place.folder / "weights.safetensors")
    text = RECIPE.replace(FACTORY, f'  factory: "{factory}"\n  args: {{features: auto, classes: 2}}\n')
    return read(place.write("module.yaml", text))


def test_a_module_that_says_how_it_is_built_is_judged_by_a_recipe_of_that_module(place, module_recipe):
    planned = plan_validation("recipe", place.folder / "kept", module_recipe)[0].plan
    step = next(step for step in planned.steps if step.id == "given")
    assert (step.operator, planned.candidates[0].format) == ("model.load_module", "safetensors")


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("weights.safetensors", "holds weights, and does not say how their module is built"),
        ("other/model.safetensors", "is built by `titrant.recipes.models:TabularNet` with {classes: 3, features: 4}"),
    ],
)
def test_no_other_code_than_the_recipe_s_is_run_for_a_file(place, module_recipe, file, says):
    with pytest.raises(RecipeError) as caught:
        plan_validation("recipe", place.folder / file, module_recipe)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "P142"
    assert says in diagnostic.message


def test_what_is_judged_as_it_is_is_not_what_others_are_compared_with(place):
    with pytest.raises(RecipeError) as caught:
        plan_of(place, "int8.onnx", original=place.folder / "ir.xml")
    assert "ir.xml can be judged, and is nothing that others are compared with" in caught.value.diagnostics[0].message


def test_a_released_file_is_judged_again(place, judged):
    folder = place.home / "runs" / judged.run
    recipe = read(place.folder / "recipe.yaml")
    planned, seen = plan_validation(place.folder / "original.onnx", judged.run, recipe)
    assert optimized_file(str(folder)) == optimized_file(judged.run)
    (released,) = folder.joinpath("outputs").glob("*.onnx")
    step = next(step for step in planned.plan.steps if step.id == "given")
    assert step.params["onnx"] == {"path": str(released), "digest": digest_file(released)}
    assert planned.plan.candidates[0].engine == "onnxruntime"
    assert seen.answer is None
    assert seen.steps["given"].symbol == "~"


def test_a_recorded_judgement_is_planned_again_with_its_file(place, judged):
    again = replan(place.home / "runs" / judged.run, redecide=False, trust=False)
    assert again.otherwise == ()
    assert plan_digest(again.planned.plan) == plan_digest(again.old.plan)


def test_a_recipe_is_not_locked_by_what_it_did_not_make(place, judged):
    for run in ((), (judged.run,)):
        answer = place.here("lock", "recipe.yaml", *run)
        assert answer.code == 2
        assert "P094" in answer.err
    assert not (place.folder / "recipe.lock.yaml").exists()


def test_the_recipe_s_own_plan_misses_nothing_of_it(place, judged):
    planned = plan(read(place.folder / "recipe.yaml"))
    assert no_longer_planned(planned, place.home) == ()
    validation, _ = plan_validation("recipe", place.folder / "broken.onnx", read(place.folder / "recipe.yaml"))
    assert no_longer_planned(validation, place.home) == ()


def test_the_plan_holds_the_given_file_and_nothing_else(place):
    planned = plan_of(place, "int8.onnx")
    (candidate,) = planned.candidates
    assert (candidate.id, candidate.method, candidate.engine, candidate.format) == (
        "given",
        "given",
        "onnxruntime",
        "onnx",
    )
    assert candidate.predicted_bytes == (place.folder / "int8.onnx").stat().st_size
    step = next(step for step in planned.steps if step.id == "given")
    assert step.params["onnx"]["digest"] == digest_file(place.folder / "int8.onnx")
    assert not any(step.operator.startswith("quantize.") for step in planned.steps)


def test_another_file_is_another_look(place):
    assert plan_of(place, "int8.onnx").judged != plan_of(place, "broken.onnx").judged


@pytest.mark.parametrize("changes", [(), ("search.budget={evaluations: 1}", "quantization.method=auto")])
def test_what_the_recipe_would_make_is_not_part_of_the_look(place, changes):
    assert plan_of(place, "int8.onnx", overrides=changes).judged == plan_of(place, "int8.onnx").judged


def test_one_output_may_have_another_name_than_the_original_s(place):
    """All that is asked of the file answers by the original's name; what is released says its own."""
    output = "model.output={name: logits, kind: logits}"
    plan = plan_of(place, "renamed.onnx", overrides=(output,))
    asked = [step for step in plan.steps if step.candidate == "given" and "engine" in step.params]
    answering = ("validate.predict", "validate.repeats", "validate.batch_invariance")
    assert {step.operator for step in asked if step.params.get("named") == {"scores": "logits"}} == set(answering)
    assert all("named" not in step.params for step in plan_of(place, "int8.onnx").steps)
    record = titrant.validate("recipe", place.folder / "renamed.onnx", read(place.folder / "recipe.yaml", (output,)))
    manifest = json.loads((place.home / "runs" / record.run / "outputs" / "titrant.json").read_text())
    assert manifest["reading"]["output"] == "scores"
    assert titrant.load(record.run)({"one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0}).outputs.keys() == {"scores"}


def test_a_file_of_another_model_is_refused(place):
    with pytest.raises(RecipeError) as caught:
        plan_of(place, "other.onnx")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "P143"
    assert diagnostic.message.endswith("takes input.1 float32 (batch, 4), and the original takes x float32 (batch, 4)")


@pytest.mark.parametrize("file", ["absent.onnx", "rows.csv", "model.xml"])
def test_what_nothing_loads_is_refused(place, file):
    with pytest.raises(RecipeError) as caught:
        plan_of(place, file)
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["P142"]


def test_a_run_that_released_nothing_has_nothing_to_judge(place, tmp_path):
    with pytest.raises(RecipeError) as caught:
        optimized_file(str(tmp_path))
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["X340"]


def test_a_file_takes_the_place_of_the_recipe_s_model(place):
    text = RECIPE.replace(FACTORY, f"{FACTORY}  inputs: [{{name: x, shape: [batch, 4]}}]\n")
    trained = read(place.write("trained.yaml", text))
    recipe = with_original(trained, str(place.folder / "original.onnx")).recipe
    assert (recipe.model.source, recipe.model.factory, recipe.train) == ("onnx", None, None)
    assert recipe.model.inputs == trained.recipe.model.inputs
    assert with_original(trained, "recipe") is trained
    boxes = read(place.write("boxes.yaml", RECIPE.replace(FACTORY, f'{FACTORY}  decode: "nets:boxes"\n')))
    assert with_original(boxes, str(place.folder / "original.onnx")).recipe.model.decode == "nets:boxes"
