"""A folder of images from recipe to answer: what the plan and the report say of it, and files read as the data were."""

import contextlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest

import titrant
from titrant.cli.main import main
from titrant.runtime.store.home import open_home
from titrant.schema.diagnostics.diagnostics import StepError

RUNTIME = Path(__file__).parents[1] / "runtime"


def module(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


in_process = module("images_in_process", RUNTIME / "in_process.py")
image_files = module("images_image_files", RUNTIME / "data" / "images" / "image_files.py")

RECIPE = """\
titrant: 1
name: scans
level: minimal
task: binary_classification
model: {factory: "images_nets:Bright", weights: included}
data:
  source: {image_folder: {path: scans, color: gray, window: [-1000, 1000]}}
  classes: [dark, bright]
  split: {tuning: 0.2, calibration: 0.2, evaluation: 0.6}
quantization: {method: none}
validation: {retention: 0.9}
profile: {batches: [1], iterations: 2, warmup: 0}
export: [{format: onnx}]
"""
NETS = """
import torch


class Bright(torch.nn.Module):
    def forward(self, image):
        light = image.mean((1, 2, 3))
        return torch.stack([(0.5 - light) * 10, (light - 0.5) * 10], 1)
"""


class Here(in_process.InProcessWorker):
    def __init__(self, home, folder, threads, seed):
        super().__init__(home, folder)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("titrant.runtime.worker.parent.Worker", Here)
    monkeypatch.setattr("titrant.cli.main._on_signals", lambda answer: None)
    open_home(tmp_path / "home")
    (tmp_path / "images_nets.py").write_text(NETS)
    (tmp_path / "scans.yaml").write_text(RECIPE)
    generator = np.random.default_rng(0)
    for name, middle in (("bright", 1500), ("dark", 500)):
        for number in range(40):
            file = tmp_path / "scans" / name / f"CANARY-{number}.dcm"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(middle - 300, middle + 300, (6, 6), dtype=np.uint16)
            image_files.dicom(file, pixels, stored=12, RescaleSlope=1, RescaleIntercept=-1024)
    (tmp_path / "scans" / "dark" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "scans" / "dark" / ".ipynb_checkpoints" / "old.dcm").write_bytes(file.read_bytes())
    return tmp_path


def call(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, " ".join((out.getvalue() + err.getvalue()).split())


def test_runs_on_dicom_tells_nothing_of_a_patient_and_answers_files_as_it_was_judged(place):
    code, text = call("run", "scans.yaml")
    assert code == 0, text
    run = next((place / "home" / "runs").iterdir())
    report = " ".join((run / "report.html").read_text("utf-8").split())
    for told in (text, report):
        assert "80 images read as gray in 0..1 through the window -1000 to 1000: 12 bits gray (DICOM)" in told
        assert "1 file is passed over as no image: 1 hidden" in told
    files = [path for path in (place / "home").rglob("*") if path.is_file()]
    assert b"CANARY" not in b"".join(path.read_bytes() for path in files)
    assert "CANARY" not in text

    bright, dark = (place / "scans" / name / "CANARY-3.dcm" for name in ("bright", "dark"))
    stored = np.full((1, 1, 6, 6), 500, dtype=np.uint16)
    with titrant.load(run) as model:
        answer = model([bright, str(dark)])
        assert answer.decisions.tolist() == ["bright", "dark"]
        for given in (bright, str(bright), [bright], {"image": [bright]}):
            np.testing.assert_array_equal(model(given).probabilities, answer.probabilities[:1])
        # An array of whole numbers is what files hold, one of floats is in 0..1 already.
        assert np.allclose(
            model(stored).probabilities, model(stored * np.float32(1 / 2000) + np.float32(0.5)).probabilities
        )
        np.testing.assert_array_equal(model(stored).probabilities, model(stored[:, 0]).probabilities)
        for wrong in (
            np.full((1, 1, 2, 2), 500.0),
            np.full((1, 1, 2, 2), 500),
            np.zeros((1, 5, 2, 2)),
            np.zeros((0, 1, 2, 2)),
        ):
            with pytest.raises(StepError) as caught:
                model(wrong)
            assert caught.value.diagnostics[0].code == "X342"
        (place / "text.png").write_text("CANARY")
        with pytest.raises(StepError) as caught:
            model([bright, place / "text.png"])
        assert caught.value.diagnostics[0].message.startswith("image 2 of those given cannot be decoded")


def test_plans_anew_when_an_image_behind_a_link_changes(place):
    (place / "scans" / "dark").rename(place / "dark")
    (place / "scans" / "dark").symlink_to(place / "dark")
    _, before = call("plan", "scans.yaml", "--json")
    _, again = call("plan", "scans.yaml", "--json")
    image_files.dicom(place / "dark" / "CANARY-0.dcm", np.full((6, 6), 7, np.uint16), stored=12,
                      RescaleSlope=1, RescaleIntercept=-1024)  # fmt: skip
    _, after = call("plan", "scans.yaml", "--json")
    assert before == again
    assert before != after
