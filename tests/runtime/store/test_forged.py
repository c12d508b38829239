"""What is changed in the record afterwards is neither used nor passed over in silence."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.runtime.serve.released import load
from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.home import Home
from titrant.runtime.store.placed import forged
from titrant.runtime.store.verify import verify_store
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.values.files import digest_bytes, digest_file

spec = importlib.util.spec_from_file_location("toy_crash", Path(__file__).parents[1] / "run/test_crash_points.py")
crash = importlib.util.module_from_spec(spec)
sys.modules["toy_crash"] = crash
spec.loader.exec_module(crash)
run_here = crash.run_here

# A fixture that an example only copies from: the home of one run, with its release.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)


def results(home):
    return sorted(path for path in home.results.glob("*/*.json") if path.name != "key.json")


def change_outputs(value, other):
    value["outputs"] = {port: {**made, "digest": "0" * 64} for port, made in value["outputs"].items()}


def exchange_outputs(value, other):
    value["outputs"] = other["outputs"]


def change_measurements(value, other):
    value["measurements"] = [{"name": "accuracy", "value": 1.0, "unit": ""}]


def change_dependencies(value, other):
    value["dependencies"] = []


def change_time(value, other):
    value["seconds"] += 1.0


def change_operator(value, other):
    value["operator"] = "toys:other"


def become_another(value, other):
    value.clear()
    value.update(other)


def become_another_with_this_key(value, other):
    become_another({"key": (key := value["key"])} and value, {**other, "key": key})


CHANGES = (
    change_outputs, exchange_outputs, change_measurements, change_dependencies, change_time, change_operator,
    become_another, become_another_with_this_key,
)  # fmt: skip


@pytest.fixture
def home(toy, ran, make_plan, tmp_path):
    """Return a function that gives a copy of the home of one run, and its only run's folder."""
    ran(make_plan((1,)))
    count = 0

    def copied():
        nonlocal count
        count += 1
        copy = Home(tmp_path / f"copy{count}")
        shutil.copytree(toy.home.path, copy.path)
        (run,) = copy.runs.iterdir()
        return copy, run

    return copied


@SHARED
@given(data=st.data())
def test_finds_a_result_that_says_other_than_what_was_written_whatever_part_it_is(toy, make_plan, home, data):
    copy, run = home()
    paths = results(copy)
    path = data.draw(st.sampled_from(paths))
    other = data.draw(st.sampled_from([place for place in paths if place.parent != path.parent]))
    value, before = json.loads(path.read_bytes()), path.read_bytes()
    data.draw(st.sampled_from(CHANGES))(value, json.loads(other.read_bytes()))
    if data.draw(st.booleans()):  # under the name that the other had
        path = path.rename(path.with_name(other.name))
    path.write_text(json.dumps(value))
    if json.loads(before) == value and path.name == paths[0].name:
        return
    assert [finding.path for finding in verify_store(copy).findings] == [path.relative_to(copy.path).as_posix()]
    shutil.rmtree(run)
    toy.ran()
    record = run_here(toy, make_plan((1,)), copy)
    assert record.executed >= 1


def test_says_of_a_step_that_its_result_was_changed(toy, ran, make_plan):
    ran(make_plan((1,)))
    path = next(path for path in results(toy.home) if json.loads(path.read_bytes())["operator"] == "toys:judge")
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "seconds": 17.0}))
    assert (
        toy.previews(make_plan((1,)))[1]["c1.contract"].because
        == f"because its result {path.name[:12]}… was changed since it was written"
    )


def test_finds_a_key_that_is_not_what_its_folder_is_named_by(home):
    copy, _ = home()
    path = next(copy.results.glob("*/key.json"))
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    assert [finding.what for finding in verify_store(copy).findings] == [
        "it does not give the key that names its folder"
    ]


def test_reuses_results_as_earlier_versions_wrote_them_without_a_digest(toy, ran, make_plan):
    ran(make_plan((1,)))
    for path in results(toy.home):
        value = json.loads(path.read_bytes())
        del value["digest"]
        path.write_text(json.dumps(value))
    toy.ran()
    assert run_here(toy, make_plan((1,))).executed == 0
    assert verify_store(toy.home).intact


