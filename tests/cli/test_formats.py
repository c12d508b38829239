"""Every format asked for is judged and released by itself, or refused."""

import json


def test_judges_and_releases_each_format(place):
    answer = place.titrant("run", place.recipe(("[{format: onnx}]", "[{format: onnx}, {format: torchscript}]")))
    assert answer.code == 0, answer.all
    folder = next((place.home / "runs").iterdir())
    record = json.loads((folder / "record.json").read_text())
    assert record["released"] == ["onnx-fp32", "torchscript-fp32"]
    assert all(one["judgement"]["released"] for one in record["candidates"])
    assert (folder / "outputs" / "model-onnx.onnx").is_file()
    assert (folder / "outputs" / "model-torchscript.pt").is_file()


def test_refuses_two_files_of_one_name(place):
    recipe = place.recipe(("[{format: onnx}]", "[{format: onnx, name: a}, {format: torchscript, name: a}]"))
    answer = place.titrant("check", recipe)
    assert answer.code == 2
    assert "two files are named `a`" in answer.err


def test_refuses_a_format_that_cannot_hold_the_method(place):
    recipe = place.recipe(("{method: none}", "{method: ort.static}"), ("{format: onnx}", "{format: torchscript}"))
    answer = place.titrant("check", recipe)
    assert answer.code == 2
    assert "torchscript" in answer.err


def test_exits_5_and_releases_nothing_when_a_gate_fails(place):
    gate = "{metric: accuracy, comparison: at_least, threshold: 0.9999, name: impossible}"
    answer = place.titrant("run", place.recipe(("{retention: 0.9}", f"{{retention: 0.9, gates: [{gate}]}}")))
    assert answer.code == 5, answer.all
    folder = next((place.home / "runs").iterdir())
    assert not [file for file in (folder / "outputs").rglob("*") if file.is_file()]
    assert list((folder / "quarantine").rglob("*.onnx"))
    assert "impossible" in answer.out
