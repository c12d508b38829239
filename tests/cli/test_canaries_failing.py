"""Values of the data in every way that reading it, or the user's own code, can fail: no message holds one.

Commands are called here, with a worker in this process, so that a failure takes no start of another one.
"""

import contextlib
import importlib.util
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from titrant.cli.main import main
from titrant.runtime.store.home import open_home

spec = importlib.util.spec_from_file_location(
    "canary_in_process", Path(__file__).parents[1] / "runtime" / "in_process.py"
)
in_process = importlib.util.module_from_spec(spec)
spec.loader.exec_module(in_process)
spec = importlib.util.spec_from_file_location(
    "canary_image_files", Path(__file__).parents[1] / "runtime" / "data" / "images" / "image_files.py"
)
image_files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(image_files)

CANARY = "CANARY"
RECIPE = """\
titrant: 1
name: failing
level: minimal
task: binary_classification
model:
  factory: MODULE:Net
  args: {features: auto, classes: auto}
data:
  source: SOURCE
  label: sick
  positive: ill
  MORE
train: {epochs: 1}
quantization: {method: none}
validation: {retention: 0.5}
profile: {batches: [1], iterations: 2, warmup: 0}
export: [{format: onnx}]
"""
NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self, features=2, classes=2):
        super().__init__()
        self.only = torch.nn.Linear(features, classes)

    def forward(self, x):
        BODY
        return self.only(x)


class Pooled(Net):
    def forward(self, x):
        return self.only(x.mean((2, 3))[:, :2])
