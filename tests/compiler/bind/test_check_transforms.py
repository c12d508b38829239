"""`data.transform_from` names a run by its id or folder, a folder of transforms, or an ONNX file."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind import check_transforms
from titrant.compiler.bind.bind import bind, check_facts
from titrant.compiler.facts.cache import DigestedFile
from titrant.compiler.facts.load_steps import data_load
from titrant.compiler.facts.transform_steps import data_transform
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.facts import Column, TensorSpec
from titrant.schema.language.parse import parse

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

RECIPE = """\
titrant: 1
name: loaded
task: binary_classification
model: {onnx: net.onnx}
data:
  source: {csv: rows.csv}
  label: y
  transform_from: FROM
  split: {tuning: 0.2, evaluation: 0.8}
quantization: {method: none}
export: [{format: onnx}]
"""
IDS = ("20260101T000000Z-a-11111111", "20260101T000000Z-b-22222222", "20260202T000000Z-a-33333333")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    for name in ("net.onnx", "rows.csv", "pre.onnx", "pre.txt"):
        (tmp_path / name).write_text("")
    for run in IDS:
        shipped = tmp_path / "home" / "runs" / run / "outputs" / "transforms"
        shipped.mkdir(parents=True)
        for name in ("transforms.json", "transforms.safetensors"):
            (shipped / name).write_text("")
    (tmp_path / "home" / "runs" / IDS[2] / "outputs" / "transforms" / "transforms.safetensors").unlink()
    return tmp_path


def named(folder, text):
    return bind(parse(RECIPE.replace("FROM", text), "r.yaml", folder=folder)).files["data.transform_from"]


@pytest.mark.parametrize(
    "text",
    [
        IDS[0],
        "20260101T000000Z-a",
        f"home/runs/{IDS[0]}",
        f"home/runs/{IDS[0]}/outputs",
        f"home/runs/{IDS[0]}/outputs/transforms",
        f"home/runs/{IDS[0]}/outputs/transforms/transforms.json",
    ],
)
def test_finds_the_transforms_that_a_run_ships(folder, text):
    assert named(folder, text) == folder / "home" / "runs" / IDS[0] / "outputs" / "transforms"


def test_takes_an_onnx_file_and_needs_no_rows_to_fit_on(folder):
    assert named(folder, "pre.onnx") == folder / "pre.onnx"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("20260101T", "R102", "2 runs begin so"),
        ("20270101T", "R102", "runs are looked for in"),
        ("pre.txt", "R103", "pre.txt"),
        (IDS[2], "R102", "transforms.safetensors"),
        ("home", "R102", "transforms.json"),
    ],
)
def test_refuses_what_is_neither(folder, text, code, words):
    with pytest.raises(RecipeError) as caught:
        named(folder, text)
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == code
    assert words in diagnostic.message + diagnostic.help
    assert diagnostic.where.line == 8


def test_refuses_transforms_inside_a_file_without_columns():
    text = case.UNLABELED + "export: [{format: onnx, transforms: inside}]\n"
    with pytest.raises(RecipeError, match="R159"):
        case.bound(text)


@pytest.mark.parametrize(
    ("column", "words"),
    [(Column("logits", "float64"), "an output of the model"), (Column("scan", "float32", (3,)), "differ in size")],
)
def test_refuses_what_a_file_cannot_hold(column, words):
    resized = "transform: [{resize: {height: 4, width: 4, columns: [scan]}}]"
    text = case.RECIPE.replace("transform: [standardize]", resized)
    assert resized in text
    bound = case.bound(text + "export: [{format: onnx, transforms: inside}]\n")
    scans = Column("scan", "float32", (3, 8, 8))
    columns = (*case.DATA.columns, *({scans.name: scans} | {column.name: column}).values())
    model = replace(case.MODEL, outputs=(TensorSpec("logits", ("batch", 2), "float32"),))
    with pytest.raises(RecipeError) as caught:
        check_facts(bound, model, replace(case.DATA, columns=columns))
    [diagnostic] = [item for item in caught.value.diagnostics if item.code == "R159"]
    assert words in diagnostic.message


TEXTS = """\
titrant: 1
name: texts
task: language_modeling
model: {factory: "nets:Net", args: {vocabulary: auto}}
data:
  source: {text: TEXT}
  transform: [{tokenize: {tokenizer: TOKENIZER, length: 8}}]
