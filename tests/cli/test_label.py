"""Label only what differs: run, write the rows, fill them in, run again."""

import csv
import stat

import numpy as np
import pytest

RETENTION = (
    "validation: {retention: 0.9}",
    "validation: {retention: 0.998, safety: none, calibration: none, require: proof}",
)
STATIC = ("quantization: {method: none}", "quantization: {method: ort.static}")
MORE = ("  label: sick\n", "  unlabeled: {csv: more.csv}\n  label: sick\n")
MODELS = ("one", "two", "three", "four")


def table(text):
    return list(csv.DictReader(text.splitlines()))


def rows(count):
    """Write further rows like those of the recipe, with what they would be labeled."""
    generator = np.random.default_rng(5)
    values = generator.normal(size=(count, 4))
    sick = (values @ np.array([2.0, -1.5, 1.0, 0.5]) > 0).astype(int)
    lines = [
        ",".join([*(f"{value:.6f}" for value in row), str(label)]) for row, label in zip(values, sick, strict=True)
    ]
    return "\n".join(["one,two,three,four,sick", *lines]) + "\n"


@pytest.fixture(scope="module")
def ran(shared_place):
    """A place in which a recipe ran whose candidate needs labels of some rows, and what it printed."""
    place = shared_place
    truth = rows(3000)
    lines = truth.splitlines()
    place.write("truth.csv", truth)
    place.write("more.csv", "\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    recipe = place.recipe(RETENTION, STATIC, MORE)
    return place, place.titrant("run", recipe)


@pytest.fixture
def filled(ran, tmp_path):
    """Write the rows to be labeled, and return a function that fills them in."""
    place, _ = ran
    out = place.folder / f"todo-{tmp_path.name}.csv"
    answer = place.here("label", "latest", "--out", out)
    assert answer.code == 0, answer.all
    truth = {
        tuple(line[name] for name in MODELS): line["sick"] for line in table((place.folder / "truth.csv").read_text())
    }
    lines = table(out.read_text())

    def fill(change=lambda lines: lines):
        for line in lines:
            line["titrant_label"] = truth[tuple(f"{float(line[name]):.6f}" for name in MODELS)]
        done = place.folder / f"done-{tmp_path.name}.csv"
        with done.open("w", newline="") as file:
            writer = csv.DictWriter(file, lines[0])
            writer.writeheader()
            writer.writerows(change(lines))
        return done.name

    return answer, lines, out, fill


def test_plans_how_few_labels_would_do_and_runs_both_models_on_all_rows(ran):
    place, answer = ran
    assert answer.code == 5, answer.all
    assert "labels for retention: data.unlabeled → " in answer.err
    assert "cases without labels" in answer.out
    assert "`titrant label` writes these rows" in " ".join(answer.out.split())
    plan = place.here("plan", "recipe.yaml", "-v").out
    assert "baseline.unlabeled" in plan
    assert "ort.static.unlabeled" in plan


def test_writes_the_rows_that_differ_and_nothing_that_the_models_answer(filled):
    answer, lines, out, _ = filled
    assert list(lines[0]) == ["titrant_row", *MODELS, "titrant_label"]
    assert {line["titrant_label"] for line in lines} == {""}
    assert f"{len(lines)} rows to label of 3,000" in answer.out
    assert f"ort.static on {len(lines)}" in answer.out
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert len({line["titrant_row"] for line in lines}) == len(lines)


def test_names_a_row_alike_each_time_and_overwrites_nothing(ran, filled):
    place, _ = ran
    _, lines, out, _ = filled
    again = place.here("label", "latest", "--out", out)
    assert (again.code, "X439" in again.err) == (2, True)
    other = place.folder / f"{out.stem}-again.csv"
    assert place.here("label", "latest", "--out", other, "--candidate", "ort.static").code == 0
    assert table(other.read_text()) == lines


def test_judges_by_the_labels_that_come_back(ran, filled):
    place, before = ran
    *_, fill = filled
    place.recipe(RETENTION, STATIC, (MORE[0], MORE[1].replace("  label", f"  labels: {fill()}\n  label")))
    answer = place.titrant("run", "recipe.yaml")
    said = " ".join(answer.out.split())
    assert "without a label" not in said
    assert "look number" not in said  # the labels are of rows that were looked at already, and no new look
    assert said != " ".join(before.out.split())
    assert "1 step executed" not in said
    assert answer.code == 0, answer.all
    # Files that are written now keep the labels that were given.
    out = place.folder / "kept.csv"
    kept = place.here("label", "latest", "--out", out)
    assert kept.code == 0, kept.all
    assert {line["titrant_label"] for line in table(out.read_text())} <= {"0", "1"}


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("X227", lambda lines: [{**lines[0], "titrant_row": "0" * 32}, *lines[1:]]),
        ("X228", lambda lines: [*lines, lines[0]]),
        ("X229", lambda lines: [{**lines[0], "titrant_label": "perhaps"}, *lines[1:]]),
    ],
)
def test_refuses_labels_of_other_rows_twice_or_of_no_class(ran, filled, code, change):
    place, _ = ran
    *_, fill = filled
    place.recipe(RETENTION, STATIC, (MORE[0], MORE[1].replace("  label", f"  labels: {fill(change)}\n  label")))
    answer = place.titrant("run", "recipe.yaml")
    assert answer.code == 2, answer.all
    assert f"error[{code}]" in answer.err
    assert "recipe.yaml:" in answer.err  # where the labels are named
    assert "perhaps" not in answer.all


def test_refuses_rows_that_are_labeled_elsewhere(ran):
    place, _ = ran
    place.recipe(RETENTION, STATIC, (MORE[0], MORE[1].replace("more.csv", "rows.csv")))
    answer = place.here("plan", "recipe.yaml")
    assert "error[X225]" in answer.err
    assert answer.code == 2


def test_says_what_there_is_to_label_of_a_run_without_such_rows(finished):
    place, _ = finished
    answer = place.here("label", "latest", "--out", "todo.csv")
    assert (answer.code, "X437" in answer.err) == (2, True)


def test_names_the_candidates_that_were_judged(ran):
    place, _ = ran
    answer = place.here("label", "latest", "--out", "none.csv", "--candidate", "ort.dynamic")
    assert (answer.code, "X438" in answer.err, "judged: ort.static" in answer.err) == (2, True, True)
    assert place.here("label", "latest", "--out", "no/folder.csv").code == 2
