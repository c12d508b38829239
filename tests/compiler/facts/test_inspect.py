"""Inspection: what is asked, and when an answer is believed again."""

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from blake3 import blake3

from titrant.compiler.facts.inspect import digest_files, facts, request
from titrant.runtime import catalog
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StaleError
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.values.canonical import plain, read_back
from titrant.schema.values.dependencies import current_digest
from titrant.schema.values.files import digest_file

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parents[1] / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)

PARTS_FILES = {"model__weights": "net.safetensors", "data__sources__a__csv": "a.csv", "data__sources__b__npz": "b.npz"}
FACTORY_FILES = {"data__source__files__0": "a.bin", "data__source__files__1": "b.bin"}


class Child:
    """Answers like the inspection child and counts how often it was asked."""

    def __init__(self, *paths):
        self.asked = 0
        self.paths = paths
        self.others = ()

    def __call__(self, wanted):
        self.asked += 1
        dependencies = [{"path": str(path), "digest": blake3(path.read_bytes()).hexdigest()} for path in self.paths]
        dependencies += [{"path": path, "digest": current_digest(path, Path())} for path in self.others]
        return {"model": plain(small.MODEL), "data": plain(small.DATA), "dependencies": dependencies}


@pytest.mark.parametrize(
    ("text", "files"),
    [
        (small.TABULAR, {}),
        (small.PARTS, PARTS_FILES),
        (small.FACTORY, FACTORY_FILES),
        (small.UNLABELED, {"model__onnx": "detector.onnx"}),
    ],
)
def test_asks_with_parameters_that_the_operators_take(tmp_path, text, files):
    wanted = request(small.bind(text, tmp_path, **files))
    assert wanted["seed"] == 42
    for operator, params in wanted["steps"].items():
        catalog.get(operator).params.model_validate(params)


def test_asks_for_the_columns_that_gates_and_split_need(tmp_path):
    steps = request(small.bind(small.PARTS, tmp_path, **PARTS_FILES))["steps"]
    assert steps["data.load"]["keep"] == ["sex", "patient"]
    assert steps["data.load"]["sources"]["a"]["csv"]["path"] == str(tmp_path / "a.csv")
    assert (steps["data.load"]["inputs"], steps["data.load"]["label"]) == (["x", "y"], "z")
    assert steps["data.split"]["roles"] == {"tuning": {"a": 1.0}, "evaluation": {"b": 0.75}}
    assert steps["data.transform"]["by"] == "patient"
    assert steps["model.load"]["weights"]["digest"] == blake3(b"net.safetensors").hexdigest()


def test_hands_on_how_a_csv_file_is_written(tmp_path):
    text = small.PARTS.replace("csv: a.csv", 'csv: {path: a.csv, separator: ";", missing: ["?", -9]}')
    files = {**PARTS_FILES, "data__sources__a__csv__path": "a.csv"}
    del files["data__sources__a__csv"]
    source = request(small.bind(text, tmp_path, **files))["steps"]["data.load"]["sources"]["a"]
    assert source["csv"]["path"] == str(tmp_path / "a.csv")
    assert source["csv_options"] == {"separator": ";", "missing": ["?", -9]}
    assert (
        "csv_options"
        not in request(small.bind(small.PARTS, tmp_path, **PARTS_FILES))["steps"]["data.load"]["sources"]["a"]
    )


def test_asks_a_factory_with_its_arguments_and_files(tmp_path):
    steps = request(small.bind(small.FACTORY, tmp_path, **FACTORY_FILES))["steps"]
    source = steps["data.load"]["sources"]["source"]
    assert (source["factory"], source["args"]) == ("sets:load", {"n": 5})
    assert [Path(file["path"]).name for file in source["files"]] == ["a.bin", "b.bin"]
    assert steps["data.load"]["resize"] is True
    assert [step["name"] for step in steps["data.transform"]["transforms"]] == ["resize", "normalize"]
    assert steps["model.load"]["weights"] == "included"


