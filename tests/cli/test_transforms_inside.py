"""A recipe that puts its transforms into the file: plain onnxruntime decides on raw columns as titrant does."""

import html
import re
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - the tests write tables
import pytest

import titrant

from ..conftest import called_here  # noqa: TID252 - tests are no package that is installed

pytestmark = pytest.mark.slow

RECIPE = """\
titrant: 1
name: inside
level: balanced
task: binary_classification
model: {factory: "titrant.recipes.models:TabularNet", args: {features: auto, classes: 2}}
data:
  source: {csv: rows.csv}
  label: sick
  positive: "yes"
  transform: [impute, one_hot, standardize]
train: {epochs: 3}
quantization: {method: METHOD}
validation: {retention: none, calibration: none}
profile: {batches: [1], iterations: 20}
export: [{format: onnx, name: beside}, {format: onnx, name: inside, transforms: inside}]
"""


def table():
    generator = np.random.default_rng(0)
    rows = 900
    age = generator.normal(50, 12, rows).round(1)
    frame = pd.DataFrame(
        {
            "age": np.where(generator.random(rows) < 0.1, np.nan, age),
            "sex": generator.choice(["f", "m"], rows),
            "visits": generator.integers(0, 9, rows),
            "kind": np.where(generator.random(rows) < 0.1, None, generator.choice(["a", "b", "ü"], rows)),
        }
    )
    return frame.assign(sick=np.where(age + 4 * (frame["sex"] == "m") > 52, "yes", "no"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder whose runs have the trained model in common."""
    made = tmp_path_factory.mktemp("inside")
    table().to_csv(made / "rows.csv", index=False)
    return made


@pytest.mark.parametrize("method", ["none", "ort.dynamic", "ort.static"])
def test_decides_in_plain_onnxruntime_as_beside_titrant(method, folder):
    frame, runs = table(), set((folder / "home").glob("runs/*"))
    (folder / "recipe.yaml").write_text(RECIPE.replace("METHOD", method))
    code, out, err = called_here(folder, folder / "home", "run", "-q", "recipe.yaml")
    assert code == 0, out + err
    [run] = set((folder / "home").glob("runs/*")) - runs
    raw = frame.drop(columns="sick")
    raw.loc[len(raw)] = [np.nan, "unseen", 3, ""]
    with titrant.load(run, name="beside") as beside, titrant.load(run, name="inside") as inside:
        expected, answers = beside(raw), inside(raw)
    assert np.array_equal(answers.decisions, expected.decisions)
    np.testing.assert_allclose(answers.probabilities, expected.probabilities, atol=1e-6)
    page = (run / "report.html").read_text("utf-8")
    blocks = [html.unescape(block) for block in re.findall(r"<pre[^>]*><code>(.*?)</code>", page, re.S)]
    [snippet] = [block for block in blocks if "outputs/inside.onnx" in block]
    code = snippet.replace("outputs/inside.onnx", str(Path(run, "outputs", "inside.onnx")))
    # One batch size, as titrant answers: scales of a dynamic method are found from the batch.
    positive = []
    for start in range(0, len(raw), beside.batch):
        scope = {"rows": raw.iloc[start : start + beside.batch].fillna({"kind": ""})}
        exec(compile(code, "snippet", "exec"), scope)
        positive.append(scope["positive"])
    assert np.array_equal(np.concatenate(positive), expected.decisions == "yes")