train: {epochs: 1}
quantization: {method: none}
"""
TOKENIZE = "transform: [{tokenize: {tokenizer: TOKENIZER, length: 8}}]"


@pytest.fixture
def texts(tmp_path, monkeypatch):
    monkeypatch.setattr(check_transforms, "installed_version", lambda name: None)
    (tmp_path / "nets.py").write_text("from torch import nn\n\nclass Net(nn.Module):\n    pass\n")
    (tmp_path / "letters").mkdir()
    for name in ("a.txt", "own.bin", "tokenizer.json", "own.model"):
        (tmp_path / name).write_text("x")
    return tmp_path


def bound_texts(folder, *changes, text="a.txt", tokenizer="characters"):
    recipe = TEXTS
    for old, new in changes:
        assert old in recipe
        recipe = recipe.replace(old, new)
    return bind(parse(recipe.replace("TEXT", text).replace("TOKENIZER", tokenizer), "r.yaml", folder=folder))


def test_takes_a_file_or_a_folder_of_texts_and_a_tokenizer_of_a_file(texts):
    assert bound_texts(texts, text="letters").files["data.source.text"] == texts / "letters"
    named = bound_texts(texts, text="{path: a.txt, documents: line}", tokenizer="own.bin").files
    assert named["data.source.text.path"] == texts / "a.txt"
    assert named["data.transform.0.tokenize.tokenizer"] == texts / "own.bin"
    assert bound_texts(
        texts, (TOKENIZE, f"{TOKENIZE}\n  split: {{by: file}}\n  subgroups: {{kind: {{column: folder}}}}")
    )


def test_loads_documents_as_the_input_and_keeps_where_they_stand(texts):
    split = (TOKENIZE, f"{TOKENIZE}\n  split: {{by: file}}\n  subgroups: {{kind: {{column: folder}}}}")
    bound = bound_texts(texts, split, text="{path: letters, documents: line}", tokenizer="own.bin")
    files = {key: DigestedFile(path, "d") for key, path in bound.files.items()}
    params = data_load(bound, files)
    assert (params["inputs"], params["keep"]) == (["text"], ["folder", "file"])
    source = {"text": {"path": str(texts / "letters"), "digest": "d"}, "text_options": {"documents": "line"}}
    assert params["sources"] == {"source": source}
    [step] = data_transform(bound, files)["transforms"]
    assert (step["tokenizer"], step["windows"]) == ({"path": str(texts / "own.bin"), "digest": "d"}, True)
    of_classes = ("task: language_modeling", "task: binary_classification")
    labeled = bound_texts(texts, of_classes, ("  transform", "  label: folder\n  transform"), text="letters")
    assert "windows" not in data_transform(labeled, files)["transforms"][0]


@pytest.mark.parametrize(
    ("changes", "named", "code", "message"),
    [
        ([(f"  {TOKENIZE}\n", "")], {}, "R232", "a text is no number yet, and no transform makes tokens of it"),
        (
            [(f"  {TOKENIZE}\n", "")],
            {},
            "R136",
            "`vocabulary: auto` cannot be resolved: no `tokenize` of this recipe says how many tokens there are",
        ),
        (
            [("  transform", "  label: text\n  transform")],
            {},
            "R233",
            "what `tokenize` cuts into windows has its next tokens to give, and a label beside it fits no window",
        ),
        ([], {"tokenizer": "tokenizer.json"}, "R234",
         "tokenizer.json is read by the package tokenizers, which is not installed"),
        ([("length: 8", "length: 1")], {}, "R235", "a window of one token has no next one to give"),
        ([("  transform", "  id: file\n  transform")], {}, "R236",
         "`id` is about rows, and `tokenize` cuts each document into several"),
        ([], {"tokenizer": "own.model"}, "R103", "`tokenizer` reads .json, .bin, and this is own.model"),
        ([], {"tokenizer": "Characters"}, "R102", "there is no file {folder}/Characters"),
        ([], {"text": "b.txt"}, "R102", "there is no file {folder}/b.txt"),
        (
            [],
            {"text": "{path: a.txt, documents: line, separator: x}"},
            "R014",
            "`documents` and `separator` both say where a document ends",
        ),
    ],
)  # fmt: skip
def test_refuses_texts_that_become_no_windows(texts, changes, named, code, message):
    with pytest.raises(RecipeError) as refused:
        bound_texts(texts, *changes, **named)
    said = {diagnostic.code: diagnostic.message for diagnostic in refused.value.diagnostics}
    assert said[code] == message.format(folder=texts)
