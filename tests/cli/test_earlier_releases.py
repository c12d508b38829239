"""A release is compared with those before it: timed again beside the last, held against the first of its line."""

import json
import os
from unittest import mock

import pytest

import titrant
from titrant.api.plan import plan
from titrant.api.replan import replan
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.parse import read
from titrant.schema.values.files import digest_file

from . import linear_nets as nets
from .conftest import RECIPE, place_in

FACTORY = "  factory: net:Net\n  args: {features: auto, classes: auto}\n"
COMPARED = """validation:
  retention: 0.9
  anchor: first
  regression: {latency_p50: 20, size: 20, metric: 0.9}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, warm):
    """Return a folder whose recipe released a file, of which another recipe by its name made the next release."""
    place = place_in(tmp_path_factory.mktemp("earlier"), warm)
    nets.linear(place.folder / "original.onnx", nets.WEIGHTS[:, ::-1])
    text = RECIPE.replace("train: {epochs: 4, learning_rate: 0.05}\n", "")
    place.write("first.yaml", text.replace(FACTORY, "  onnx: original.onnx\n"))
    with mock.patch.dict(os.environ, {"TITRANT_HOME": str(place.home)}):
        yield place


@pytest.fixture(scope="module")
def first(place):
    """Return the folder of the first release."""
    return place.home / "runs" / titrant.run(plan(read(place.folder / "first.yaml"))).run


@pytest.fixture(scope="module")
def second(place, first):
    """Return the record of the release that is made of the first."""
    text = RECIPE.replace("train: {epochs: 4, learning_rate: 0.05}\n", "")
    text = text.replace(FACTORY, f"  onnx: {first}/outputs/model.onnx\n").replace("  transform: [standardize]\n", "")
    text = text.replace("  positive: 1\n", f"  positive: 1\n  transform_from: {first}\n")
    place.write("second.yaml", text.replace("validation: {retention: 0.9}\n", COMPARED))
    return titrant.run(plan(read(place.folder / "second.yaml")))


def test_says_of_a_release_what_it_was_made_of(place, first):
    manifest = json.loads((first / "outputs" / "titrant.json").read_text("utf-8"))
    assert manifest["original"] == digest_file(place.folder / "original.onnx")


def test_judges_a_release_beside_the_last_and_the_first(first, second):
    (candidate,) = [each for each in second.candidates if each.judgement is not None]
    results = {result.gate: result for result in candidate.judgement.results}
    assert results["regression.size"].verdict == "PASS"
    assert results["regression.latency_p50"].estimate > 0
    assert "turns at batch 1" in results["regression.latency_p50"].reason
    for name in ("regression.metric", "anchor"):
        # The rows were looked at before, by the first recipe; what is seen is told all the same.
        assert "0 lost and 0 gained" in results[name].reason
    assert second.exit == 0


def test_keeps_which_run_it_was_compared_with_in_plan_and_lock(place, first, second):
    folder = place.home / "runs" / second.run
    made = json.loads((folder / "plan.json").read_text("utf-8"))
    chosen = {line["subject"]: line["chosen"] for line in made["decisions"]}
    assert chosen["validation.regression.against"] == chosen["validation.anchor"] == first.name


def test_goes_on_comparing_with_the_release_before_where_the_recipe_is_the_same(place, first, second):
    again = plan(read(place.folder / "second.yaml"))
    assert again.written["earlier"] == {"regression": first.name, "anchor": first.name}


def test_repeats_a_run_beside_the_release_that_it_was_compared_with(place, first, second):
    """By now the last release by this name is the second one itself for any other recipe."""
    place.write("third.yaml", (place.folder / "second.yaml").read_text("utf-8") + "seed: 7\n")
    assert plan(read(place.folder / "third.yaml")).written["earlier"]["regression"] == second.run
    repeated = replan(place.home / "runs" / second.run, redecide=False, trust=False)
    assert repeated.planned.written["earlier"]["regression"] == first.name
    assert not repeated.otherwise


def refused(place, *changes):
    text = (place.folder / "second.yaml").read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    place.write("wrong.yaml", text)
    with pytest.raises(RecipeError) as caught:
        plan(read(place.folder / "wrong.yaml"))
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.message, diagnostic.where.line


def model_line(place):
    text = (place.folder / "second.yaml").read_text("utf-8")
    return next(line for line in text.splitlines() if line.startswith("  onnx:"))


ASKED = "regression: {latency_p50: 20,"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ([("name: small", "name: fresh")], "P150", "no run of fresh"),
        ([(ASKED, f"{ASKED} against: nowhere,")], "P150", "there is no run 'nowhere'"),
        ([("anchor: first", "anchor: nowhere")], "P150", "there is no run 'nowhere'"),
    ],
)
def test_says_at_the_key_that_there_is_no_such_release(place, second, changes, code, words):
    given, message, line = refused(place, *changes)
    assert (given, words in message) == (code, True)
    assert line > 10


def test_refuses_a_line_that_no_run_began(place, second):
    nets.linear(place.folder / "elsewhere.onnx", 2 * nets.WEIGHTS[:, ::-1])
    model = model_line(place)
    given, message, _ = refused(place, (model, "  onnx: elsewhere.onnx"))
    assert (given, "no run in" in message) == ("P153", True)


def test_refuses_a_release_whose_file_is_not_what_was_judged(place, first, second):
    file = first / "outputs" / "model.onnx"
    whole = file.read_bytes()
    copy = place.folder / "copy.onnx"
    copy.write_bytes(whole)
    model = model_line(place)
    try:
        file.write_bytes(whole + b"\0")
        given, message, _ = refused(place, (model, "  onnx: copy.onnx"))
    finally:
        file.write_bytes(whole)
    assert (given, "model.onnx: it does not have the digest" in message) == ("P151", True)


def test_refuses_a_release_of_another_model(place, second):
    nets.linear(place.folder / "renamed.onnx", nets.WEIGHTS[:, ::-1], taken="input.1")
    model = model_line(place)
    given, message, _ = refused(place, (model, "  onnx: renamed.onnx"), ("  anchor: first\n", ""))
    assert (given, "takes x float32" in message) == ("P152", True)
