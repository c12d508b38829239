"""Values of the data that must stay in the data: looked for in all that every verb prints and writes.

Each canary stands in rows: as an identifier, a name, a free text, a number, the name of an image file. What may be told
are names of columns and classes and the values of subgroups; the store holds working copies of the rows themselves.
"""

import contextlib
import json
import os
import re
import shutil
import sqlite3

import numpy as np
import pytest

from titrant.runtime.store.home import newest_first
from titrant.schema.values.files import json_object

CANARY = "CANARY"
NUMBER = "987654.3"
CHECKED = (("facts",), ("results",))

NOISY_NET = '''
"""A user's own small model, which prints what it is given."""

import torch


class Net(torch.nn.Module):
    """Two linear layers."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.first = torch.nn.Linear(features, 16)
        self.second = torch.nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.jit.is_tracing():
            print("CANARY-printed", x.shape)
        return self.second(torch.relu(self.first(x)))
'''

FACTORY = '''
"""The user's own loader: it opens a file for each patient and prints as it goes."""

from pathlib import Path

import pandas as pd


def rows():
    """Join the patients' files."""
    parts = [pd.read_csv(file) for file in sorted((Path(__file__).parent / "patients").glob("*.csv"))]
    frame = pd.concat(parts, ignore_index=True)
    print(frame.head())
    return frame
'''

RECIPE = """\
titrant: 1
name: canaries
level: balanced
task: binary_classification
model:
  factory: noisy_net:Net
  args: {features: auto, classes: auto}
data:
  source: {factory: 'loader:rows'}
  inputs: [one, two, three, four, five]
  label: sick
  positive: ill
  transform: [standardize]
  split: {train: 0.4, tuning: 0.1, calibration: 0.1, evaluation: 0.4, by: patient}
  subgroups: {sex: {column: sex, values: [f, m, x]}}
train: {epochs: 4, learning_rate: 0.05}
quantization: {method: none}
validation:
  retention: 0.9
  bias: {at_least: 0.5, metric: accuracy, min_cases: 2}
  gates:
    - {metric: accuracy, slice: subgroup sex.x, comparison: at_least, threshold: 0.5}
profile: {batches: [1], iterations: 60, warmup: 2}
export: [{format: onnx}]
report: {evidence: true}
"""


def patients(folder, count=300):
    """Write files that are called by patients, whose rows hold names, notes and large numbers; sex x is rare."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(count, 4))
    sick = (values @ np.array([2.0, -1.5, 1.0, 0.5]) > 0).astype(int)
    folder.mkdir()
    for start in range(0, count, 100):
        lines = ["patient,name,note,sex,five,one,two,three,four,sick"]
        for row in range(start, start + 100):
            sex = "x" if row % 40 == 0 else "fm"[row % 2]
            texts = f"CANARY-id-{row:04d},CANARY-name-{row},CANARY note {row},{sex},987654.3{row}"
            numbers = ",".join(f"{value:.3f}" for value in values[row])
            lines.append(f"{texts},{numbers},{'ill' if sick[row] else 'well'}")
        (folder / f"CANARY-file-{start}.csv").write_text("\n".join(lines) + "\n", "utf-8")


def holding(place, *answers):
    """Name every file outside the store, and every printed text, that holds a canary."""
    found = [f"printed: {line}" for answer in answers for line in answer.all.splitlines() if has_canary(line)]
    for path in [*place.home.rglob("*"), *place.folder.glob("*.yaml"), *place.folder.glob("*.json")]:
        inside = path.relative_to(place.home).parts if path.is_relative_to(place.home) else ()
        if path.is_file() and inside[:1] != ("store",):
            found += [str(path)] * has_canary(f"{path.name}\n{text_of(path, checked=inside[:1] in CHECKED)}")
    return found


def text_of(path, *, checked):
    """Read a file; of what the home keeps until a file changes, without the paths that it looks at for that."""
    text = path.read_bytes().decode("latin-1")
    kept = json_object(path) if checked else None
    return text if kept is None else json.dumps({name: kept[name] for name in kept if name != "dependencies"})


def all_but_engines(_, names):
    return [name for name in names if not name.startswith("engines-")]


def has_canary(text):
    return CANARY in text or NUMBER in text


@pytest.fixture(scope="module")
def used(shared_place, shipped_doctor):
    """A place in which every verb was used once, and what each printed; that engines load is known of another home."""
    place = shared_place
    shutil.copytree(shipped_doctor / "home" / "facts", place.home / "facts", ignore=all_but_engines)
    place.write("noisy_net.py", NOISY_NET)
    place.write("loader.py", FACTORY)
    patients(place.folder / "patients")
    recipe = place.write("canaries.yaml", RECIPE)
    answers = {"run": place.titrant("run", recipe, "--log-file", place.folder / "log.json")}
    assert answers["run"].code == 0, answers["run"].all
    for verb in (
        ("check", recipe), ("plan", recipe), ("plan", recipe, "--json"), ("plan", recipe, "--md"), ("status", recipe),
        ("lock", recipe), ("rerun", "latest"), ("explain", recipe, "data.source"), ("explain", "latest", "load"),
        ("report", "latest", "--format", "md"), ("report", "latest", "--format", "json"), ("inspect", recipe),
        ("show", "runs"), ("store", "verify"), ("doctor", recipe), ("evidence", "make", "latest"),
    ):  # fmt: skip
        answers[" ".join(map(str, verb))] = place.titrant(*verb)
    first, second = newest_first(place.home / "runs")[::-1][:2]
    answers["diff"] = place.titrant("diff", first, second)
    return place, answers


def test_tells_and_writes_nothing_of_the_data_through_any_verb(used):
    place, answers = used
    assert {name: answer.all for name, answer in answers.items() if answer.code} == {}
    assert holding(place, *answers.values()) == []


def test_keeps_the_names_of_files_that_code_opened_only_where_it_looks_for_changes(used):
    """A result in the home names the files that it rests on, so that a change of one is seen; no run's folder does."""
    place, _ = used
    kept = [path for path in (place.home / "results").rglob("*.json") if has_canary(path.read_text("utf-8"))]
    assert kept
    assert {json.loads(path.read_text("utf-8"))["operator"] for path in kept} == {"data.load"}
    record = next((place.home / "runs").glob("*/record.json")).read_text("utf-8")
    assert "files that data.load read" in record


