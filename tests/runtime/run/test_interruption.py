"""Kill it, corrupt it, run it twice at once: nothing lost, nothing done twice, nothing made up."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.home import open_home
from titrant.runtime.store.journal import read
from titrant.schema.diagnostics.diagnostics import StepError

DRIVE = Path(__file__).parents[1] / "drive.py"


def start(toy, warm=None, **options):
    """Drive a run in a process of its own; with `warm` in one that begins with all that it imports."""
    command = [sys.executable, str(DRIVE), str(toy.folder), str(toy.home.path), json.dumps(options)]
    if warm is None:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    (out, told), (err, failed) = os.pipe(), os.pipe()
    process = warm.start(command, stdout=told, stderr=failed, env=os.environ)
    os.close(told)
    os.close(failed)
    process.stdout, process.stderr = os.fdopen(out), os.fdopen(err)
    return process


def finish(process):
    """Return the events that were not followed yet, once the process has ended well."""
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait() == 0, err
    return [json.loads(line) for line in out.splitlines()]


def follow(process, event, step):
    """Return the events up to that one, as soon as it is there."""
    told = []
    while not told or (told[-1]["event"], told[-1].get("step")) != (event, step):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        told.append(json.loads(line))
    return told


def finished(toy):
    """Count, over every run of the home, how often each step finished."""
    return Counter(
        event["step"]
        for folder in toy.home.runs.iterdir()
        if (folder / "journal.jsonl").exists()  # one that was killed before it could write anything
        for event in read(folder / "journal.jsonl")
        if event["event"] == "finished"
    )


def gone(process, seconds=60.0):
    """Wait until a process is no more, longer than a worker needs to notice on a busy machine."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_completes_after_kills_at_any_instant_and_finishes_no_step_twice(toy, make_plan, warm):
    instants = random.Random(3)
    for _ in range(8):
        process = start(toy, warm, make={"1": {"seconds": 0.05}, "2": {"seconds": 0.05}})
        for _ in range(instants.randint(1, 24)):  # however fast it comes to so many events, or to its end
            process.stdout.readline()
        time.sleep(instants.uniform(0.0, 0.1))
        os.kill(process.pid, signal.SIGSTOP)  # it starts no worker between the next two lines
        workers = psutil.Process(process.pid).children() if process.returncode is None else []
        process.kill()
        process.wait()
        # One that writes to the disk at that instant is gone when the disk has answered.
        assert all(gone(worker) for worker in workers)
    toy.ran()
    plan = make_plan(make={1: {"seconds": 0.05}, 2: {"seconds": 0.05}})
    record = toy.run(plan)
    assert record.released == ("c2",)
    assert max(finished(toy).values()) == 1
    assert toy.run(plan).executed == 0
    assert list(toy.home.unfinished.iterdir()) == []


def test_leaves_no_worker_behind_when_the_parent_is_killed(toy, warm):
    process = start(toy, warm, make={"1": {"seconds": 600}})
    follow(process, "started", "c1")
    workers = psutil.Process(process.pid).children()  # and one that waits to be another
    assert workers
    process.kill()
    process.wait()
    assert all(gone(worker) for worker in workers)


