"""The shipped recipes, run whole on data that comes with scikit-learn."""

import json
import shutil
from pathlib import Path

import pytest

import titrant

from ..conftest import called_here  # noqa: TID252 - tests are no package that is installed

ROOT = Path(__file__).parent.parent.parent
RECIPES = ROOT / "recipes"


@pytest.fixture
def run(warm_workers, tmp_path):
    def call(name):
        shutil.copy(RECIPES / f"{name}.yaml", tmp_path)  # a run writes a lock beside its recipe
        answer = called_here(tmp_path, tmp_path / "home", "run", "-q", f"{name}.yaml")
        folder = sorted((tmp_path / "home" / "runs").iterdir())[-1]
        fits_its_schema(folder)
        return answer, folder, json.loads((folder / "record.json").read_text())

    return call


def fits_its_schema(folder):
    """Hold a run's report against what is published of it, whatever its task."""
    import jsonschema

    schema = json.loads((ROOT / "docs" / "reference" / "report.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads((folder / "report.json").read_text("utf-8")))


def gates(record, candidate):
    found = next(one for one in record["candidates"] if one["candidate"] == candidate)
    return {result["gate"]: result for result in found["judgement"]["results"]}


@pytest.mark.slow
def test_releases_the_breast_cancer_model_with_every_gate_on_answers_proven(shipped):
    (folder,) = (shipped / "home" / "runs").iterdir()
    fits_its_schema(folder)
    record = json.loads((folder / "record.json").read_text())
    assert {one["candidate"] for one in record["candidates"]} >= {"onnx-fp32", "ort.dynamic", "ort.static"}
    found = gates(record, record["released"][0])
    timed = found.pop("latency.p95")  # proven where the machine is quiet enough to tell, and no test depends on that
    assert timed["estimate"] < 0.005
    assert record["verdict"] == {"PASS": "PASS", "INCONCLUSIVE": "NOT PROVEN"}[timed["verdict"]]
    assert {"retention", "calibration", "size", "reference"} <= set(found)
    assert {result["verdict"] for result in found.values()} == {"PASS"}
    assert found["retention"]["refused"] == ["permuted", "broken"]
    assert not any(result["let_through"] for result in found.values())
    assert found["reference"]["lower"] > 0.9
    assert "was judged in batches of 64" in (folder / "report.md").read_text()
    with titrant.load(folder) as released:
        assert released.batch == 64
    assert (folder / "outputs" / "model.onnx").stat().st_size <= 200 * 1024
    assert not list((folder / "quarantine").iterdir())


@pytest.mark.slow
def test_cannot_prove_the_critical_recipe_and_says_how_many_cases_would(run):
    (code, out, err), folder, record = run("breast_cancer_critical")
    assert code == 5, err
    assert record["verdict"] == "INCONCLUSIVE"
    assert record["released"] == []
    kept = gates(record, record["candidates"][0]["candidate"])["safety.kept"]
    assert kept["verdict"] == "INCONCLUSIVE"
    assert kept["cases"] < 149
    assert kept["needed_cases"] == 299
    company = gates(record, record["candidates"][0]["candidate"])["batch_invariance"]
    assert (company["verdict"], company["cases"]) == ("PASS", 171)
    assert "299 cases with no loss would prove it" in " ".join(out.split())
    assert not [file for file in (folder / "outputs").rglob("*") if file.is_file()]
    assert (folder / "quarantine" / "model.onnx").is_file()
    assert "keep the original" in (folder / "report.md").read_text().lower()


@pytest.mark.slow
def test_quantizes_the_digits_network_to_a_third_of_its_size(shipped_digits):
    (folder,) = (shipped_digits / "home" / "runs").glob("*-digits-cnn-*")
    fits_its_schema(folder)
    record = json.loads((folder / "record.json").read_text())
    assert record["verdict"] == "PASS"
    assert record["released"] == ["ort.static"]
    steps = {step["step"]: step["result"] for step in record["steps"] if step["result"]}
    original = steps["fit"]["outputs"]["model"]["size"]
    assert original >= 4 * 100_000
    assert (folder / "outputs" / "model.onnx").stat().st_size <= 0.31 * original
    assert gates(record, "ort.static")["retention"]["verdict"] == "PASS"
