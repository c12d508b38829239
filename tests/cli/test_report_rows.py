"""`titrant report RUN --rows FILE`: whoever has the file computes the figures that the report shows."""

import csv
import json
import re
import shutil
import stat

import numpy as np

from titrant.cli.main import main


def rows_of(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def accuracy(rows, name):
    return np.mean([row[f"{name}.answer"] == row["label"] for row in rows])


def report_of(place):
    (folder,) = (place.home / "runs").iterdir()
    return json.loads((folder / "report.json").read_text("utf-8"))


def test_writes_rows_from_which_the_figures_of_the_report_follow(finished):
    place, _ = finished
    answer = place.here("report", "latest", "--rows", "judged.csv")
    assert (answer.code, answer.out.strip()) == (0, "judged.csv")
    file = place.folder / "judged.csv"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    rows = rows_of(file)
    (whole,) = report_of(place)["record"]["values"]["metrics"]["onnx-fp32"]
    assert whole["cases"] == len(rows) == 120
    assert accuracy(rows, "original") == whole["original"]["accuracy"]
    assert accuracy(rows, "onnx-fp32") == whole["candidate"]["accuracy"]
    brier = np.mean([(float(row["onnx-fp32.score.1"]) - (row["label"] == "1")) ** 2 for row in rows])
    np.testing.assert_allclose(brier, whole["candidate"]["brier"], rtol=1e-12)
    assert all(re.fullmatch("[0-9a-f]{32}", row["row"]) for row in rows)
    assert len({row["row"] for row in rows}) == len(rows)


def test_names_a_row_alike_in_every_file_of_a_home_and_otherwise_in_another(finished, tmp_path):
    place, _ = finished
    assert place.here("report", "latest", "--rows", "a.csv").code == 0
    assert place.here("report", "latest", "--rows", "b.npz").code == 0
    names = [row["row"] for row in rows_of(place.folder / "a.csv")]
    arrays = np.load(place.folder / "b.npz", allow_pickle=False)
    assert arrays["row"].tolist() == names
    assert arrays["original.scores"].shape == (len(names), 2)
    shutil.copytree(place.home, tmp_path / "home")
    (tmp_path / "home" / "row.key").unlink()
    assert place.titrant("report", "latest", "--rows", "c.csv", TITRANT_HOME=str(tmp_path / "home")).code == 0
    assert not {row["row"] for row in rows_of(place.folder / "c.csv")} & set(names)


def test_leaves_a_file_that_is_there_alone_and_names_what_it_can_write(finished):
    place, _ = finished
    (place.folder / "kept.csv").write_text("mine\n")
    answer = place.here("report", "latest", "--rows", "kept.csv")
    assert (answer.code, (place.folder / "kept.csv").read_text()) == (2, "mine\n")
    assert "kept.csv is there already" in answer.err
    for file, words in (("rows.xlsx", ".csv or a .npz"), ("no/rows.csv", "cannot be written")):
        answer = place.here("report", "latest", "--rows", file)
        assert answer.code == 2
        assert words in answer.err
    assert place.here("report", "latest", "latest", "--rows", "x.csv").code == 2


def test_says_that_the_store_no_longer_has_the_rows(finished, tmp_path, monkeypatch, capsys):
    place, _ = finished
    shutil.copytree(place.home, tmp_path / "home")
    shutil.rmtree(tmp_path / "home" / "store")
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    assert main(["report", "latest", "--rows", str(tmp_path / "rows.csv")]) == 2
    assert "the store no longer has" in capsys.readouterr().err
    assert not (tmp_path / "rows.csv").exists()


def test_tells_units_and_subgroups(place):
    text = (place.folder / "rows.csv").read_text().splitlines()
    numbered = [f"{text[0]},person", *(f"{line},{number // 2}" for number, line in enumerate(text[1:]))]
    place.write("rows.csv", "\n".join(numbered) + "\n")
    recipe = place.recipe(
        ("  transform: [standardize]", "  transform: [standardize]\n  split: {by: person}\n"
         "  subgroups: {half: {column: one, bins: [0]}}"),
        ("args: {features: auto", "args: {features: 4"),
        # What the original can miss itself is judged on tuning rows as well, of which nothing is written.
        ("{retention: 0.9}", "{retention: 0.9, gates: [{metric: accuracy, comparison: at_least, threshold: 0.5}]}"),
    )  # fmt: skip
    assert place.titrant("run", "-q", recipe).code == 0
    assert place.here("report", "latest", "--rows", "judged.csv").code == 0
    rows = rows_of(place.folder / "judged.csv")
    assert all(name.partition(".")[0] for name in rows[0])
    assert {row["subgroup.half"] for row in rows} == {"one < 0", "≥ 0"}
    assert len({row["unit"] for row in rows}) == len(rows) // 2
    table = report_of(place)["record"]["values"]["metrics"]["onnx-fp32"]
    assert [(part["group"], part["units"]) for part in table] == [
        ("", 60),
        *(("half", part["units"]) for part in table[1:]),
    ]
    for part in table[1:]:
        chosen = [row for row in rows if row["subgroup.half"] == part["value"]]
        assert (part["cases"], part["candidate"]["accuracy"]) == (len(chosen), accuracy(chosen, "onnx-fp32"))


def test_writes_outputs_where_there_are_no_labels(place):
    recipe = place.recipe(
        ("binary_classification", "unlabeled"),
        ("  label: sick\n  positive: 1\n", "  inputs: [one, two, three, four]\n"),
        ("args: {features: auto, classes: auto}", "args: {features: 4, classes: 2}\n  weights: included"),
        ("train: {epochs: 4, learning_rate: 0.05}\n", ""), ("validation: {retention: 0.9}\n", ""),
    )  # fmt: skip
    answer = place.titrant("run", "-q", recipe)
    assert answer.code == 0, answer.all
    assert place.here("report", "latest", "--rows", "judged.csv").code == 0
    rows = rows_of(place.folder / "judged.csv")
    outputs = [name for name in rows[0] if name.startswith("original.")]
    assert len(outputs) == 2
    for name in outputs:
        np.testing.assert_allclose(
            [float(row[name]) for row in rows],
            [float(row[name.replace("original", "onnx-fp32", 1)]) for row in rows], atol=1e-5,
        )  # fmt: skip
    assert report_of(place)["record"]["values"].get("metrics", {}) == {}


def test_names_rows_as_the_recipe_says(place):
    text = (place.folder / "rows.csv").read_text().splitlines()
    place.write(
        "rows.csv", "\n".join([f"{text[0]},case", *(f"{row},C{n:03d}" for n, row in enumerate(text[1:]))]) + "\n"
    )
    recipe = place.recipe(
        ("  label: sick", "  label: sick\n  id: case"), ("args: {features: auto", "args: {features: 4")
    )
    answer = place.titrant("run", "-q", recipe)
    assert answer.code == 0, answer.all
    assert place.here("report", "latest", "--rows", "judged.csv").code == 0
    values = {
        line.split(",")[-1]: line.split(",")[4] for line in (place.folder / "rows.csv").read_text().splitlines()[1:]
    }
    rows = rows_of(place.folder / "judged.csv")
    assert len({row["row"] for row in rows}) == len(rows) == 120
    assert [values[row["row"]] for row in rows] == [row["label"] for row in rows]
    # A column that is not there, or names two rows alike, is refused.
    gone = place.titrant("run", "-q", "--set", "data.id=person", recipe)
    assert (gone.code, "person" in gone.err) == (2, True), gone.all
    place.write("rows.csv", (place.folder / "rows.csv").read_text().replace("C001", "C002"))
    assert "error[X226]" in place.titrant("run", "-q", recipe).err