"""


class Here(in_process.InProcessWorker):
    """A worker in this process, made as `Worker` is."""

    def __init__(self, home, folder, threads, seed):
        super().__init__(home, folder)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class Place:
    """A user's folder and home, whose modules have names of their own: they stay loaded."""

    def __init__(self, folder, number):
        self.folder, self.home, self.module = folder, folder / "home", f"canary_{number}"
        self.write(f"{self.module}.py", NET.replace("BODY", "pass"))

    def write(self, name, text):
        (self.folder / name).write_text(text, "utf-8")
        return self.folder / name

    def recipe(self, source, more=""):
        text = RECIPE.replace("SOURCE", source).replace("MORE", more).replace("MODULE", self.module)
        return self.write("recipe.yaml", text)

    def csv(self, *lines, header="name,one,two,sick", count=40):
        rows = [f"CANARY-{row},{row / 7:.3f},{row % 5},{'ill' if row % 2 else 'well'}" for row in range(count)]
        return self.write("rows.csv", "\n".join([header, *rows, *lines]) + "\n")

    def call(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
        return code, out.getvalue() + err.getvalue()

    def told(self):
        """All that lies outside the store: runs, facts, results, locks, recipes."""
        files = [path for path in self.home.rglob("*") if path.is_file() and "store" not in path.parts]
        return "".join(f"{path.name}\n{path.read_bytes().decode('latin-1')}\n" for path in files)


@pytest.fixture
def place(tmp_path, monkeypatch, request):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("titrant.runtime.worker.parent.Worker", Here)
    monkeypatch.setattr("titrant.cli.main._on_signals", lambda answer: None)
    open_home(tmp_path / "home")
    return Place(tmp_path, abs(hash(request.node.name)))


def bad_cell(place):
    place.csv("CANARY-x,CANARY-cell,1,ill")
    return place.recipe("{csv: rows.csv}", "inputs: [one, two]")


def bad_cell_standardized(place):
    place.csv("CANARY-x,CANARY-cell,1,ill")
    return place.recipe("{csv: rows.csv}", "inputs: [one, two]\n  transform: [{standardize: {columns: [one]}}]")


def missing_value(place):
    place.csv("CANARY-x,,1,ill")
    return place.recipe("{csv: rows.csv}", "inputs: [one, two]\n  transform: [standardize]")


def infinite_value(place):
    place.csv("CANARY-x,inf,1,ill")
    return place.recipe("{csv: rows.csv}", "inputs: [one, two]\n  transform: [standardize]")


def text_as_input(place):
    place.csv()
    return place.recipe("{csv: rows.csv}")


def longer_row(place):
    place.csv("CANARY-x,1,1,ill,CANARY-more,CANARY-still")
    return place.recipe("{csv: rows.csv}")


def not_utf8(place):
    place.csv().write_bytes(b"name,one,two,sick\nCANARY-\x81\x8d,1,2,ill\n")
    return place.recipe("{csv: rows.csv}")


def no_header(place):
    place.csv(header="CANARY-head,0.123,7.5,well")
    return place.recipe("{csv: rows.csv}")


def unit_missing(place):
    place.csv(",1,1,ill")
    split = "split: {train: 0.5, tuning: 0.1, evaluation: 0.4, by: name}"
    return place.recipe("{csv: rows.csv}", f"inputs: [one, two]\n  {split}")


def unknown_class(place):
    place.csv()
    return place.recipe("{csv: rows.csv}", "inputs: [one, two]\n  classes: [well, sick]")


def not_parquet(place):
    place.write("rows.parquet", "CANARY-row,1,2\n")
    return place.recipe("{parquet: rows.parquet}")


def objects(place):
    np.savez("rows.npz", one=np.array([{"name": "CANARY-a"}], dtype=object), sick=np.array(["ill"]))
    return place.recipe("{npz: rows.npz}")


def image_folder(place, each=2):
    for number, name in ((number, name) for name in ("ill", "well") for number in range(each)):
        path = place.folder / "faces" / name / f"CANARY-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, number, number)).save(path)
    return path


def bad_image(place):
    image_folder(place).write_bytes(b"CANARY-no-image")
    return place.recipe("{image_folder: faces}")


def images_of_two_sizes(place):
    Image.new("RGB", (5, 5)).save(image_folder(place))
    return place.recipe("{image_folder: faces}")


def dicom_folder(place, pixels, **attributes):
    """Images of a patient, in files that are called by his name."""
    for name in ("ill", "well"):
        for number in range(2):
            path = place.folder / "scans" / name / f"CANARY-{number}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            image_files.dicom(path, pixels, PatientBirthDate="CANARY-day", InstitutionName="CANARY-ward", **attributes)
    return path


def dicom_without_range(place):
    dicom_folder(place, np.array([[-5, 9]], dtype=np.int16))
    return place.recipe("{image_folder: scans}")


def dicom_of_several_frames(place):
    dicom_folder(place, np.zeros((3, 2, 2), np.uint8), NumberOfFrames=3)
    return place.recipe("{image_folder: scans}")


def half_a_dicom(place):
    path = dicom_folder(place, np.zeros((8, 8), np.uint8))
    path.write_bytes(path.read_bytes()[:-40])
    return place.recipe("{image_folder: scans}")


def dicom_of_an_unknown_color(place):
    dicom_folder(place, np.zeros((2, 2), np.uint8), photometric="CANARY_COLOR")
    return place.recipe("{image_folder: scans}")


def factory(body):
    def made(place):
        place.write(f"load_{place.module}.py", f"import pandas as pd\n\n\ndef rows():\n    {body}\n")
        return place.recipe(f"{{factory: 'load_{place.module}:rows'}}")

    return made


def import_raises(place):
    text = "def rows():\n    return {}\n\n\nraise RuntimeError('CANARY-at-import')\n"
    place.write(f"load_{place.module}.py", text)
    return place.recipe(f"{{factory: 'load_{place.module}:rows'}}")


def forward(body):
    def made(place):
        place.csv()
        place.write(f"{place.module}.py", NET.replace("BODY", body))
        return place.recipe("{csv: rows.csv}", "inputs: [one, two]")

    return made


def init_raises(place):
    place.csv()
    place.write(f"{place.module}.py", NET.replace("super().__init__()", "raise ValueError('CANARY-init')"))
    return place.recipe("{csv: rows.csv}", "inputs: [one, two]")


REAL = "if x.abs().sum() > 0: "
MIXED = "return pd.DataFrame({'a': ['CANARY-a', 1], 'sick': ['ill', 'well']})"
TWICE = """
    try:
        float('CANARY-a')
    except ValueError as error:
        raise KeyError('CANARY-b') from error"""
CASES = {
    "a text where numbers are due": (bad_cell, "X121"),
    "a text that is to be standardized": (bad_cell_standardized, "X122"),
    "a missing value": (missing_value, "X120"),
    "an infinite value": (infinite_value, "X120"),
    "a column of names as an input": (text_as_input, "X121"),
    "a row with more values than the header": (longer_row, "X100"),
    "a file that is not UTF-8": (not_utf8, "X234"),
    "a file without a header": (no_header, "X101"),
    "a row without the unit": (unit_missing, "X110"),
    "a class that is not listed": (unknown_class, "X128"),
    "no parquet file": (not_parquet, "X100"),
    "Python objects": (objects, "X100"),
    "an image that cannot be decoded": (bad_image, "X107"),
    "images of two sizes": (images_of_two_sizes, "X107"),
    "DICOM without a range": (dicom_without_range, "X113"),
    "DICOM of several frames": (dicom_of_several_frames, "X114"),
    "half a DICOM file": (half_a_dicom, "X107"),
    "DICOM of a color that is not known": (dicom_of_an_unknown_color, "X107"),
    "a factory that raises": (factory("raise ValueError('CANARY-row: Jane Doe')"), "X108"),
    "a factory that does not find a name": (factory("return {'a': 1}['CANARY-key']"), "X108"),
    "a factory that reads a number": (factory("return float('CANARY-cell')"), "X108"),
    "a factory that opens a file": (factory("return open('CANARY-file.csv').read()"), "X108"),
    "a factory that gives mixed values": (factory(MIXED), "X109"),
    "a factory that leaves": (factory("raise SystemExit('CANARY-exit')"), "X312"),
    "a factory that fails on the way to another error": (factory(TWICE), "X108"),
    "a module that raises when imported": (import_raises, "X108"),
    "a model that raises when made": (init_raises, "X108"),
    "a model that names what it is given": (forward("raise ValueError(f'CANARY-{x}')"), "X156"),
    "a model that fails on real values only": (forward(REAL + "raise KeyError(f'CANARY-{x}')"), "X312"),
    "a model that refuses real values": (forward(REAL + "raise ValueError(f'CANARY-{x}')"), "X221"),
    "a model that answers with NaN": (forward(REAL + "return self.only(x) * float('nan')"), "X536"),
    "a model that asks for another shape": (forward("x = x.reshape(-1, 7)"), "X156"),
}


@pytest.mark.parametrize("case", CASES)
def test_tells_no_value_of_the_data_when_something_fails(place, case):
    make, expected = CASES[case]
    code, text = place.call("run", make(place))
    assert code in {2, 4}, text
    assert f"error[{expected}]" in text
    assert CANARY not in text
    assert CANARY not in place.told()


def test_shows_a_users_exception_on_the_terminal_where_that_is_asked_for(place):
    recipe = CASES["a factory that raises"][0](place)
    _, text = place.call("run", recipe)
    assert "--show-data shows it here and keeps it nowhere" in text
    _, text = place.call("run", recipe, "--show-data")
    assert "said: CANARY-row: Jane Doe" in text
    code, text = place.call("plan", recipe, "--json", "--show-data")
    assert code == 4
    assert json.loads(text)[0]["said"] == "CANARY-row: Jane Doe"
    _, text = place.call("plan", recipe, "--json")
    assert "said" not in json.loads(text)[0]
    assert CANARY not in place.told()


@pytest.mark.parametrize("header", ["name,one,two,sick", "CANARY-head,0.123,7.5,well"])
def test_begins_a_recipe_with_nothing_of_the_data_but_columns_and_classes(place, header):
    place.csv(header=header)
    code, text = place.call("init", f"{place.module}:Net", "--data", "rows.csv", "--label", "sick", "--out", "new.yaml")
    assert code == (0 if header.startswith("name") else 2), text
    assert CANARY not in text + place.told()
    if code == 0:
        assert CANARY not in (place.folder / "new.yaml").read_text("utf-8")


def test_begins_a_recipe_with_no_name_of_an_image(place):
    image_folder(place, each=20)
    model = f"{place.module}:Pooled"
    code, text = place.call("init", model, "--data", "faces", "--label", "sick", "--out", "new.yaml")
    assert code == 0, text
    assert CANARY not in text + place.told() + (place.folder / "new.yaml").read_text("utf-8")


def test_keeps_its_canaries_where_they_are_looked_for(place):
    """Each case fails on what holds a canary: what is not there could not be told."""
    place.csv()
    assert CANARY in (place.folder / "rows.csv").read_text("utf-8")
    assert "canary_in_process" not in sys.modules