def test_looks_in_the_right_place_for_what_it_says_is_not_there(used):
    """The store does hold the rows: a search that finds nothing anywhere would prove nothing."""
    place, _ = used
    assert any(b"CANARY-id" in path.read_bytes() for path in (place.home / "store").rglob("*") if path.is_file())


def test_shows_a_group_of_few_cases_by_its_verdict_only(used):
    place, answers = used
    folder = max((place.home / "runs").iterdir())
    record = json.loads((folder / "report.json").read_text("utf-8"))["record"]
    results = {
        result["gate"]: result
        for candidate in record["run"]["candidates"]
        for result in (candidate["judgement"] or {"results": []})["results"]
    }
    rare = [result for name, result in results.items() if "sex.x" in name or "x/" in name or "/x" in name]
    assert rare
    assert all(result["estimate"] is None and result["cases"] is None for result in rare)
    lock = next(place.folder.glob("*.lock.yaml")).read_text("utf-8")
    assert not re.search(r"sex\.x.*\n +value: \d", lock)
    evidence = sorted((folder / "evidence").iterdir())
    assert {path.name for path in evidence} >= {"model-card.md", "bom.cdx.json", "annex-iv.md", "changes.json"}
    for path in (*(folder / name for name in ("report.html", "report.md", "record.json")), *evidence):
        text = path.read_text("utf-8")
        assert not re.search(r"\b[0-4] of [1-4]\b|\([0-4]/[1-4]\)", text), path.name
    card = (folder / "evidence" / "model-card.md").read_text("utf-8")
    assert "sex: x" not in card
    assert not re.search(r"\b[0-4] of [1-4]\b", answers["run"].all)


# Every tracker on one run, and MLflow where it cannot be reached, in one process: loading it takes seconds.
TRACKERS = """
import json, sys
from pathlib import Path
from titrant.runtime.trackers.feed import TRACKERS, feed
from titrant.runtime.trackers.reader import facts_of, follow
from titrant.schema.record import TrackerRecord
from titrant.schema.values.canonical import plain

run, home, asked = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
facts = facts_of(run, home)
for name, options in asked:
    record = feed(TrackerRecord(name), TRACKERS[name], (facts, options), follow(facts, lambda: True), lambda _: None)
    print("record", json.dumps(plain(record)))
"""


@pytest.fixture(scope="module")
def tracked(used, warm):
    """A place in which every tracker followed a run, and how each fared."""
    place, _ = used
    run = min((place.home / "runs").iterdir())
    wandb = {"project": "p", "mode": "online", "entity": "", "group": "", "tags": ["t"]}
    asked = [
        ("wandb", wandb), ("tensorboard", {"folder": ""}), ("mlflow", {"uri": "", "experiment": "heart"}),
        ("mlflow", {"uri": "http://127.0.0.1:1", "experiment": "x"}),
        ("mlflow", {"uri": "nonsense://x", "experiment": "x"}),
        ("mlflow", {"uri": f"sqlite:///{run}/plan.json/x.db", "experiment": "x"}),
    ]  # fmt: skip
    (place.home / "own").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        own = place.home / "own"
        done = warm("-c", TRACKERS, run, place.home, json.dumps(asked), cwd=own, env={"HOME": str(own)}, starts=0)
    records = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("record ")]
    assert len(records) == len(asked), done.stderr
    return place, run, records


