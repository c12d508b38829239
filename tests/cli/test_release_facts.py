"""A released file says which contract it kept, in itself; whoever changes that is found out."""

import json
import shutil
from dataclasses import replace

import onnx  # noqa: TID253 - the format's own library
import pytest

import titrant
from titrant.runtime.backends.stamp import write
from titrant.runtime.store.placed import forged
from titrant.runtime.store.run_folder import stamp_of
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.values.files import digest_file

STAMP = stamp_of("onnx")


@pytest.fixture
def run(finished, tmp_path):
    """Return a copy of a finished run, its home around it."""
    place, _ = finished
    shutil.copytree(place.home, tmp_path / "home")
    [folder] = (tmp_path / "home" / "runs").iterdir()
    return folder


def manifest(run):
    return json.loads((run / "outputs" / "titrant.json").read_text("utf-8"))


def test_says_in_the_file_what_it_was_judged_by(run):
    plan = json.loads((run / "plan.json").read_text("utf-8"))
    facts = json.loads(STAMP.read(run / "outputs" / "model.onnx"))
    assert facts == manifest(run)["models"][0]["stamp"]
    assert (facts["recipe"], facts["recipe_digest"]) == ("small", plan["recipe_digest"])
    assert facts["verdict"] in ("PASS", "NOT PROVEN")
    record = json.loads((run / "record.json").read_text("utf-8"))
    [released] = [item for item in record["candidates"] if item["status"] == "released"]
    verdicts = {result["gate"]: result["verdict"] for result in released["judgement"]["results"]}
    assert {**dict.fromkeys(facts["passed"], "PASS"), **{name: verdicts[name] for name in facts["open"]}} == verdicts
    assert facts["instructions"] == plan["hardware"]["instructions"]
    assert facts["batch"] == manifest(run)["batch"]


def test_judged_the_very_bytes_but_for_the_facts(run):
    [model] = manifest(run)["models"]
    made = [path for path in (run.parents[1] / "store").rglob("*") if path.is_file()]
    released = (run / "outputs" / "model.onnx").read_bytes()
    [judged] = [path for path in made if len(data := path.read_bytes()) > 500 and released.startswith(data)]
    graph = onnx.load(str(run / "outputs" / "model.onnx"))
    del graph.metadata_props[:]
    assert graph == onnx.load_from_string(judged.read_bytes())
    assert model["kind"] == "onnx"


def test_inspect_shows_it_and_leaves_another_file_alone(finished, run, tmp_path):
    place = replace(finished[0], folder=tmp_path, home=tmp_path / "home")
    shown = place.here("inspect", run / "outputs" / "model.onnx").out
    assert "released by titrant" in shown
    assert manifest(run)["models"][0]["stamp"]["recipe_digest"] in shown
    plain = onnx.load(str(run / "outputs" / "model.onnx"))
    del plain.metadata_props[:]
    onnx.save(plain, str(tmp_path / "plain.onnx"))
    assert "released" not in place.here("inspect", tmp_path / "plain.onnx").out
    whole = json.loads(place.here("inspect", run / "outputs" / "model.onnx", "--json").out)
    assert whole["release"] == {**manifest(run)["models"][0]["stamp"], "waived": []}


def claim(run, *, journal):
    """Let the file claim another verdict, and all that lies around it go along with that."""
    about, file = manifest(run), run / "outputs" / "model.onnx"
    about["models"][0]["stamp"]["passed"].append("safety")
    write(STAMP, file, about["models"][0]["stamp"])
    about["files"]["model.onnx"] = digest_file(file)
    place = run / "outputs" / "titrant.json"
    place.write_text(json.dumps(about), "utf-8")
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text("utf-8").splitlines()]
    if journal == "renamed":
        lines = [{**line, "manifest": digest_file(place)} if line["event"] == "placed" else line for line in lines]
    if journal == "left out":
        lines = [line for line in lines if line["event"] != "placed"]
    (run / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")


@pytest.mark.parametrize("journal", ["as it was", "renamed", "left out"])
def test_finds_facts_that_were_changed_afterwards(journal, run):
    assert forged(run) is None
    claim(run, journal=journal)
    assert forged(run) is not None
    with pytest.raises(StepError) as caught:
        titrant.load(run)
    assert caught.value.diagnostics[0].code == "X344"
