"""Hardware and memory of a run: sampled beside it, by step, and in no record that two runs would be compared by."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

from titrant.runtime.instruments.hardware.during_run import RunHardware
from titrant.runtime.instruments.hardware.run_utilization import RunUtilization, page, run_text
from titrant.schema.plan import MEMORY, UTILIZATION, plan_digest
from titrant.schema.values.canonical import read_back


def seen_in(folder):
    return read_back(RunUtilization, json.loads((folder / "utilization.json").read_text("utf-8")))


def test_samples_every_step_that_runs_and_keeps_it_beside_the_record(toy, make_plan):
    record = toy.run(replace(make_plan(), profiled=(UTILIZATION,)))
    folder = toy.home.runs / record.run
    seen = seen_in(folder)
    ran = [step.step for step in record.steps if step.status == "finished"]
    assert sorted(step.step for step in seen.steps) == sorted(ran)
    assert all(seen.of_step(step).samples for step in seen.steps)
    assert seen.utilization.peak.process_bytes > 1 << 20
    assert "utilization" not in json.loads((folder / "record.json").read_text("utf-8"))
    text = run_text(seen)
    assert [line.split()[0] for line in text.splitlines()[2 : 2 + len(ran)]] == [step.step for step in seen.steps]
    html = (folder / "utilization.html").read_text("utf-8")
    assert "Cores busy" in html
    assert "load" in html


def test_writes_nothing_where_nobody_asks(toy, ran, make_plan):
    record = ran(make_plan())
    assert not list((toy.home.runs / record.run).glob("utilization*"))


def test_leaves_the_plan_what_it_was_where_nobody_asks(make_plan):
    plan = make_plan()
    assert plan_digest(replace(plan, profiled=())) == plan_digest(plan)
    assert plan_digest(replace(plan, profiled=(MEMORY,))) != plan_digest(plan)


def test_runs_no_step_again_where_it_is_asked_for_later(toy, ran, make_plan):
    ran(make_plan())
    later = toy.run(replace(make_plan(), profiled=(MEMORY, UTILIZATION)))
    assert {step.status for step in later.steps} <= {"reused", "unused", "finished"}
    assert later.reused > 0
    assert not [step for step in later.steps if step.status == "finished" and not step.step.startswith("report")]


def test_records_what_each_step_held_when_it_had_ended(toy, make_plan):
    record = toy.run(make_plan())
    memories = [step.result.memory for step in record.steps if step.result is not None]
    assert all(memory.held_bytes > 1 << 20 for memory in memories)
    assert all(abs(memory.grown_bytes) < memory.held_bytes for memory in memories)


def timed_plan(*steps):
    named = [SimpleNamespace(id=name, operator=operator) for name, operator in steps]
    return SimpleNamespace(profiled=(UTILIZATION,), steps=named)


def test_takes_no_sample_while_models_are_timed(tmp_path):
    hardware = RunHardware(timed_plan(("fit", "train.fit"), ("latency", "profile.latency")))
    heard = []
    hear = hardware.heard_by(heard.append)
    hardware.start(tmp_path)
    hear({"event": "started", "step": "fit"})
    hear({"event": "finished", "step": "fit"})
    hear({"event": "started", "step": "latency"})
    time.sleep(0.7)  # longer than the interval
    hear({"event": "failed", "step": "latency"})
    hardware.end()
    assert len(heard) == 4
    seen = seen_in(tmp_path)
    fit, latency = seen.steps
    assert (fit.timed, latency.timed) == (False, True)
    inside = [each for each in seen.utilization.samples if latency.begin_seconds + 0.05 < each.seconds]
    assert all(each.seconds >= latency.end_seconds - 0.05 for each in inside)
    # What happened meanwhile is in no sample either.
    assert all(each.span_seconds < 0.5 for each in inside)
    assert "not sampled: models are timed" in run_text(seen)
    assert "latency (not sampled: models are timed)" in page(seen, "a run")


def test_says_that_no_step_ran(tmp_path):
    hardware = RunHardware(timed_plan())
    hardware.start(tmp_path)
    hardware.end()
    assert "no step ran" in run_text(seen_in(tmp_path))
