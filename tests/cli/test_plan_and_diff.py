"""`titrant plan` as Markdown, JSON and trace, and `titrant diff` of recipes, plans, runs and locks."""

import json
import os
import re
import sys
from dataclasses import replace

import pytest

import titrant
from titrant.runtime.store.home import newest_first
from titrant.schema.diagnostics.diagnostics import InfeasibleError

IDENTITY = """
import sys
from pathlib import Path
import titrant
from titrant.schema.values.canonical import canonical_json
from titrant.schema.plan import identity
sys.stdout.write(canonical_json(identity(titrant.plan(titrant.read(Path(sys.argv[1]))).plan)))
"""


@pytest.fixture(scope="module")
def place(finished):
    """A place in which the small recipe ran, and ran again with a laxer contract as laxer.yaml."""
    made, _ = finished
    made.write("laxer.yaml", made.recipe().read_text("utf-8").replace("retention: 0.9", "retention: 0.8"))
    answer = made.titrant("run", "laxer.yaml", "-q")
    assert answer.code == 0, answer.all
    made.write("old.lock.yaml", "lock: 1\nmetrics:\n  accuracy: 0.9\n")
    made.write("new.lock.yaml", "lock: 1\nmetrics:\n  accuracy: 0.8\n")
    return made


def runs(place):
    return [folder.name for folder in reversed(newest_first(place.home / "runs"))]


def test_gives_the_same_identity_bytes_in_other_processes_places_zones_and_locales(place):
    import subprocess

    texts = []
    elsewhere = place.home.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    for folder, variables in (
        (place.folder, {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C"}),
        (elsewhere, {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "LANG": "de_DE.UTF-8"}),
    ):
        for file in ("rows.csv", "net.py", "recipe.yaml"):
            os.utime(place.folder / file)
        done = subprocess.run(
            [sys.executable, "-c", IDENTITY, os.path.relpath(place.folder / "recipe.yaml", folder)],
            cwd=folder,
            env={**os.environ, "TITRANT_HOME": str(place.home), **variables},
            capture_output=True,
            check=True,
        )
        texts.append(done.stdout)
    assert len(texts[0]) > 1000
    assert texts[0] == texts[1]


def test_tells_two_recipes_apart_key_by_key(place):
    answer = place.titrant("diff", "recipe.yaml", "laxer.yaml", "--exit-code")
    assert answer.code == 6
    assert "~ validation.retention: 0.9 → 0.8\n      recipe.yaml:15:14 → laxer.yaml:15:14" in answer.out


def test_says_in_one_sentence_that_nothing_differs(place):
    answer = place.titrant("diff", "recipe.yaml", "recipe.yaml", "--exit-code")
    assert (answer.code, answer.out) == (0, "recipe.yaml and recipe.yaml ask for the same: nothing differs\n")
    first = runs(place)[0]
    answer = place.titrant("diff", first, first, "--exit-code")
    assert (answer.code, answer.out) == (0, f"the runs {first} and {first} are the same: nothing differs\n")


def test_finds_the_first_cause_of_what_two_runs_differ_in(place):
    first, second = runs(place)
    answer = place.titrant("diff", first, "latest", "--json")
    assert answer.code == 0, answer.all
    found = json.loads(answer.out)
    assert (found["kind"], found["old"], found["new"]) == ("run", first, second)
    assert (found["first_cause"]["layer"], found["first_cause"]["path"]) == ("recipe", "validation.retention")
    keys = {one["path"]: one["cause"] for one in found["differences"] if one["layer"] == "keys"}
    assert keys["onnx-fp32.contract"] == "its params.gates[0].threshold"
    assert "fit" not in keys
    text = place.titrant("diff", first, second).out
    assert f"{first} → {second}\nfirst cause: recipe validation.retention: 0.9 → 0.8" in text


def test_compares_a_saved_plan_a_recipe_and_a_run_by_their_plans(place):
    assert place.titrant("plan", "recipe.yaml", "--out", "saved.json", "-q").code == 0
    same = place.titrant("diff", "saved.json", "recipe.yaml", "--exit-code")
    assert same.code == 0, same.all
    other = place.titrant("diff", "saved.json", "laxer.yaml", "--exit-code")
    assert other.code == 6
    assert "follows from recipe validation.retention" in other.out
    assert place.titrant("diff", runs(place)[1], "laxer.yaml", "--exit-code").code == 0


def test_counts_predicted_times_of_machines_that_hardly_differ(place):
    for machine in ("x86-avx2", "x86-vnni"):
        planned = place.titrant("plan", "recipe.yaml", "--hardware", machine, "--out", f"{machine}.json", "-q")
        assert planned.code == 0, planned.all
    text = place.titrant("diff", "x86-avx2.json", "x86-vnni.json").out
    pairs = re.findall(r"~ \S+\.seconds: ([\d.]+) ms → ([\d.]+) ms", text)
    assert all(abs(float(old) / float(new) - 1) > 0.01 for old, new in pairs)
    assert re.search(r"besides, \d+ predicted times within 1 % differ: titrant diff -v lists them", text)
    whole = place.titrant("diff", "x86-avx2.json", "x86-vnni.json", "-v").out
    assert len(re.findall(r"\.seconds: ", whole)) > len(pairs)


def test_compares_locks_fact_by_fact(place):
    answer = place.titrant("diff", "old.lock.yaml", "new.lock.yaml")
    assert "~ metrics.accuracy: 0.9 → 0.8\n      old.lock.yaml:3:3 → new.lock.yaml:3:3" in answer.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("old.lock.yaml", "recipe.yaml"), "error[P030]: a lock and a recipe cannot be compared"),
        (("recipe.yaml", "missing.yaml"), "missing.yaml"),
        (("latest", "never"), "error[P007]: there is no run 'never'"),
        (("latest", "rows.csv"), "error[P007]: rows.csv is a file, and a run is a folder"),
        (("recipe.yaml", "laxer.yaml", "--trust"), "error[P014]: --trust has nothing to act on"),
    ],
)
def test_refuses_what_cannot_be_compared(place, arguments, sentence):
    answer = place.titrant("diff", *arguments)
    assert answer.code == 2
    assert sentence in answer.err


