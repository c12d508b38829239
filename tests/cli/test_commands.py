"""The command line as a person uses it: plan, run, reuse, status, report, explain, interrupt."""

import json
import os
import re
import signal
import sys
import time
from dataclasses import replace

import pytest

import titrant
from titrant.runtime.store.home import newest_first


def test_says_what_was_released_and_why(finished):
    _, answer = finished
    first, *_ = answer.out.splitlines()
    assert first.startswith("small: PASS: released onnx-fp32; every gate of the contract is proven; ")
    assert " than the original (" in first
    assert "released onnx-fp32" in answer.out
    assert "report.html" in answer.out
    assert "decisions" in answer.err


def test_executes_nothing_the_second_time_and_says_so(finished):
    place, _ = finished
    before = sorted((place.home / "runs").iterdir())
    answer = place.titrant("run", "recipe.yaml")
    assert answer.code == 0
    assert "nothing executed" in answer.out
    assert sorted((place.home / "runs").iterdir()) == before


def test_reuses_everything_after_files_were_touched_and_moved(finished, tmp_path):
    place, _ = finished
    for file in place.folder.glob("*.py"):
        os.utime(file)
    os.utime(place.folder / "rows.csv")
    assert "nothing executed" in place.titrant("run", "recipe.yaml").out


def test_runs_again_only_what_a_change_touches(finished):
    place, _ = finished
    answer = place.titrant("status", "recipe.yaml", "--set", "validation.retention=0.8")
    changed = {line.split()[1] for line in answer.out.splitlines()[1:]}
    assert any("contract" in step for step in changed), answer.out
    assert not {"load", "split", "fit", "latency"} & changed, answer.out
    value = json.loads(place.titrant("status", "recipe.yaml", "--json").out)["recipes"][0]
    assert (value["recipe"], value["up_to_date"]) == ("recipe.yaml", True)
    assert value["forecast"]["fit"][0] == "="


def test_saves_a_plan_and_runs_it(finished, tmp_path):
    place, _ = finished
    saved = tmp_path / "plan.json"
    assert place.titrant("plan", "recipe.yaml", "--out", saved).code == 0
    answer = place.titrant("run", saved)
    assert answer.code == 0, answer.all
    assert "nothing executed" in answer.out


def test_refuses_a_saved_plan_whose_data_changed(finished, tmp_path):
    place, _ = finished
    saved = tmp_path / "plan.json"
    place.titrant("plan", "recipe.yaml", "--out", saved)
    rows = place.folder / "rows.csv"
    text = rows.read_text()
    try:
        rows.write_text(text.rstrip().rsplit("\n", 1)[0] + "\n")
        answer = place.titrant("run", saved)
    finally:
        rows.write_text(text)
    assert answer.code == 6, answer.all
    assert "no longer holds" in answer.err


def test_says_by_exit_code_whether_something_would_run(finished):
    place, _ = finished
    assert place.titrant("plan", "recipe.yaml", "--exit-code").code == 0
    assert place.titrant("plan", "recipe.yaml", "--exit-code", "--set", "seed=7").code == 6


def test_shows_the_plan_and_stops_on_a_dry_run(finished):
    place, _ = finished
    before = sorted((place.home / "runs").iterdir())
    answer = place.titrant("run", "recipe.yaml", "--dry-run", "--set", "seed=8")
    assert answer.code == 0
    assert "contract" in answer.out + answer.err
    assert sorted((place.home / "runs").iterdir()) == before


def test_lists_and_reports_runs(finished):
    place, _ = finished
    listed = place.titrant("show", "runs")
    assert "small" in listed.out, listed.all
    text = place.titrant("report", "latest", "--format", "md")
    assert text.out.startswith("# "), text.all
    value = json.loads(place.titrant("report", "latest", "--format", "json").out)
    assert value["summary"]


def test_explains_a_decision_a_step_and_a_code(finished):
    place, _ = finished
    assert "recipe.yaml:14" in place.titrant("explain", "recipe.yaml", "quantization.method").out
    step = place.titrant("explain", "latest", "fit")
    assert "train.fit" in step.out, step.all
    assert "wrong" in place.titrant("explain", "R012").out


def test_names_the_steps_most_like_one_that_a_run_has_not(finished):
    place, _ = finished
    answer = place.titrant("explain", "latest", "baseline.tunig")
    assert (answer.code, "has no step 'baseline.tunig'" in answer.all) == (2, True)
    assert re.search(r"it has \d+ steps, such as baseline\.tuning,", answer.all)


def test_logs_to_a_file_as_json_lines(finished, tmp_path):
    place, _ = finished
    log = tmp_path / "deep" / "run.jsonl"
    assert place.titrant("run", "recipe.yaml", "--log-file", log).code == 0
    assert all(json.loads(line)["level"] for line in log.read_text().splitlines())


def test_loads_what_it_released_and_answers_as_the_model_does(finished, monkeypatch):
    place, _ = finished
    monkeypatch.setenv("TITRANT_HOME", str(place.home))
    import numpy as np
    import pandas as pd

    frame = pd.read_csv(place.folder / "rows.csv")
    run = next((place.home / "runs").iterdir())
    answer = titrant.load(run)(frame)
    assert answer.probabilities.shape == (len(frame), 2)
    right = (np.asarray(answer.decisions).astype(str) == frame["sick"].astype(str)).mean()
    assert right > 0.85


