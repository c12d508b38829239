"""Every format asked for is judged and released by itself, or refused."""

import json

EVERY = "[{format: onnx, external_data: true}, {format: torchscript}, {format: safetensors}, {format: mlx}]"


def released_files(folder):
    return {path.relative_to(folder / "outputs").as_posix() for path in (folder / "outputs").rglob("model*")}


def test_judges_and_releases_each_format(place):
    net = (place.folder / "net.py").read_text("utf-8")
    place.write("net.py", net.replace("16", "64"))  # weights large enough to stand apart
    answer = place.titrant("run", place.recipe(("[{format: onnx}]", EVERY)))
    assert answer.code == 0, answer.all
    folder = next((place.home / "runs").iterdir())
    record = json.loads((folder / "record.json").read_text())
    assert record["released"] == ["onnx-fp32", "torchscript-fp32", "unchanged", "mlx-fp32"]
    assert all(one["judgement"]["released"] for one in record["candidates"])
    assert released_files(folder) == {
        "model-onnx", "model-onnx/model.onnx", "model-onnx/model.onnx.data", "model-torchscript.pt",
        "model-safetensors.safetensors", "model-mlx.safetensors",
    }  # fmt: skip
    case = [{"one": 1.0, "two": 0.5, "three": -0.25, "four": 2.0}]
    code = (
        "import titrant\n"
        f"for name in {['model-onnx', 'model-torchscript', 'model-safetensors', 'model-mlx']!r}:\n"
        f"    with titrant.load({str(folder)!r}, name=name) as model:\n"
        f"        print(round(float(model({case!r}).probabilities[0, 0]), 5))\n"
    )
    script = place.write("answer.py", code)
    done = place.warm(script.name, cwd=place.folder, env={"TITRANT_HOME": str(place.home)})
    assert done.returncode == 0, done.stderr
    assert len({*done.stdout.split()}) == 1


def test_releases_the_format_that_keeps_the_contract_and_names_the_other(finished):
    place, _ = finished
    before = set((place.home / "runs").iterdir())
    two = ("[{format: onnx}]", "[{format: onnx}, {format: torchscript}]")
    answer = place.titrant("run", place.recipe(two, ("validation:", "target: {size: 2 KiB}\nvalidation:")))
    assert answer.code == 5, answer.all
    assert "released onnx-fp32; not released: model-torchscript" in answer.out
    (folder,) = set((place.home / "runs").iterdir()) - before
    assert released_files(folder) == {"model-onnx.onnx"}
    assert not [*(folder / "quarantine").iterdir()]


def test_refuses_two_files_of_one_name(place):
    recipe = place.recipe(("[{format: onnx}]", "[{format: onnx, name: a}, {format: torchscript, name: a}]"))
    answer = place.here("check", recipe)
    assert answer.code == 2
    assert "two files are named `a`" in answer.err


def test_refuses_a_format_that_cannot_hold_the_method(place):
    recipe = place.recipe(("{method: none}", "{method: ort.static}"), ("{format: onnx}", "{format: torchscript}"))
    answer = place.here("check", recipe)
    assert answer.code == 2
    assert "torchscript" in answer.err


def test_exits_5_and_releases_nothing_when_a_gate_fails(finished):
    place, _ = finished
    before = set((place.home / "runs").iterdir())
    gate = "{metric: accuracy, comparison: at_least, threshold: 0.9999, name: impossible}"
    answer = place.titrant("run", place.recipe(("{retention: 0.9}", f"{{retention: 0.9, gates: [{gate}]}}")))
    assert answer.code == 5, answer.all
    (folder,) = set((place.home / "runs").iterdir()) - before
    assert not [file for file in (folder / "outputs").rglob("*") if file.is_file()]
    assert list((folder / "quarantine").rglob("*.onnx"))
    assert "impossible" in answer.out
