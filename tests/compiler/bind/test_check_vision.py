"""What masks and boxes ask for: every finding about a recipe, by its code and its place."""

from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind, check_facts
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.facts import DataFacts, ModelFacts, RoleFacts, TensorSpec
from titrant.schema.language.parse import parse

CASE = Path(__file__).parents[1] / "bind_mistakes" / "case"
SPLIT = "{tuning: 0.2, calibration: 0.2, evaluation: 0.6}"
DETECTOR = "{factory: 'nets:Net', weights: net.safetensors, decode: 'detector:boxes'}"


def bound(task="detection", model=DETECTOR, data="label: there", split=SPLIT, more=""):
    text = (
        f"titrant: 1\nname: demo\ntask: {task}\nmodel: {model}\n"
        f"data: {{source: {{csv: cases.csv}}, {data}, split: {split}}}\n{more}\n"
    )
    return bind(parse(text, "recipe.yaml", folder=CASE))


def codes(**recipe):
    with pytest.raises(RecipeError) as caught:
        bound(**recipe)
    return {diagnostic.code for diagnostic in caught.value.diagnostics}


def test_a_detector_and_masks_are_bound():
    assert bound().recipe.model.decode == "detector:boxes"
    assert [reference.key for reference in bound().user_references] == ["model.factory", "model.decode"]
    assert bound(more="validation: {operating_point: {threshold: 0.3}, agreement: {measure: boxes}}")
    assert bound(data="label: there, transform: [{resize: {height: 8, width: 8}}]")
    assert bound(model="{factory: 'nets:Net', decode: 'detector:boxes'}", more="train: {loss: 'detector:box_loss'}",
                 split="{train: 0.4, tuning: 0.2, calibration: 0.2, evaluation: 0.2}")  # fmt: skip
    weights = "{factory: 'nets:Net', weights: net.safetensors}"
    assert bound(task="segmentation", model=weights, data="label: there, classes: [background, organ]")


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"model": "{factory: 'nets:Net', weights: net.safetensors}"}, {"R242"}),
        ({"model": DETECTOR.replace("boxes", "bokses")}, {"R106"}),
        ({"model": DETECTOR.replace("detector", "detectors")}, {"R104"}),
        ({"model": DETECTOR.replace("detector:boxes", "os:abort")}, {"R105"}),
        ({"model": DETECTOR.replace("}", ", output: {kind: logits}}")}, {"R243"}),
        ({"task": "segmentation"}, {"R243"}),
        ({"more": "train: {epochs: 2}"}, {"R241", "R109"}),
        ({"more": "train: {epochs: 2, loss: cross_entropy, class_weights: balanced}"}, {"R241", "R191", "R109"}),
        ({"more": "validation: {agreement: {measure: cosine}}"}, {"R243"}),
        ({"more": "validation: {agreement: {measure: boxes, tolerance: 0.5}}"}, {"R112"}),
        ({"split": SPLIT.replace("}", ", stratify: true}")}, {"R245"}),
        ({"data": "label: there, positive: 1"}, {"R022"}),
        ({"more": "validation: {safety: 0.9}"}, {"R110"}),
        ({"more": "validation: {gates: [{metric: dice, comparison: at_least, threshold: 0.5}]}"}, {"R111"}),
        (
            {"data": "label: there, subgroups: {sex: {column: sex}}",
             "more": "validation: {bias: {at_least: 0.9, metric: average_precision}}"},
            {"R112"},
        ),
        ({"more": "validation: {operating_point: {sensitivity: 0.9}}"}, {"R114"}),
        (
            {"more": "validation: {looks: open, gates: [{metric: average_precision, comparison: at_least, "
                     "threshold: 0.5}]}"},
            {"R140"},
        ),
    ],
)  # fmt: skip
def test_finds_mistakes_about_boxes(recipe, expected):
    assert codes(**recipe) == expected


MASKS = {"task": "segmentation", "model": "{factory: 'nets:Net', weights: net.safetensors}"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("validation: {agreement: {measure: dice, tolerance: 95}}", {"R113"}),
        ("validation: {agreement: {measure: boxes}}", {"R242"}),
        ("validation: {calibration: {rise_at_most: 0.1}}", {"R110"}),
        ("validation: {gates: [{metric: surface_distance, comparison: at_least, threshold: 3}]}", {"R125"}),
        ("validation: {gates: [{metric: dice, comparison: at_least, threshold: 3}]}", {"R113"}),
        ("train: {epochs: 2, loss: mse_loss}", {"R109", "R190"}),
        ("train: {epochs: 2, class_weights: balanced, early_stop: {metric: tuning accuracy}}", {"R109", "R191"}),
    ],
)
def test_finds_mistakes_about_masks(more, expected):
    assert codes(**MASKS, more=more) == expected


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        (("batch", 3, 8, 8), ""),
        (("batch", 1, 8, 8), ""),
        (("batch", 8, 8), ""),
        (("batch", 4, 8, 8), "R137"),
        (("batch", 3), "R137"),
    ],
)
def test_masks_have_a_channel_for_each_class(shape, code):
    model = ModelFacts("factory", "0", 1, 1, 4, (), (), (TensorSpec("mask", shape, "float32"),), 1, 1)
    names = ("tuning", "calibration", "evaluation")
    roles = {role: RoleFacts(60, 60, {"0": 60, "1": 40, "2": 9}, {}, {}) for role in names}
    data = DataFacts("0", 180, (), ("0", "1", "2"), None, (TensorSpec("x", ("batch", 8), "float32"),), roles)
    recipe = bound(**MASKS)
    if not code:
        check_facts(recipe, model, data)
        return
    with pytest.raises(RecipeError) as caught:
        check_facts(recipe, model, data)
    assert {diagnostic.code for diagnostic in caught.value.diagnostics} == {code}


@pytest.mark.parametrize(
    ("task", "source", "expected"),
    [
        ("segmentation", "{image_folder: {path: images, masks: images}}", set()),
        ("segmentation", "{image_folder: {path: images, masks: nowhere}}", {"R102"}),
        ("segmentation", "{image_folder: images}", {"R231"}),
        ("multiclass_classification", "{image_folder: {path: images, masks: images}}", {"R231"}),
    ],
)
def test_masks_beside_images_are_the_label_of_segmentation_alone(task, source, expected):
    text = f"titrant: 1\nname: demo\ntask: {task}\nmodel: {{factory: 'nets:Net', weights: net.safetensors}}\n"
    text += f"data: {{source: {source}, split: {SPLIT}}}\n"
    parsed = parse(text, "recipe.yaml", folder=CASE)
    if not expected:
        assert bind(parsed).files["data.source.image_folder.masks"] == CASE / "images"
        return
    with pytest.raises(RecipeError) as caught:
        bind(parsed)
    assert {diagnostic.code for diagnostic in caught.value.diagnostics} == expected