def test_asks_a_factory_for_each_source_that_the_roles_name(tmp_path):
    bound = small.bind(small.FACTORY, tmp_path, **FACTORY_FILES)
    split = bound.recipe.data.split.model_copy(update={"tuning": {"first": 0.2}, "evaluation": "second"})
    recipe = bound.recipe.model_copy(update={"data": bound.recipe.data.model_copy(update={"split": split})})
    load = request(replace(bound, recipe=recipe))["steps"]["data.load"]
    assert {name: source["part"] for name, source in load["sources"].items()} == {
        "first": "first", "second": "second",
    }  # fmt: skip


def test_leaves_auto_to_the_child_and_random_inputs_where_there_is_no_data(tmp_path):
    tabular = request(small.bind(small.TABULAR, tmp_path))["steps"]
    assert tabular["model.load"]["args"]["features"] == "auto"
    unlabeled = request(small.bind(small.UNLABELED, tmp_path, model__onnx="detector.onnx"))["steps"]
    assert unlabeled["data.load"]["random"][0]["shape"] == ["batch", 3, 32, 32]
    assert unlabeled["data.split"]["roles"]["evaluation"] == {"source": 0.3}


def test_reads_facts_back_as_they_were():
    assert read_back(ModelFacts, plain(small.MODEL)) == small.MODEL
    assert read_back(DataFacts, plain(small.DATA)) == small.DATA


def test_asks_once_while_nothing_changes(tmp_path):
    child = Child()
    bound = small.bind(small.PARTS, tmp_path, **PARTS_FILES)
    first = facts(bound, child, tmp_path / "facts")
    assert facts(bound, child, tmp_path / "facts") == first
    assert child.asked == 1
    assert first.model == small.MODEL
    assert first.files["model.weights"].path == tmp_path / "net.safetensors"


def test_asks_again_when_a_file_that_the_answer_rests_on_changes(tmp_path):
    module = tmp_path / "nets.py"
    module.write_text("x = 1")
    child = Child(module)
    bound = small.bind(small.PARTS, tmp_path, **PARTS_FILES)
    facts(bound, child, tmp_path / "facts")
    module.write_text("x = 2")
    facts(bound, child, tmp_path / "facts")
    module.unlink()
    child.paths = ()
    facts(bound, child, tmp_path / "facts")
    assert child.asked == 3


def test_asks_again_when_what_the_code_learned_otherwise_changes(tmp_path, monkeypatch):
    child = Child()
    child.others = (f"{tmp_path}/cases/", f"presence:{tmp_path}/flag", "variable:TOY_ROWS")
    bound = small.bind(small.PARTS, tmp_path, **PARTS_FILES)
    changes = (tmp_path / "flag").touch, (tmp_path / "cases").mkdir, partial(monkeypatch.setenv, "TOY_ROWS", "3")
    for change in (lambda: None, *changes):
        change()
        facts(bound, child, tmp_path / "facts")
        facts(bound, child, tmp_path / "facts")
    assert child.asked == 4


def test_believes_an_answer_about_the_users_own_code_in_a_copy_of_its_folder(tmp_path):
    folders = [tmp_path / name for name in ("first", "second", "third", "fourth")]
    for place, folder in enumerate(folders):
        folder.mkdir()
        (folder / "nets.py").write_text("x = 2" if place == 2 else "x = 1")
        (folder / "net.safetensors").write_bytes(b"w")
    (folders[3] / "numpy.py").write_text("")
    child = Child()

    def answered(folder):
        bound = small.bind(small.PARTS, folder, **PARTS_FILES)
        child.paths = (folder / "nets.py",)
        facts(bound, child, tmp_path / "facts")
        return child.asked

    assert [answered(folder) for folder in folders] == [1, 1, 2, 3]
    assert answered(folders[1]) == 3


def test_asks_again_when_a_named_file_changes_but_not_when_it_is_touched(tmp_path):
    child = Child()
    bound = small.bind(small.PARTS, tmp_path, **PARTS_FILES)
    facts(bound, child, tmp_path / "facts")
    (tmp_path / "a.csv").touch()
    facts(bound, child, tmp_path / "facts")
    assert child.asked == 1
    (tmp_path / "a.csv").write_text("other")
    facts(bound, child, tmp_path / "facts")
    assert child.asked == 2


def test_asks_again_when_the_remembered_answer_is_damaged(tmp_path):
    child = Child()
    bound = small.bind(small.TABULAR, tmp_path)
    facts(bound, child, tmp_path / "facts")
    (answer,) = (tmp_path / "facts").glob("*.json")
    answer.write_text("{")
    facts(bound, child, tmp_path / "facts")
    assert child.asked == 2


