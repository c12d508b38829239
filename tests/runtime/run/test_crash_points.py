"""Cut every write at every byte: what is there afterwards is whole or not used, and running again completes."""

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from titrant.runtime.run.execute import execute
from titrant.runtime.store.artifacts import Blob, Blobs, DamagedError, Store, identify_value
from titrant.runtime.store.home import Home, open_home
from titrant.runtime.store.journal import read
from titrant.runtime.store.results import Results
from titrant.runtime.store.verify import verify_store

spec = importlib.util.spec_from_file_location("toy_in_process", Path(__file__).parents[1] / "in_process.py")
in_process = importlib.util.module_from_spec(spec)
sys.modules["toy_in_process"] = in_process
spec.loader.exec_module(in_process)
spec = importlib.util.spec_from_file_location("cut_puts", Path(__file__).with_name("cut_puts.py"))
cut_puts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cut_puts)
cut_files_at, in_child = cut_puts.cut_files_at, cut_puts.in_child


def run_here(toy, plan, home=None, listen=lambda event: None, recipe_file="toy.yaml"):
    home = home or toy.home
    worker = in_process.InProcessWorker(home, toy.folder)
    return execute(toy.planned(plan, recipe_file), home, listen=listen, worker=worker)


def warm(toy, plan):
    """Load what a run loads, so that a forked process has it."""
    run_here(toy, plan, open_home(toy.home.path.with_name("warm")))
    toy.ran()


def test_stores_nothing_of_an_artifact_whose_write_was_cut_at_any_byte(toy):
    """The process is killed by the system in the middle of the write; nobody cleans up."""
    value = {"level": 1, "padding": "x" * 20}
    artifact, store = identify_value(value), Store(toy.home)
    command = [sys.executable, cut_puts.__file__, toy.home.path, json.dumps(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    cuts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [length for length, _, _ in cuts] == [*range(len(cuts))]
    assert len(cuts) > 120  # of the file and then of the manifest, which is the longer one
    assert not any(there for _, there, _ in cuts)
    assert all(longest <= length for length, _, longest in cuts)
    assert store.value(artifact) == value
    assert verify_store(toy.home).intact


def test_completes_after_a_step_was_killed_at_many_bytes_of_what_it_writes(toy, make_plan):
    plan = make_plan((1,), make={1: {"padding": 20}})
    warm(toy, plan)
    for length in range(3, 190, 17):

        def cut(event, length=length):
            if event["event"] == "progress":  # the step has what it gives, and has not written it
                cut_files_at(length)

        assert in_child(lambda cut=cut: run_here(toy, plan, listen=cut)) == signal.SIGXFSZ, length
        assert verify_store(toy.home).intact
    toy.ran()
    assert run_here(toy, plan).released == ("c1",)
    assert "load" not in toy.ran()
    assert list(toy.home.unfinished.glob("put-*")) == []
    assert verify_store(toy.home).intact


def test_reads_and_resumes_whatever_byte_the_journal_was_cut_at(toy, make_plan, tmp_path):
    plan = make_plan((1,))
    states = []

    def snapshot(event):
        """Keep the home as it is when an event was written."""
        place = Home(tmp_path / "states" / str(len(states)))
        shutil.copytree(toy.home.path, place.path, copy_function=shutil.copy2)
        states.append((event["event"], place))

    whole = run_here(toy, plan, listen=snapshot)
    undisturbed = outputs(whole)
    lines = (toy.home.runs / whole.run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) > 20
    # A journal only vouches for what was put out: one that was cut vouches for less, and misleads nobody.
    for event, home in states:
        found = list(home.runs.glob("*/journal.jsonl"))
        for file in found:
            data = file.read_bytes()
            start = data[:-1].rfind(b"\n") + 1
            for length in range(start, len(data) + 1):
                file.write_bytes(data[:length])
                assert b"".join(lines).startswith(data[:length])
                assert read(file) == [*read_lines(data[:length])]
            file.write_bytes(data[: start + (len(data) - start) // 2])
        if event not in ("started", "closed"):  # between them the store is what it was
            continue
        toy.ran()
        record = run_here(toy, plan, home)
        done = finished_before(found)
        assert outputs(record) == undisturbed
        assert not done & set(toy.ran()), done
    assert verify_store(toy.home).intact


def read_lines(data):
    return [json.loads(line) for line in data.split(b"\n") if line.endswith(b"}")]


def finished_before(files):
    """Return what `toy.ran` calls the steps that had finished."""
    names = {"load": "load", "c1": "make 1", "latency": "time", "c1.quality": "measure 1", "c1.contract": "judge c1"}
    events = [event for file in files for event in read(file)]
    return {names[event["step"]] for event in events if event["event"] == "finished" and event["step"] in names}


def outputs(record):
    return {
        step.step: {port: made.digest for port, made in step.result.outputs.items()}
        for step in record.steps
        if step.result is not None and step.step != "report"
    }


def test_uses_no_stored_file_that_power_loss_left_cut_in_its_place(toy, ran, make_plan):
    """The rename came through and the content did not: a manifest and its file, at each of their lengths."""
    plan = make_plan((1,))
    record = ran(plan)
    artifact = next(step.result.outputs["model"] for step in record.steps if step.step == "c1")
    (blob,) = Store(toy.home).manifest(artifact).files.values()
    for file in (toy.home.store / "blake3" / digest[:2] / digest for digest in (artifact.digest, blob.digest)):
        data = file.read_bytes()
        file.unlink()
        for length in range(len(data)):
            file.write_bytes(data[:length])
            assert not Blobs(toy.home.store / "blake3").has(Blob(file.name, len(data)))
            with pytest.raises(DamagedError):
                Blobs(toy.home.store / "blake3").read(file.name)
        assert verify_store(toy.home).findings[0].path.endswith(file.name)
        file.write_bytes(data)
    assert run_here(toy, plan).executed == 0


def test_uses_no_result_that_power_loss_left_cut_in_its_place(toy, ran, make_plan):
    plan = make_plan((1,))
    record = ran(plan)
    results = Results(toy.home, Store(toy.home), toy.folder)
    key = next(step.key for step in record.steps if step.step == "c1")
    (file,) = (path for path in (toy.home.results / key).glob("*.json") if path.name != "key.json")
    data, whole = file.read_bytes(), results.find(key).result
    for length in range(len(data)):
        file.write_bytes(data[:length])
        found = results.find(key).result
        assert found == (whole if length == len(data) - 1 else None)  # the line's end is no loss
    file.write_bytes(data)
    assert run_here(toy, plan).executed == 0
