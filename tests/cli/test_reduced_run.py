"""A run of a reduced network says of the reduction alone what it gave, wherever it tells of the run."""

import csv
import json

import numpy as np
import pytest

PRUNED = (
    ("quantization: {method: none}\n", "quantization: {method: ort.dynamic}\n"
     "reduction: {pruning: {method: magnitude, sparsity: 0.5}}\nsearch: {mix_layers: false}\n"),
)  # fmt: skip


@pytest.fixture(scope="module")
def pruned(shared_place):
    """Run a recipe that masks half of the weights: its folder, and what was printed."""
    answer = shared_place.here("run", shared_place.recipe(*PRUNED))
    assert answer.code == 0, answer.all
    (folder,) = (shared_place.home / "runs").iterdir()
    return shared_place, folder, " ".join(answer.out.split())


def test_says_what_the_reduction_alone_gave_on_the_terminal_and_in_every_report(pruned):
    _, folder, printed = pruned
    report = json.loads((folder / "report.json").read_text("utf-8"))
    (reduction,) = report["summary"]["searches"][0]["reductions"]
    assert (reduction["operator"], reduction["ratio"], reduction["trained"]) == ("prune.magnitude", 1.0, True)
    assert 0.4 < reduction["masked"] <= 0.5
    said = (
        f"what is left, trained again, keeps {reduction['kept']:.4f} of the original's accuracy, at least "
        f"{reduction['lower']:.4f} at 0.95 confidence, on 120 evaluation rows"
    )
    assert said in printed
    assert said in (folder / "report.md").read_text("utf-8")
    assert said.replace("'", "&#39;") in (folder / "report.html").read_text("utf-8")
    assert "reduction and precision" in printed


def test_measures_the_network_before_it_is_quantized_and_charges_no_look_for_it(pruned):
    place, folder, _ = pruned
    record = json.loads((folder / "record.json").read_text("utf-8"))
    assert record["look"]["number"] == 1
    (candidate,) = [each for each in record["candidates"] if each["status"] == "released"]
    (reduction,) = candidate["reductions"]
    (kept,) = [step["result"] for step in record["steps"] if step["step"].endswith(".kept")]
    assert kept["operator"] == "validate.contract"
    assert (reduction["rows"], reduction["because"]) == (120, "")
    assert reduction["lower"] < reduction["kept"]
    assert place.here("plan", "recipe.yaml", "--exit-code").code == 0  # all of it is known, the figure too


def test_writes_the_answers_of_the_released_file_to_a_table_not_those_of_the_network_before(pruned):
    place, folder, _ = pruned
    assert place.here("report", "latest", "--rows", "judged.csv").code == 0
    with (place.folder / "judged.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    name = json.loads((folder / "record.json").read_text("utf-8"))["released"][0]
    right = np.mean([row[f"{name}.answer"] == row["label"] for row in rows])
    (whole,) = json.loads((folder / "report.json").read_text("utf-8"))["record"]["values"]["metrics"][name]
    brier = np.mean([(float(row[f"{name}.score.1"]) - (row["label"] == "1")) ** 2 for row in rows])
    assert right == whole["candidate"]["accuracy"]
    np.testing.assert_allclose(brier, whole["candidate"]["brier"], rtol=1e-12)
