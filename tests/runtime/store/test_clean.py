"""Let go of what is old and unreferenced, and of nothing else."""

import contextlib
import importlib.util
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from titrant.runtime.store import clean as cleaner
from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.clean import DAY, Cleaning, clean_store
from titrant.runtime.store.locks import computing, users, using
from titrant.runtime.store.verify import verify_store

spec = importlib.util.spec_from_file_location("toy_crash", Path(__file__).parents[1] / "run/test_crash_points.py")
crash = importlib.util.module_from_spec(spec)
sys.modules["toy_crash"] = crash
spec.loader.exec_module(crash)
run_here = crash.run_here

OLD = 40 * DAY


@pytest.fixture
def now(monkeypatch):
    """Let files that were written just now count as old: the system sets when a file was last touched, not a test."""
    monkeypatch.setattr(cleaner, "YOUNG_SECONDS", -60.0)


def age(toy, seconds=OLD):
    """Let every result have been used last so long ago."""
    for folder in toy.home.results.iterdir():
        os.utime(folder, (time.time() - seconds,) * 2)


def drop_runs(toy):
    """Remove the records: as if the runs had been interrupted before their end."""
    for record in toy.home.runs.glob("*/record.json"):
        record.unlink()


def size(toy):
    return sum(path.stat().st_size for path in (toy.home.store / "blake3").rglob("*") if path.is_file())


def test_frees_nothing_that_a_run_refers_to_however_old(toy, ran, make_plan, now):
    ran(make_plan())
    age(toy)
    freed = clean_store(toy.home, Cleaning())
    assert (freed.bytes, freed.results, freed.referenced_results) == (0, {}, 12)
    toy.ran()
    assert run_here(toy, make_plan()).executed == 0
    assert toy.ran() == []


def test_frees_what_no_run_refers_to_and_was_not_used_for_long(toy, ran, make_plan, now):
    ran(make_plan())
    drop_runs(toy)
    age(toy)
    before = size(toy)
    told = clean_store(toy.home, Cleaning(), dry_run=True)
    assert (size(toy), told.done, told.bytes) == (before, False, before)
    freed = clean_store(toy.home, Cleaning())
    assert (freed.bytes, sum(freed.results.values())) == (before, 12)
    assert freed.results["toys:make"] == 2
    assert size(toy) == 0
    assert list(toy.home.results.iterdir()) == list(toy.home.unfinished.glob("clean-*")) == []
    assert run_here(toy, make_plan()).executed == 12


def test_keeps_what_was_used_lately_and_what_it_is_made_of(toy, ran, make_plan, now):
    ran(make_plan((1,)))
    run_here(toy, make_plan((2,)))
    drop_runs(toy)
    age(toy)
    run_here(toy, make_plan((1,)))  # a use: its results are new again
    drop_runs(toy)
    freed = clean_store(toy.home, Cleaning())
    assert sum(freed.results.values()) == 6
    assert verify_store(toy.home).intact
    toy.ran()
    assert run_here(toy, make_plan((1,))).executed == 0


def test_leaves_what_is_younger_than_an_hour_whatever_is_asked(toy, ran, make_plan):
    ran(make_plan())
    drop_runs(toy)
    freed = clean_store(toy.home, Cleaning(older_than=0.0, keep_bytes=0))
    assert (freed.bytes, freed.recent_results) == (0, 12)


def test_frees_the_least_recently_used_until_the_size_is_kept(toy, make_plan, now):
    first = run_here(toy, make_plan((1,), make={1: {"padding": 4000}}))
    age(toy, 3 * DAY)
    oldest = next(step.key for step in first.steps if step.step == "c1")
    os.utime(toy.home.results / oldest, (time.time() - 5 * DAY,) * 2)
    run_here(toy, make_plan((2,), make={2: {"padding": 3000}}))
    drop_runs(toy)
    for folder in toy.home.results.iterdir():  # used within the last day, but not within the hour
        if folder.stat().st_mtime > time.time() - DAY:
            os.utime(folder, (time.time() - 7200,) * 2)
    freed = clean_store(toy.home, Cleaning(keep_bytes=size(toy) - 4000))
    assert freed.results == {"toys:make": 1}
    assert freed.kept_bytes == size(toy)
    assert freed.bytes >= 4000
    assert verify_store(toy.home).intact
    left = [path.stat().st_size for path in toy.home.store.rglob("*") if path.is_file()]
    assert not any(4000 <= bytes < 4100 for bytes in left)
    assert any(3000 <= bytes < 3100 for bytes in left)


@pytest.mark.parametrize(("age", "held", "goes"), [(41, False, True), (41, True, False), (39, False, False)])
def test_frees_trainings_that_were_killed_long_ago_and_that_no_step_is_at_work_on(toy, age, held, goes):
    folder = toy.home.training / "0123"
    folder.mkdir(parents=True)
    (folder / "checkpoint-0000000001.safetensors").write_bytes(bytes(70))
    for path in (folder / "checkpoint-0000000001.safetensors", folder):
        os.utime(path, (time.time() - age * DAY,) * 2)
    what = Cleaning(older_than=OLD)
    with computing(toy.home, "0123", print) if held else contextlib.nullcontext():
        told = clean_store(toy.home, what, dry_run=True)
        assert folder.exists()
        freed = clean_store(toy.home, what)
    assert (freed.trainings, freed.bytes) == (told.trainings, told.bytes) == ((1, 70) if goes else (0, 0))
    assert folder.exists() is not goes
    assert not list(toy.home.locks.glob("0123.lock"))


