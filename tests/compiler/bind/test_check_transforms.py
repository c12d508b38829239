"""`data.transform_from` names a run by its id or folder, a folder of transforms, or an ONNX file."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind, check_facts
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