@pytest.mark.slow
def test_goes_on_after_ctrl_c(place):
    forward = "return self.second"
    code = (place.folder / "net.py").read_text()
    # The inspection looks at the model on a few rows at most; training says that it is under way.
    tells = "import os\n        if self.training and x.shape[0] > 8: os.makedirs(os.environ['SIGN'], exist_ok=True)"
    place.write("net.py", code.replace(forward, f"{tells}\n        {forward}"))
    sign = place.home.with_name("training")
    recipe = place.recipe(("{epochs: 4, learning_rate: 0.05}", "{epochs: 100000}"))
    said = place.home.with_name("said.txt")
    with said.open("wb") as stream:
        process = place.warm.start(
            [sys.executable, "-m", "titrant", "run", str(recipe)],
            cwd=place.folder,
            env={**os.environ, "TITRANT_HOME": str(place.home), "CI": "true", "SIGN": str(sign)},
            stdout=stream,
            stderr=stream,
        )
    while not sign.exists():
        assert process.poll() is None, said.read_text("utf-8")
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    code, errors = process.wait(timeout=120), said.read_text("utf-8")
    assert code == 130, errors
    assert "Traceback" not in errors
    assert errors.rstrip().splitlines()[-1] == "interrupted; run the same command again to go on"
    again = place.titrant("run", recipe, "--set", "train.epochs=4", "-v", SIGN=str(sign))
    assert again.code == 0, again.all
    assert "= load" in again.err


def edited(text, change):
    value = json.loads(text)
    change(value)
    return json.dumps(value)


@pytest.mark.parametrize(
    "command",
    [
        ("run", "plan.json", "--set", "seed=7"),
        ("explain", "R012", "--trust"),
        ("explain", "latest", "fit", "--set", "seed=7"),
    ],
)
def test_refuses_options_that_have_nothing_to_act_on(finished, command):
    place, _ = finished
    assert place.titrant("plan", "recipe.yaml", "--out", "plan.json").code == 0
    answer = place.titrant(*command)
    assert answer.code == 2, answer.all
    assert "P014" in answer.err
    assert "has nothing to act on" in answer.err


def test_does_not_run_a_plan_for_another_machine(finished, monkeypatch):
    from dataclasses import replace

    place, _ = finished
    monkeypatch.setenv("TITRANT_HOME", str(place.home))
    here = titrant.detect()
    other = replace(here, identity=replace(here.identity, cpu="another one"))
    planned = titrant.plan(titrant.read(place.folder / "recipe.yaml"), hardware=other)
    with pytest.raises(titrant.TitrantError) as caught:
        titrant.run(planned)
    assert caught.value.exit_code == 6
    assert "hardware.cpu was 'another one'" in caught.value.diagnostics[0].message


def test_trusts_nothing_because_a_saved_plan_says_so(finished, tmp_path):
    place, _ = finished
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "strange.py").write_text((place.folder / "net.py").read_text())
    path = {"PYTHONPATH": str(elsewhere)}
    recipe = place.write("strange.yaml", (place.folder / "recipe.yaml").read_text().replace("net:Net", "strange:Net"))
    saved = tmp_path / "plan.json"
    shown = place.titrant("plan", recipe, "--trust", "--out", saved, **path)
    assert shown.code == 0, shown.all
    assert "(trust.given)" in shown.out
    saved.write_text(edited(saved.read_text(), lambda value: value.update(trust=True)))
    refused = place.titrant("run", saved, **path)
    assert refused.code == 2, refused.all
    assert "R105" in refused.err
    (elsewhere / "strange.py").write_text((elsewhere / "strange.py").read_text() + "\n# other code\n")
    moved = place.titrant("run", saved, "--trust", **path)
    assert moved.code == 6, moved.all
    assert "no longer holds" in moved.err


def test_runs_a_saved_plan_of_an_extended_recipe_from_another_folder(finished, tmp_path):
    place, _ = finished
    base = place.folder / "bases"
    base.mkdir()
    text = (place.folder / "recipe.yaml").read_text()
    (base / "base.yaml").write_text(text.replace("csv: rows.csv", "csv: ../rows.csv"))
    place.write("child.yaml", "titrant: 1\nextends: bases/base.yaml\nname: child\n")
    saved = tmp_path / "plan.json"
    assert place.titrant("plan", "child.yaml", "--out", saved).code == 0
    value = json.loads(saved.read_text())
    assert "csv: rows.csv" in value["recipe_text"]
    assert "extends" not in value["recipe_text"]
    away = replace(place, folder=tmp_path)
    answer = away.titrant("run", saved)
    assert answer.code == 0, answer.all


@pytest.mark.parametrize("command", [("report", "latest", "--format", "md"), ("explain", "latest", "fit")])
def test_says_which_file_of_a_run_is_damaged(finished, command):
    place, _ = finished
    file = newest_first(place.home / "runs")[0] / ("report.md" if command[0] == "report" else "plan.json")
    whole = file.read_bytes()
    try:
        file.write_bytes(b"\xff\xfe{")
        answer = place.titrant(*command)
    finally:
        file.write_bytes(whole)
    assert answer.code == 2, answer.all
    assert "Traceback" not in answer.all
    assert file.name in answer.err