def test_writes_a_plan_for_a_pull_request(place):
    answer = place.titrant("plan", "recipe.yaml", "--md")
    assert answer.code == 0
    assert answer.out.startswith("## Plan of `small`\n")
    assert answer.out.count("<details>") == answer.out.count("</details>") == 3


def test_writes_json_with_sorted_keys_and_the_layers_that_methods_cover(place):
    answer = place.titrant("plan", "recipe.yaml", "--json")
    value = json.loads(answer.out)
    assert answer.out == json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert {one["method"] for one in value["coverage"]} >= {"ort.static", "ort.dynamic"}


def test_shows_what_is_no_longer_planned_and_what_each_pass_changed(place):
    answer = place.titrant("plan", "recipe.yaml", "--set", "export=[{format: torchscript}]", "--trace")
    assert re.search(r"\n  - onnx-fp32 +export\.onnx\n", answer.out)
    assert "drop no-ops: " in answer.out
    assert "removed: torchscript-fp32.fused" in answer.out


def test_refuses_a_machine_that_has_too_little_memory(place):
    assert place.titrant("hardware", "--save", "small.json", "-q").code == 0
    value = json.loads((place.folder / "small.json").read_text("utf-8"))
    value["identity"]["memory_bytes"] = 64 << 20
    place.write("small.json", json.dumps(value))
    answer = place.titrant("plan", "recipe.yaml", "--set", "train.epochs=5", "--hardware", "small.json")
    assert answer.code == 3
    assert "error[P025]: step fit needs 128.0 MiB of memory or more, and this machine has 64.0 MiB" in answer.err


def test_checks_what_is_free_once_more_when_a_plan_runs(place, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(place.home))
    planned = titrant.plan(titrant.read(place.folder / "recipe.yaml", ["train.epochs=5"]))
    greedy = {**planned.needs, "fit": replace(planned.needs["fit"], memory_bytes=1 << 60)}
    with pytest.raises(InfeasibleError, match=r"P025: step fit needs .* of memory or more, and .* are free now"):
        titrant.run(replace(planned, needs=greedy))
    stored = titrant.plan(titrant.read(place.folder / "recipe.yaml"))
    # What is stored already needs no room, and the same recipe by another name of its path is the same run.
    greedy = {**stored.needs, "fit": replace(stored.needs["fit"], memory_bytes=1 << 60)}
    assert titrant.run(replace(stored, needs=greedy)).executed == 0


def test_names_the_fact_that_moved_under_a_saved_plan_and_notes_a_changed_recipe(place):
    assert place.titrant("plan", "recipe.yaml", "--out", "held.json", "-q").code == 0
    text = (place.folder / "recipe.yaml").read_text("utf-8")
    place.write("recipe.yaml", f"# Another day.\n{text}")
    answer = place.titrant("run", "held.json", "--dry-run", "-q")
    assert answer.code == 0, answer.all
    assert "recipe.yaml has changed since the plan was saved; the plan runs as it was saved" in answer.err
    place.write("recipe.yaml", text)
    held = json.loads((place.folder / "held.json").read_text("utf-8"))
    held["plan"]["hardware"]["packages"]["torch"] = "1.0"
    place.write("held.json", json.dumps(held))
    answer = place.titrant("run", "held.json", "--dry-run")
    assert answer.code == 6
    assert "error[P006]: the saved plan no longer holds: hardware.packages.torch was '1.0' and is" in answer.err
