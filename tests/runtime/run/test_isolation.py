"""A candidate that crashes in native code is left behind, wherever it does, and the others are judged without it."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.plan import Step

spec = importlib.util.spec_from_file_location("toy_in_process_isolation", Path(__file__).parents[1] / "in_process.py")
in_process = importlib.util.module_from_spec(spec)
sys.modules["toy_in_process_isolation"] = in_process
spec.loader.exec_module(in_process)

ABORTED = "the worker crashed (SIGABRT)"
KILLED = "the worker was killed by the system (SIGKILL), most likely out of memory"


def run_here(toy, plan):
    """Execute a plan in this process, whose worker can die all the same."""
    return toy.run(plan, worker=in_process.DyingWorker(toy.home, toy.folder))


def outcome(record, *, without="c1"):
    """What became of every candidate but the one that crashes."""
    return {
        item.candidate: (item.status, item.because, dict(item.figures), item.judgement, item.gains)
        for item in record.candidates
        if item.candidate != without
    }


def timed_against(record):
    return {gain.against for gain in record.candidates[0].gains if gain.objective == "latency"}


def notes(toy):
    return [event["text"] for event in toy.events if event["event"] == "note"]


def test_times_again_without_whatever_ended_the_worker_and_however(toy, make_plan, change):
    record = toy.run(change(make_plan((1, 2, 3)), "latency", do={"c1": "abort", "c3": "kill"}))
    assert (record.verdict, record.exit, record.released) == ("PASS", 0, ("c2",))
    assert {item.candidate: item.because for item in record.candidates if item.status == "rejected"} == {
        "c1": f"it could not be timed: {ABORTED}",
        "c3": f"it could not be timed: {KILLED}",
    }
    again = "the step is done again without it"
    assert {text for text in notes(toy) if "at work" in text} == {
        f"latency: {ABORTED} while c1 was at work: {again}",
        f"latency: {KILLED} while c3 was at work: {again}",
    }
    assert toy.ran().count("time") == 3


def test_leaves_the_others_as_they_are_without_it(toy, make_plan, change):
    record = run_here(toy, change(make_plan((1, 2, 3)), "latency", do={"c1": "abort"}))
    assert record.released == ("c3",)
    assert outcome(record) == outcome(run_here(toy, make_plan((2, 3))))


def test_leaves_out_of_the_timing_what_only_stands_beside_the_candidates(toy, make_plan, change):
    plan = make_plan((1,))
    made = Step("plain", "toys:make", 1, {"level": 9}, {"model": "load.model"}, 7, "make")
    steps = [
        replace(step, inputs={"models": {**step.inputs["models"], "plain": "plain.model"}})
        if step.id == "latency"
        else step
        for step in plan.steps
    ]
    candidates = tuple(replace(candidate, plain="plain", format="onnx") for candidate in plan.candidates)
    plan = replace(plan, steps=(steps[0], made, *steps[1:]), candidates=candidates)
    assert timed_against(run_here(toy, plan)) == {"plain", "original"}
    record = run_here(toy, change(plan, "latency", do={"plain": "abort"}))
    assert record.released == ("c1",)
    assert timed_against(record) == {"original"}


@pytest.mark.parametrize("do", [{"original": "abort"}, {"c1": "abort", "c2": "abort"}])
def test_fails_where_nothing_is_left_to_compare(toy, make_plan, change, do):
    with pytest.raises(StepError, match="SIGABRT"):
        run_here(toy, change(make_plan((1, 2)), "latency", do=do))
    (folder,) = toy.home.runs.iterdir()
    assert list((folder / "outputs").iterdir()) == []


def test_tries_it_again_the_next_time(toy, make_plan, change):
    """A crash may pass, as a lack of memory does: it is not believed from memory, and what was timed is reused."""
    plan = change(make_plan((1, 2)), "latency", do={"c1": "abort"})
    first = run_here(toy, plan)
    toy.ran()
    again = run_here(toy, plan)
    assert toy.ran() == ["time"]
    assert outcome(again) == outcome(first)
    assert again.released == first.released == ("c2",)


@pytest.mark.parametrize(("step", "operator"), [("c1", "toys:make"), ("c1.tuning", "toys:answer")])
def test_goes_on_where_a_candidate_crashes_before_it_is_timed(toy, make_plan, change, step, operator):
    record = run_here(toy, change(make_plan((1, 2)), step, do="abort"))
    crashed = record.candidates[0]
    assert (crashed.status, crashed.because) == ("rejected", f"{ABORTED} in {operator}")
    assert record.released == ("c2",)
    assert outcome(record) == outcome(run_here(toy, make_plan((2,))))


def test_judges_the_next_one_where_a_candidate_crashes_while_it_is_judged(toy, make_plan, change):
    record = run_here(toy, change(make_plan((1, 2, 3)), "c1.contract", do="abort"))
    crashed = record.candidates[0]
    assert (crashed.status, crashed.judgement.verdict) == ("judged", "INCONCLUSIVE")
    assert crashed.because == f"it could not be judged: c1.contract: {ABORTED} in toys:judge"
    assert any(text.startswith("c1 could not be judged:") for text in notes(toy))
    assert (record.verdict, record.exit, record.released) == ("PASS", 0, ("c3",))


def test_stops_at_one_that_fails_the_contract_after_one_that_crashed(toy, make_plan, change):
    record = run_here(toy, change(make_plan((1, 2, 3), verdicts={2: "FAIL"}), "c1.contract", do="abort"))
    assert (record.verdict, record.exit, record.released) == ("FAIL", 5, ())
    assert [item.status for item in record.candidates] == ["judged", "judged", "shortlisted"]


def test_releases_nothing_where_the_only_one_crashes_while_it_is_judged(toy, make_plan, change):
    record = run_here(toy, change(make_plan((1,)), "c1.contract", do="abort"))
    assert (record.verdict, record.exit, record.released) == ("INCONCLUSIVE", 5, ())
