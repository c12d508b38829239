"""A table as a hospital's program writes it, from its file to one served row: what was found is said in the plan."""

import json

import numpy as np
import pytest

import titrant

RECIPE = """\
titrant: 1
name: ward
level: minimal
task: binary_classification
model: {factory: "net:Net", args: {features: auto, classes: auto}}
data:
  source: {csv: ward.csv}
  label: befund
  positive: NA
  transform: [{impute: {indicator: true}}, one_hot, standardize]
  subgroups: {sex: {column: sex}}
train: {epochs: 3, learning_rate: 0.05}
quantization: {method: none}
validation: {retention: 0.8}
profile: {batches: [1], iterations: 60, warmup: 2}
export: [{format: onnx}]
"""


def ward(rows=400):
    """Write rows as a spreadsheet in German does: semicolons, decimal commas, points between thousands, cp1252."""
    chance = np.random.default_rng(3)
    sick = chance.random(rows) < 0.5
    size = np.round(170 + 9 * sick + chance.normal(scale=3, size=rows), 1)
    cost = np.round(chance.random(rows) * 90_000 + 1000.5, 2)
    lines = ["größe;kosten;plz;sex;labor;befund"]
    for place in range(rows):
        figure = f"{cost[place]:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")
        height = "?" if place % 20 == 3 else f"{size[place]:.1f}".replace(".", ",")
        lab = "-999" if place % 9 == 0 else f"{place % 7},5"
        sex = "divers" if place in (5, 7) else "wm"[place % 2]
        lines.append(f"{height};{figure};{place % 30:05d};{sex};{lab};{'NA' if sick[place] else 'krank'}")
    return "\r\n".join(lines).encode("cp1252")


@pytest.fixture
def hospital(place):
    (place.folder / "ward.csv").write_bytes(ward())
    place.write("recipe.yaml", RECIPE)
    return place


def test_says_in_the_plan_what_it_found_in_a_table(hospital):
    done = hospital.titrant("plan", "recipe.yaml", COLUMNS="400")
    assert done.code == 0, done.all
    text = " ".join(done.out.split())
    for line in (
        "ward.csv is read as cp1252, separator semicolon, decimal comma, thousands parted by `.`",
        "plz has whole numbers that begin with 0, which are codes and read as text",
        'befund has `NA`, and it is a text there as others: `missing: ["NA"]` reads them as missing',
        "`?` in größe is read as missing",
        "1 input says where a gap was filled, each behind its column: größe_missing",
        "`labor` is -999 in 45 rows, far from all its other values",
    ):
        assert line in text
    planned = json.loads(hospital.here("plan", "recipe.yaml", "--json").out)["plan"]
    (listed,) = [one for one in planned["decisions"] if one["rule"] == "subgroups.found"]
    assert listed["chosen"].split(", ")[0] in ("divers <5", "divers 0")
    counts = [
        part for part in listed["chosen"].split(", ") if part[-1].isdigit() and "<" not in part and part[-2:] != " 0"
    ]
    assert len(counts) == (1 if "<5" in listed["chosen"] else 2)


def test_serves_one_row_with_a_gap_as_it_was_trained(hospital):
    done = hospital.titrant("run", "recipe.yaml")
    assert done.code == 0, done.all
    (run,) = (hospital.home / "runs").iterdir()
    row = {"größe": 181.5, "kosten": 1234.5, "plz": "00007", "sex": "w", "labor": 3.5}
    with titrant.load(run) as model:
        (known,) = model(row).probabilities
        (gap,) = model({**row, "größe": None}).probabilities
        assert not np.allclose(known, gap)
        for rows in ([{**row, "größe": None}], {name: [value] for name, value in {**row, "größe": None}.items()}):
            np.testing.assert_array_equal(model(rows).probabilities, [gap])
        assert model([row, {**row, "größe": None}]).decisions.shape == (2,)


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("csv: ward.csv", "csv: {path: ward.csv, encoding: utf-8}", "X235", "is not utf-8 text at byte 2"),
        ("csv: ward.csv", 'csv: {path: ward.csv, separator: ","}', "X235", "its first line holds `;`"),
        ("{column: sex}", "{column: kosten}", "X125", "add `bins: [low, high]`"),
        ("{csv: ward.csv}", "{csv: {path: ward.csv, missing: [NA]}}", "X104", "where `NA` is read as missing"),
    ],
)
def test_refuses_in_one_line_with_the_mend(hospital, old, new, code, words):
    hospital.write("recipe.yaml", RECIPE.replace(old, new))
    done = hospital.titrant("plan", "recipe.yaml", COLUMNS="400")
    assert done.code in (2, 4)
    assert f"error[{code}]" in done.err
    assert words in " ".join(done.err.split())
    assert "Traceback" not in done.err
