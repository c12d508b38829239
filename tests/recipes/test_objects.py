"""Masks and boxes through the whole chain: the shipped recipe, and the docs' example, trained shortly."""

import json
import shutil
from pathlib import Path

import pytest

from ..conftest import called_here  # noqa: TID252 - tests are no package that is installed

ROOT = Path(__file__).parent.parent.parent
# What is mended or mixed is `tests/runtime/run`'s.
ALONE = ("--set", "quantization.repair=none", "--set", "search.mix_layers=false")
SHORT = ("--set", "profile.batches=[1]", "--set", "profile.iterations=20", *ALONE)


@pytest.fixture
def run(warm_workers, tmp_path):
    def call(folder, name, *more):
        copied = shutil.copytree(folder, tmp_path / "recipe", ignore=lambda _, names: [
            each for each in names if each != name and not each.startswith("squares")
        ])  # fmt: skip
        code, out, err = called_here(copied, tmp_path / "home", "run", "-q", name, *SHORT, *more)
        assert code in (0, 5), out + err
        (record,) = (tmp_path / "home" / "runs").glob("*/record.json")
        return json.loads(record.read_text("utf-8")), record.parent

    return call


def gates(record, candidate="ort.static"):
    judged = next(one for one in record["candidates"] if one["candidate"] == candidate)["judgement"]
    return {result["gate"]: result for result in judged["results"]}


@pytest.mark.slow
def test_releases_the_network_that_finds_digits_and_lines(shipped_masks):
    (folder,) = (shipped_masks / "home" / "runs").glob("*-digit-masks-*")
    record = json.loads((folder / "record.json").read_text("utf-8"))
    assert record["released"] == ["ort.static"]
    results = gates(record)
    assert {name: results[name]["verdict"] for name in ("retention", "reference", "bias.side.left")} == {
        "retention": "PASS", "reference": "PASS", "bias.side.left": "PASS",
    }  # fmt: skip
    assert results["retention"]["refused"] == ["permuted", "broken", "without"]
    # A line is in every other image.
    assert results["dice.class_line.retention"]["cases"] < 0.75 * results["retention"]["cases"]
    assert "dice" in (folder / "report.md").read_text("utf-8")


@pytest.mark.slow
def test_judges_a_detector_by_what_its_decoding_finds(run):
    record, folder = run(
        ROOT / "docs" / "examples" / "squares", "recipe.yaml",
        "--set", "train={epochs: 6, learning_rate: 0.02, loss: 'squares:loss'}", "--set", "validation.retention=0.5",
        "--set", "model.args.channels=16", "--set", "data.source={factory: 'squares:squares', args: {count: 500}}",
    )  # fmt: skip
    steps = {step["step"]: step for step in record["steps"]}
    assert {"baseline.evaluation.raw", "ort.static.evaluation.raw"} & set(steps)
    results = gates(record, record["candidates"][0]["candidate"])
    assert results["reference"]["verdict"] == "PASS"
    assert results["box_f1.all.retention"]["cases"] <= 150
    assert "average_precision" in (folder / "report.json").read_text("utf-8")