def test_lets_old_runs_keep_nothing_where_that_is_asked(toy, ran, make_plan, now):
    record = ran(make_plan())
    age(toy)
    os.utime(toy.home.runs / record.run / "record.json", (time.time() - OLD,) * 2)
    assert clean_store(toy.home, Cleaning(forget_runs=50 * DAY)).bytes == 0
    assert clean_store(toy.home, Cleaning(forget_runs=20 * DAY)).bytes > 0
    assert (toy.home.runs / record.run / "outputs" / "toy.json").exists()


@pytest.mark.parametrize("how", ["named", "beside the recipe"])
def test_keeps_what_a_lock_names(toy, make_plan, now, tmp_path, how):
    record = run_here(toy, make_plan(), recipe_file=str(tmp_path / "toy.yaml"))
    key = next(step.key for step in record.steps if step.step == "c1")
    recipe = json.loads((toy.home.runs / record.run / "environment.json").read_text())["recipe_file"]
    lock = tmp_path / "elsewhere.lock.yaml" if how == "named" else Path(recipe).with_suffix(".lock.yaml")
    lock.write_text(f"steps:\n  c1: {{key: {key}}}\n")
    age(toy)
    os.utime(toy.home.runs / record.run / "record.json", (time.time() - OLD,) * 2)
    given = (lock,) if how == "named" else ()
    freed = clean_store(toy.home, Cleaning(forget_runs=20 * DAY, locks=given))
    assert (freed.referenced_results, freed.kept_results) == (1, 1)
    assert [folder.name for folder in toy.home.results.iterdir()] == [key]
    assert verify_store(toy.home).intact


def test_keeps_everything_used_since_a_run_in_progress_began(toy, ran, make_plan, monkeypatch):
    monkeypatch.setattr(cleaner, "YOUNG_SECONDS", -7200.0)
    ran(make_plan())
    drop_runs(toy)
    with using(toy.home, "running toy", pytest.fail):
        freed = clean_store(toy.home, Cleaning(older_than=0.0, keep_bytes=0))
        assert (freed.bytes, [run.pid for run in freed.in_progress]) == (0, [os.getpid()])
    assert clean_store(toy.home, Cleaning(older_than=-60.0, keep_bytes=0)).bytes > 0


def test_frees_files_that_no_result_names_and_what_was_left_behind(toy, ran, make_plan, now):
    ran(make_plan())
    artifact = Store(toy.home).put("value", {"orphan": "x" * 1000})
    (toy.home.locks / "0123.lock").write_text("")
    (toy.home.locks / "0123.json").write_text("{}")
    (toy.home.locks / "run-dead.lock").write_text("")
    with computing(toy.home, "held", pytest.fail):
        freed = clean_store(toy.home, Cleaning())
        assert {path.name for path in toy.home.locks.iterdir()} >= {"held.lock", "held.json"}
    assert freed.files == 2
    assert freed.bytes > 1000
    assert not Store(toy.home).has(artifact)
    assert [path.name for path in toy.home.locks.glob("*.lock")] == []


def test_waits_for_who_is_cleaning_and_names_him(toy, make_plan):
    entered, named = threading.Event(), threading.Event()

    def clean():
        with cleaner.cleaning(toy.home, pytest.fail):
            entered.set()
            named.wait(60)

    def listen(event):
        if "has been cleaning the store since" in event.get("text", ""):
            named.set()

    thread = threading.Thread(target=clean)
    thread.start()
    assert entered.wait(60)
    record = run_here(toy, make_plan((1,)), listen=listen)
    assert named.is_set()
    thread.join()
    assert record.released == ("c1",)
    assert users(toy.home) == []


def test_recomputes_cleanly_what_is_removed_under_a_run(toy, ran, make_plan, now, monkeypatch):
    """A run whose announcement is not seen, as from a machine whose locks do not reach here."""
    ran(make_plan())
    drop_runs(toy)
    monkeypatch.setattr(cleaner, "cleaning", crash_free)

    def cleaned(event):
        if event["event"] == "reused" and event["step"] == "c2":
            age(toy)
            clean_store(toy.home, Cleaning())

    toy.ran()
    record = run_here(toy, make_plan(), listen=cleaned)
    assert record.released == ("c2",)
    assert (toy.home.runs / record.run / "outputs" / "toy.json").exists()


def crash_free(home, waiting):
    import contextlib

    return contextlib.nullcontext([])


def test_finds_and_forgets_what_is_damaged(toy, ran, make_plan):
    record = ran(make_plan((1,)))
    assert verify_store(toy.home).findings == ()
    artifact = next(step.result.outputs["model"] for step in record.steps if step.step == "c1")
    (blob,) = Store(toy.home).manifest(artifact).files.values()
    path = toy.home.store / "blake3" / blob.digest[:2] / blob.digest
    times, data = path.stat(), bytearray(path.read_bytes())
    data[-5] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    key = next(step.key for step in record.steps if step.step == "load")
    (torn,) = (path for path in (toy.home.results / key).glob("*.json") if path.name != "key.json")
    torn.write_bytes(torn.read_bytes()[:40])
    found = verify_store(toy.home)
    assert not found.intact
    assert [finding.what.split(",")[0].split(" ")[0] for finding in found.findings] == ["its", "it", "it"]
    assert f"store/blake3/{blob.digest[:2]}/{blob.digest}" in [finding.path for finding in found.findings]
    assert "toys:make" in [finding.operator for finding in found.findings]
    assert path.exists()
    mended = verify_store(toy.home, repair=True)
    assert (mended.intact, len(mended.findings), path.exists()) == (True, 3, False)
    assert verify_store(toy.home).findings == ()
    toy.ran()
    again = run_here(toy, make_plan((1,)))
    assert again.released == ("c1",)
    assert 2 <= again.executed <= 4
    assert verify_store(toy.home).findings == ()