def test_says_which_file_cannot_be_read_and_where_it_is_named(tmp_path):
    bound = small.bind(small.PARTS, tmp_path, **PARTS_FILES)
    (tmp_path / "net.safetensors").unlink()
    with pytest.raises(RecipeError) as caught:
        digest_files(bound)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "P010"
    assert diagnostic.where.line == 4


ONNX_FILES = {"model__onnx": "detector.onnx"}


class PartsChild(Child):
    """Answers that the ONNX file keeps weights beside it."""

    def __call__(self, wanted):
        return super().__call__(wanted) | {"parts": ["w.bin"]}


def test_tells_an_onnx_file_apart_by_the_weights_beside_it(tmp_path):
    bound = small.bind(small.UNLABELED, tmp_path, **ONNX_FILES)
    found = []
    for content in (b"one", b"two"):
        (tmp_path / "w.bin").write_bytes(content)
        known = facts(bound, PartsChild(), tmp_path / "facts")
        found.append((known.model.digest, known.files["model.onnx.parts.0"].digest))
        assert request(bound, known.files)["steps"]["model.load_onnx"]["parts"][0]["path"] == str(tmp_path / "w.bin")
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]
    (tmp_path / "w.bin").unlink()
    with pytest.raises(RecipeError, match=r"w\.bin"):
        facts(bound, PartsChild(), tmp_path / "facts")


def test_digests_large_weights_for_a_plan_only(tmp_path):
    bound = small.bind(small.PARTS, tmp_path, **PARTS_FILES)
    weights = bound.files["model.weights"]
    size = 256 << 20
    text = b'{"w": {"dtype": "U8", "shape": [%d], "data_offsets": [0, %d]}}' % (size, size)
    with weights.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)
    child = Child()
    looked = facts(bound, child, tmp_path / "facts", contents=False)
    planned = facts(bound, child, tmp_path / "facts")
    assert child.asked == 1
    assert looked.files["model.weights"].digest.startswith("header-")
    assert planned.files["model.weights"].digest == digest_file(weights)
    assert planned.model.digest != looked.model.digest


def test_asks_again_where_a_remembered_answer_has_another_form(tmp_path):
    child = Child()
    bound = small.bind(small.TABULAR, tmp_path)
    first = facts(bound, child, tmp_path / "facts")
    for text in ("", "[]", '{"dependencies": [], "model": {}, "data": 3}', '{"dependencies": 7}', "[" * 100_000):
        for file in (tmp_path / "facts").glob("*.json"):
            file.write_text(text)
        asked = child.asked
        assert facts(bound, child, tmp_path / "facts") == first
        assert child.asked == asked + 1


def put(file, text):
    """Put another file in the place of one."""
    beside = file.with_name("beside")
    beside.write_text(text)
    beside.replace(file)


@pytest.mark.parametrize("texts", [["b"], ["b", "a.csv"]], ids=["another file", "back again"])
def test_keeps_no_answer_about_a_file_that_changed_while_it_was_asked_for(tmp_path, texts):
    """It would be believed of the content that the file had before, whichever of the two it is about."""
    bound, cache = small.bind(small.PARTS, tmp_path, **PARTS_FILES), tmp_path / "facts"
    child = Child()

    def changing(question):
        for text in texts:
            put(tmp_path / "a.csv", text)
        return child(question)

    assert (tmp_path / "a.csv").read_text() == "a.csv"
    with pytest.raises(StaleError, match=r"a\.csv changed while titrant looked at it"):
        facts(bound, changing, cache)
    put(tmp_path / "a.csv", "a.csv")
    facts(bound, child, cache)
    assert child.asked == 2


def test_says_that_a_file_changed_rather_than_what_is_wrong_with_half_of_it(tmp_path):
    bound = small.bind(small.PARTS, tmp_path, **PARTS_FILES)

    def fails(question):
        (tmp_path / "a.csv").write_text("")
        raise RecipeError(Diagnostic("R140", "a.csv has no rows"))

    with pytest.raises(StaleError, match=r"a\.csv changed while titrant looked at it"):
        facts(bound, fails, tmp_path / "facts")
