"""A run is read as its journal grows, and nothing is told that its report does not tell."""

import json
from dataclasses import replace

import pytest

from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.home import Home
from titrant.runtime.store.run_folder import read_record, write_record
from titrant.runtime.trackers.reader import facts_of, follow
from titrant.runtime.trackers.tracker import Ending, TrackedPoint

TIME = "2027-01-01T00:00:00.000+00:00"
SECONDS = 1798761600.0


@pytest.fixture
def run(ran, toy, make_plan):
    """Return a finished run's facts: one that ran once, copied for each test."""
    ran(make_plan())
    (folder,) = toy.home.runs.iterdir()
    return facts_of(folder, toy.home.path)


def line(event, **fields):
    return json.dumps({"event": event, "time": TIME, **fields}).encode() + b"\n"


def write(run, *lines):
    (run.folder / "journal.jsonl").write_bytes(b"".join(lines))


def read(run, is_over=lambda: True):
    return list(follow(run, is_over))


def test_tells_what_each_step_took_and_measured_and_how_the_run_ended(run):
    *points, ending = read(run)
    assert TrackedPoint("load", 0, {"number": 1.0}, points[0].time) == points[0]
    costs = [point for point in points if set(point.figures) == {"seconds", "peak_bytes"}]
    assert {point.step for point in costs} == {"load", "c1", "c1.tuning", "c1.quality", "c2", "c2.tuning", "c2.quality",
                                               "latency"}  # fmt: skip
    assert (ending.exit, ending.verdict) == (0, "PASS")
    assert {gate.candidate: gate.verdict for gate in ending.gates} == {"c1": "PASS", "c2": "PASS"}
    assert ending.figures["c2/size_bytes"] == read_record(run.folder).candidates[1].size
    (released,) = ending.released
    assert (released.file, released.candidate, released.size) == (
        "toy.json", "c2", (run.folder / "outputs" / "toy.json").stat().st_size
    )  # fmt: skip


def test_names_the_run_without_paths_or_texts(run):
    assert run.run == run.folder.name
    assert run.settings["plan"][:8] in run.run
    assert not any("/" in str(value) for value in run.settings.values())


def test_waits_for_the_rest_of_a_line_and_for_what_comes_after_it(run):
    whole = line("curve", step="load", place=1, figures={"loss": 0.5})
    write(run, whole[:20])
    rest = iter([whole[20:], line("measured", step="load", name="n", value=2, unit=""), b""])

    def grows():
        """Write on each time the reader asks whether the run is over."""
        more = next(rest)
        with (run.folder / "journal.jsonl").open("ab") as journal:
            journal.write(more)
        return not more

    *points, ending = read(run, grows)
    assert points == [
        TrackedPoint("load", 1, {"loss": 0.5}, SECONDS),
        TrackedPoint("load", 0, {"n": 2.0}, SECONDS),
    ]
    assert ending == Ending(1, "")


def test_leaves_out_a_line_that_a_crash_cut_short(run):
    write(run, b'{"event": "measured", "st\n', line("measured", step="load", name="n", value=2, unit=""))
    assert [point.figures for point in read(run)[:-1]] == [{"n": 2.0}]


def test_tells_nothing_of_steps_that_judge_nor_any_text(run):
    write(
        run,
        line("measured", step="c1.contract", name="lost", value=3, unit=""),
        line("note", step="load", text="Jane Doe"),
        line("failed", step="load", because="Jane Doe"),
        line("closed", exit=4, because="Jane Doe"),
    )
    assert read(run) == [Ending(4, "")]


def test_tells_curves_of_a_step_that_was_reused_and_each_point_once(run):
    store = Store(Home(run.home))
    curves = store.put("value", {"loss": [3.0, 2.0, 1.0], "tuning_loss": [3.5, 2.5], "best_epoch": 1})
    record = read_record(run.folder)
    first = record.steps[0]
    result = replace(first.result, outputs={**first.result.outputs, "curves": curves}, finished=TIME)
    write_record(run.folder, replace(record, steps=(replace(first, result=result), *record.steps[1:])))
    live = line("curve", step="load", place=1, figures={"loss": 3.0, "tuning_loss": 3.5})
    write(run, live, line("closed", exit=0, verdict="PASS", released=["c2"]))
    *points, ending = read(run)
    assert points == [
        TrackedPoint("load", 1, {"loss": 3.0, "tuning_loss": 3.5}, SECONDS),
        TrackedPoint("load", 2, {"loss": 2.0, "tuning_loss": 2.5}, SECONDS),
        TrackedPoint("load", 3, {"loss": 1.0}, SECONDS),
    ]
    assert ending.verdict == "PASS"