def put(home, data):
    place = home.store / "blake3" / (digest := digest_bytes(data))[:2] / digest
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return digest


def files_of(folder):
    return sorted(path for path in folder.iterdir() if path.name != "titrant.json")


def exchange_file(copy, run, place):
    """Another file, and its digest in the manifest beside it; the store has it too."""
    manifest = run / "outputs/titrant.json"
    about, path = json.loads(manifest.read_bytes()), files_of(run / "outputs")[place % len(files_of(run / "outputs"))]
    path.chmod(0o644)
    path.write_bytes(b'{"level": 9}')
    about["files"][path.name] = put(copy, b'{"level": 9}')
    manifest.write_text(json.dumps(about))


def exchange_model(copy, run, place):
    """As before, and the manifest names an artifact that the store holds, of the original."""
    exchange_file(copy, run, place)
    manifest = run / "outputs/titrant.json"
    about = json.loads(manifest.read_bytes())
    about["models"][0]["artifact"] = Store(copy).put("value", {"level": 9}).digest
    manifest.write_text(json.dumps(about))


def change_reading(copy, run, place):
    manifest = run / "outputs/titrant.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "threads": 7 + place}))


def change_record(copy, run, place):
    record = run / "record.json"
    record.write_text(json.dumps({**json.loads(record.read_bytes()), "executed": 70 + place}))


def remove_record(copy, run, place):
    (run / "record.json").unlink()


def remove_journal(copy, run, place):
    (run / "journal.jsonl").unlink()


def forget_line(copy, run, place):
    """The journal's line is gone as well, as in a run of an earlier version."""
    exchange_file(copy, run, place)
    journal = run / "journal.jsonl"
    journal.write_text("".join(line for line in journal.read_text().splitlines(True) if '"placed"' not in line))


def move_release(copy, run, place):
    """What was released lies where the best of a run that released none lies, and that where the release was."""
    (run / "quarantine").rmdir()
    (run / "outputs").rename(run / "quarantine")
    shutil.copytree(run / "quarantine", run / "outputs")


FORGERIES = (
    exchange_file, exchange_model, change_reading, change_record, remove_record, remove_journal, move_release,
)  # fmt: skip


@SHARED
@given(forge=st.sampled_from(FORGERIES), place=st.integers(0, 3))
def test_finds_a_release_that_its_run_did_not_put_out(toy, make_plan, home, forge, place):
    copy, run = home()
    assert forged(run) is None
    forge(copy, run, place)
    assert forged(run) is not None
    if forge is not remove_record:  # without one a run did not come to its end, which is no damage
        assert not verify_store(copy).intact
    with pytest.raises(StepError, match=r"X34[14]"):
        load(run)
    again = run_here(toy, make_plan((1,)), copy)
    assert again.run != run.name
    assert forged(copy.runs / again.run) is None


def test_holds_a_run_of_an_earlier_version_to_its_record_and_the_stored_artifacts(home):
    copy, run = home()
    forget = run / "journal.jsonl"
    forget.write_text("".join(line for line in forget.read_text().splitlines(True) if '"placed"' not in line))
    assert forged(run) is None
    exchange_file(copy, run, 0)
    assert forged(run).path == run / "outputs" / files_of(run / "outputs")[0].name


def test_leaves_outputs_that_were_copied_elsewhere_to_their_manifest(home, tmp_path):
    _, run = home()
    shutil.copytree(run / "outputs", tmp_path / "elsewhere" / "outputs")
    assert forged(tmp_path / "elsewhere") is None


def test_names_record_and_manifest_in_the_journal_before_anything_is_put_in_place(toy, make_plan):
    seen = {}

    def listen(event):
        if event["event"] == "placed":
            (run,) = toy.home.runs.iterdir()
            seen.update(event, placed=list((run / "outputs").iterdir()))

    record = run_here(toy, make_plan((1,)), listen=listen)
    run = toy.home.runs / record.run
    assert seen["placed"] == []
    assert seen["record"] == digest_file(run / "record.json")
    assert seen["manifest"] == digest_file(run / "outputs/titrant.json")