def test_tells_no_tracker_anything_of_the_data(tracked):
    place, run, records = tracked
    assert [(each["code"], each["sent"] == each["points"]) for each in records[:3]] == [("", True)] * 3
    assert holding(place) == []
    # What is looked for would be seen: what may be told stands in the files of each.
    for folder in (run / "tracking" / "wandb", run / "tracking" / "tensorboard", place.home / "mlflow"):
        kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        assert b"onnx-fp32" in kept
        assert b"sex.x" in kept
    assert list((place.home / "own").iterdir()) == [], "nothing lies in the user's home or where the run was called"
    assert records[0]["mode"] == "offline", "nobody is logged in"


def test_tells_mlflow_what_the_report_tells_and_no_figure_of_few_cases(tracked):
    place, run, records = tracked
    assert records[2]["where"] == f"sqlite:///{place.home}/mlflow/mlflow.db"
    with contextlib.closing(sqlite3.connect(place.home / "mlflow" / "mlflow.db")) as database:
        metrics = database.execute("SELECT key, step, value FROM metrics").fetchall()
        tags = dict(database.execute("SELECT key, value FROM tags").fetchall())
        ((status,),) = database.execute("SELECT status FROM runs").fetchall()
        ((artifacts,),) = database.execute("SELECT artifact_location FROM experiments WHERE name = 'heart'").fetchall()
    record = json.loads((run / "record.json").read_text("utf-8"))
    (candidate,) = record["candidates"]
    told = {key: value for key, _, value in metrics}
    assert told["onnx-fp32/size_bytes"] == candidate["size"]
    assert [step for key, step, _ in metrics if key == "fit/tuning_loss"] == [1, 2, 3, 4]
    for result in candidate["judgement"]["results"]:
        key = re.sub(r"[^\w./ :-]", "_", f"onnx-fp32/gates/{result['gate']}")
        assert told.get(key) == result["estimate"]
        assert tags[key.replace("onnx-fp32/gates/", "titrant.gate.onnx-fp32.")] == result["verdict"]
    assert any(result["estimate"] is None for result in candidate["judgement"]["results"])
    assert tags["titrant.released.model.onnx"].startswith("blake3:")
    assert (status, artifacts.startswith(place.home.as_uri())) == ("FINISHED", True)


def test_says_why_mlflow_took_nothing(tracked):
    *_, records = tracked
    because = [each["because"] for each in records[3:]]
    assert [(each["code"], each["sent"]) for each in records[3:]] == [("X602", 0)] * 3
    assert because[0].startswith("MlflowException: API request to http://127.0.0.1:1")
    assert because[1].startswith("UnsupportedModelRegistryStoreURIException")
    assert because[2].startswith(("NotADirectoryError", "FileExistsError"))


def test_shows_on_the_terminal_alone_what_was_printed_where_that_is_asked_for(used):
    place, _ = used
    place.write("loader.py", FACTORY.replace("    return frame", "    return frame  # anew"))
    answer = place.titrant("run", "canaries.yaml", "--show-data", "--set", "train.epochs=5")
    assert "CANARY-id-0000" in answer.err
    assert "CANARY-printed" in answer.err
    assert CANARY not in answer.out
    assert holding(place) == []


OPERATOR = """
import os

import titrant


@titrant.operator(
    "my.bad", version=1, family="quantize", params=titrant.Params, inputs={"model": "onnx"}, outputs={"model": "onnx"},
    user_code=True,
    method=titrant.Method("my.bad", takes="onnx", engine="onnxruntime", format="onnx", bits=(8,), rank=5),
)
def bad(params, context, *, model):
    "Fail."
    print("CANARY-printed before", flush=True)
    FAIL
"""


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        ("raise ValueError('CANARY-operator')", "X312"),
        ("os._exit(3)", "X310"),
        ("os.abort()", "X310"),
        ("context.measure('CANARY', float('nan'))", "X312"),
    ],
)
def test_tells_nothing_of_what_a_users_operator_says_or_a_crash_leaves_behind(finished, fail, code):
    place, _ = finished
    runs = set((place.home / "runs").iterdir())
    place.write("ops.py", OPERATOR.replace("FAIL", fail))
    text = (place.folder / "recipe.yaml").read_text("utf-8")
    answer = place.titrant("run", place.write("bad.yaml", text.replace("{method: none}", "{method: 'ops:bad'}")))
    assert f"error[{code}]" in answer.err
    assert holding(place, answer) == []
    (run,) = set((place.home / "runs").iterdir()) - runs
    assert "were printed and are not kept" in next(run.glob("steps/*/log.txt")).read_text("utf-8")