def test_ends_its_worker_in_one_line_when_interrupted(toy):
    process = start(toy, make={"1": {"until": "never"}})
    follow(process, "started", "c1")
    (worker,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in err
    assert json.loads(out.splitlines()[-1])["exit"] == 130
    assert gone(worker)
    (folder,) = toy.home.runs.iterdir()
    assert read(folder / "journal.jsonl")[-1]["exit"] == 130
    assert list((folder / "outputs").iterdir()) == []


@pytest.mark.parametrize("damage", ["truncate", "flip", "flip unseen", "remove"])
def test_makes_again_what_was_damaged_and_nothing_else(toy, ran, here, make_plan, damage):
    plan = make_plan((1,))
    first = ran(plan)
    toy.ran()
    artifact = next(s.result.outputs["model"] for s in first.steps if s.step == "c1")
    store = Store(toy.home)
    (blob,) = store.manifest(artifact).files.values()
    path = toy.home.store / "blake3" / blob.digest[:2] / blob.digest
    times, data = path.stat(), bytearray(path.read_bytes())
    path.unlink()
    if damage == "truncate":
        path.write_bytes(data[:-5])
    elif damage.startswith("flip"):
        data[-5] ^= 1
        path.write_bytes(data)
    if damage == "flip unseen":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        # Only reading finds it: the released file is gone, so that the stored one must be read.
        (toy.home.runs / first.run / "outputs" / "toy.json").unlink()
    record = toy.run(plan)
    # The report shows how long steps took, and this one took its time anew.
    assert toy.ran() == ["make 1", "report"]
    assert record.executed == 2
    assert Store(toy.home).get(artifact, toy.home.path / "look")["level"] == 1


def test_writes_its_outputs_again_from_the_store_when_they_were_changed(toy, ran, here, make_plan):
    first = ran(make_plan((1,)))
    (toy.home.runs / first.run / "outputs" / "toy.json").write_text("{}")
    second = toy.run(make_plan((1,)))
    assert second.executed == 0
    assert second.run != first.run
    assert json.loads((toy.home.runs / second.run / "outputs" / "toy.json").read_text())["level"] == 1


def test_runs_again_after_a_journal_and_results_were_torn(toy, ran, here, make_plan):
    first = ran(make_plan((1,)))
    journal = toy.home.runs / first.run / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    key = next(s.key for s in first.steps if s.step == "c1")
    for path in (toy.home.results / key).glob("*.json"):
        path.write_bytes(path.read_bytes()[:30])
    toy.ran()
    assert toy.run(make_plan((1,))).executed == 2
    assert toy.ran() == ["make 1", "report"]


def test_shares_one_home_between_two_runs_at_once(toy, warm):
    go = toy.log.with_name("go")
    made = {"1": {"until": str(go)}, "2": {"until": str(go)}}
    first = start(toy, warm, make=made)
    told = [follow(first, "started", "c1")]
    second = start(toy, warm, make=made)
    told.append(follow(second, "note", "c1"))
    go.touch()
    told = [before + finish(process) for before, process in zip(told, (first, second), strict=True)]
    assert all(events[-1]["released"] == ["c2"] for events in told)
    assert sum(events[-1]["executed"] for events in told) == 12
    assert max(finished(toy).values()) == 1
    waits = [event["text"] for events in told for event in events if event["event"] == "note"]
    assert any("has been computing it since" in text for text in waits)


def test_shares_the_steps_of_different_plans_at_once(toy, warm):
    first, second = start(toy, warm, levels=[1, 2]), start(toy, warm, levels=[2, 3])
    assert finish(first)[-1]["released"] == ["c2"]
    assert finish(second)[-1]["released"] == ["c3"]
    assert finished(toy)["load"] == finished(toy)["c2"] == 1


def test_says_that_a_file_may_not_become_as_large_and_keeps_old_results(toy, ran, make_plan):
    plan = make_plan((1,))
    ran(plan)
    options = json.dumps({"levels": [1], "make": {"1": {"padding": 9000}}})
    command = [sys.executable, DRIVE, toy.folder, toy.home.path, options]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", *command],
        capture_output=True, text=True, check=False, env=os.environ | {"TOY_LOG": str(toy.log) + "2"},
    )  # fmt: skip
    assert "a file may not become as large here: cannot write" in done.stderr.splitlines()[-1]
    toy.ran()
    assert toy.run(plan).executed == 0


def test_refuses_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="is not a folder") as found:
        open_home(tmp_path / "file")
    assert found.value.exit_code == 2
    if sys.platform.startswith("linux"):  # where nobody can make a folder, the superuser included
        with pytest.raises(Exception, match="cannot write in /proc/titrant"):
            open_home(Path("/proc/titrant"))


def test_gives_up_on_a_store_that_does_not_keep_what_is_written(toy, ran, make_plan, monkeypatch):
    plan = make_plan((1,))
    ran(plan)
    keep = Store.value

    def lose(self, artifact):
        from titrant.runtime.store.artifacts import DamagedError

        if artifact.kind == "value":
            raise DamagedError("0" * 64)
        return keep(self, artifact)

    monkeypatch.setattr(Store, "value", lose)
    with pytest.raises(StepError, match="keep being damaged"):
        toy.run(plan)
