"""Folders of images: options, their places in the text, and sources that must be read alike."""

from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.facts.cache import DigestedFile
from titrant.compiler.facts.load_steps import data_load
from titrant.compiler.facts.transform_steps import data_transform
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.parse import parse

CASE = Path(__file__).parents[1] / "bind_mistakes" / "case"
BASE = """\
titrant: 1
name: demo
task: binary_classification
model: {factory: "nets:Net", weights: net.safetensors}
data:
  DATA
  split: SPLIT
quantization: {method: none}
"""
SPLIT = "{tuning: 0.2, calibration: 0.2, evaluation: 0.6}"
BY_SOURCE = "{tuning: {old: 0.5}, calibration: {old: 0.5}, evaluation: new}"


def bound(data, split=SPLIT):
    return bind(parse(BASE.replace("DATA", data).replace("SPLIT", split), "r.yaml", folder=CASE))


def steps(recipe):
    files = {key: DigestedFile(path, "d") for key, path in recipe.files.items()}
    return data_load(recipe, files)["sources"], data_transform(recipe, files).get("images")


@pytest.mark.parametrize("written", ["images", "{path: images}"])
def test_reads_a_folder_as_rgb_on_white_by_default(written):
    sources, images = steps(bound(f"source: {{image_folder: {written}}}"))
    reading = {"color": "rgb", "background": "white"}
    folder = {"path": str(CASE / "images"), "digest": "d"}
    assert sources == {"source": {"image_folder": folder, "images": reading}}
    assert images == {"image": reading}


def test_hands_the_options_to_loading_and_to_serving():
    sources, images = steps(
        bound("source: {image_folder: {path: images, color: gray, background: black, window: [-5, 5]}}")
    )
    reading = {"color": "gray", "background": "black", "window": [-5.0, 5.0]}
    assert sources["source"]["images"] == reading
    assert images == {"image": reading}


def test_serves_images_under_the_name_that_later_steps_use():
    old, new = "{csv: cases.csv, inputs: [x], label: y}", "{image_folder: images, inputs: [image], label: y}"
    data = f"sources: {{old: {old}, new: {new}}}"
    assert steps(bound(data, BY_SOURCE))[1] == {"x": {"color": "rgb", "background": "white"}}


@pytest.mark.parametrize(
    ("key", "option"), [("color", "color: gray"), ("background", "background: black"), ("window", "window: [0, 9]")]
)
@pytest.mark.parametrize("turned", [False, True])
def test_refuses_sources_that_read_images_in_different_ways(key, option, turned):
    pair = ["images", f"{{path: images, {option}}}"]
    old, new = reversed(pair) if turned else pair
    with pytest.raises(RecipeError) as caught:
        bound(f"sources: {{old: {{image_folder: {old}}}, new: {{image_folder: {new}}}}}", BY_SOURCE)
    (found,) = caught.value.diagnostics
    assert found.code == "R150"
    assert found.message == f"`old` and `new` read their images with another `{key}`"
    assert found.where.key.startswith("data.sources.new.image_folder")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("window: [9, 5]", "R014"), ("window: [5, 5]", "R014"), ("window: [5]", "R014"), ("window: [1, 2, 3]", "R014"),
        ("window: [a, b]", "R014"), ("background: blue", "R014"), ('background: "#12345"', "R014"),
        ("color: grey", "R017"), ("colour: gray", "R012"),
    ],
)  # fmt: skip
def test_refuses_options_that_say_nothing(options, code):
    with pytest.raises(RecipeError) as caught:
        bound(f"source: {{image_folder: {{path: images, {options}}}}}")
    assert {found.code for found in caught.value.diagnostics} == {code}
