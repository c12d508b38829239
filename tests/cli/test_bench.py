"""`titrant bench`: a run's models, files and factories side by side, and arguments that time nothing."""

import io
import json
import shutil
import warnings

import pytest

FEW = ("--iterations", "6", "--warmup", "1")


@pytest.fixture(scope="module")
def run(finished):
    """The small run, its place, and a module beside it that makes inputs."""
    place, _ = finished
    place.write(
        "rows_of.py", "import numpy as np\n\ndef rows(batch):\n    return {'x': np.ones((batch, 4), np.float32)}\n"
    )
    return place


def onnx_file(place):
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(torch.nn.Linear(4, 2), (torch.zeros(1, 4),), file, dynamo=False, input_names=["x"])
    (place.folder / "other.onnx").write_bytes(file.getvalue())


def test_times_the_original_and_every_released_file_of_a_run(run):
    answer = run.titrant("bench", "latest", "--batch", "1,3", *FEW, "--json", "--out", "times.html")
    assert answer.code == 0, answer.all
    result = json.loads(answer.out)
    folder = next((run.home / "runs").iterdir())
    manifest = json.loads((folder / "outputs" / "titrant.json").read_text("utf-8"))
    models = {model["name"]: model for model in result["models"]}
    (released,) = (model["candidate"] for model in manifest["models"])
    assert list(models) == ["original", released]
    assert models[released]["digest"] == manifest["files"]["model.onnx"]
    assert models[released]["artifact"] == "outputs/model.onnx"
    assert models["original"]["artifact"] == "stored by step fit"
    assert [times["batch"] for times in models[released]["times"]] == [1, 3]
    assert all(times["runs"] == len(times["samples"]) == 6 for times in models[released]["times"])
    assert models[released]["times"][0]["against_first"]["factor"] > 0
    assert result["source"] == "tuning rows of the run"
    assert result["inputs"] == [{"name": "features", "shape": [3, 4], "dtype": "float32"}]
    assert (run.folder / "times.html").read_text("utf-8").count("<svg") == 1


def test_times_files_and_factories_on_what_a_function_makes(run):
    onnx_file(run)
    args = ("--args", '{"features": 4, "classes": 2}', "--data", "rows_of:rows", "--batch", "1", *FEW)
    answer = run.titrant("bench", "net:Net", "other.onnx", "other.onnx", *args)
    assert answer.code == 0, answer.all
    assert "inputs: x (batch, 4) float32; by rows_of:rows" in answer.out
    assert "net:Net(classes=2, features=4)" in answer.out
    assert answer.out.count("other.onnx (2)") >= 2
    assert max(map(len, answer.out.splitlines())) <= 100


def test_says_what_of_a_run_is_no_longer_stored(run, tmp_path):
    home = shutil.copytree(run.home, tmp_path / "home")
    shutil.rmtree(home / "store")
    answer = run.titrant("bench", "latest", "--batch", "1", *FEW, TITRANT_HOME=str(home))
    assert answer.code == 0, answer.all
    assert "original: left out, since it is no longer stored" in answer.out
    assert "drawn by shape, seed 0" in answer.out
    assert "the rows that the run timed are no longer stored" in answer.out


def test_times_no_run_that_did_not_end(run, tmp_path):
    home = shutil.copytree(run.home, tmp_path / "home")
    (next((home / "runs").iterdir()) / "record.json").unlink()
    answer = run.titrant("bench", "latest", TITRANT_HOME=str(home))
    assert answer.code == 2
    assert "did not come to its end: nothing of it can be timed" in " ".join(answer.err.split())


WRONG = {
    "no runs": (["other.onnx", "--iterations", "0"], "error[X671]: iterations is 0"),
    "a batch of none": (["other.onnx", "--batch", "1,0"], "error[X671]: batch is 0"),
    "no batch": (["other.onnx", "--batch", "many"], "error[X671]: --batch is many"),
    "no such file": (["gone.onnx"], "error[X702]: there is no file gone.onnx"),
    "a recipe": (["recipe.yaml"], "error[X672]: recipe.yaml is a recipe, which holds no model"),
    "two sources": (["other.onnx", "--input-shape", "1,4", "--data", "x.npz"], "error[X673]: --input-shape and --data"),
    "no shape": (["other.onnx", "--input-shape", "1;4"], "error[X673]: `1;4`"),
    "no function": (["other.onnx", "--data", "rows"], "error[X673]: rows is neither a file of arrays nor a function"),
    "arguments of nothing": (["other.onnx", "--args", "{}"], "error[P014]: --args has nothing to act on"),
    "another ending": (["other.onnx", "--out", "x.xlsx"], "error[X676]: no figures are written as x.xlsx"),
    "code of others": (["os:system"], "error[R105]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_refuses_before_anything_runs(case, run):
    arguments, says = WRONG[case]
    if not (run.folder / "other.onnx").exists():
        (run.folder / "other.onnx").write_bytes(b"")
    answer = run.here("bench", *arguments)
    assert answer.code == 2, answer.all
    assert says in answer.err
    assert "help: " in answer.err


def test_says_which_model_cannot_answer_and_what_its_code_said_where_that_is_asked_for(run):
    raising = (
        "import torch\n\nclass Own(torch.nn.Module):\n    def forward(self, x):\n        raise KeyError('a row')\n"
    )
    run.write("own.py", raising)
    answer = run.titrant("bench", "own:Own", "--input-shape", "2,5", "--show-data")
    assert answer.code == 4
    assert "error[X683]: Own: the model cannot answer a batch of (2, 5) float32: KeyError (own.py:5)" in answer.err
    assert "said: 'a row'" in answer.err
