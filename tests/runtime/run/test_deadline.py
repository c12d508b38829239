"""A run with an end: what was judged until then decides, nothing is lost, and the next run goes on."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from titrant.runtime.run import deadline
from titrant.runtime.run.deadline import Deadline, OutOfTimeError
from titrant.runtime.store.journal import read
from titrant.runtime.store.locks import computing
from titrant.schema.plan import Prediction


@pytest.fixture
def clock(monkeypatch):
    """The clock that deadlines look at: it stands still unless a test moves it."""
    moved = SimpleNamespace(now=0.0)
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: moved.now))
    return moved


def predicted(plan, name, seconds, basis="measured"):
    steps = tuple(replace(s, prediction=Prediction(seconds, basis=basis)) if s.id == name else s for s in plan.steps)
    return replace(plan, steps=steps)


def named(plan, name):
    return next(step for step in plan.steps if step.id == name)


def test_releases_the_best_that_was_judged_when_time_is_up_while_judging(toy, here, make_plan, clock):
    plan = predicted(make_plan((1, 2)), "c2.contract", 3600.0)
    record = toy.run(plan, seconds=60)
    assert (record.exit, record.verdict, record.released) == (0, "PASS", ("c1",))
    assert record.candidates[1].status == "shortlisted"
    assert record.candidates[1].because == "the run's time was up before it was judged"
    toy.ran()
    again = toy.run(make_plan((1, 2)))
    assert (again.released, toy.ran()) == (("c2",), ["judge c2", "report"])


def test_keeps_the_original_when_nothing_could_be_judged(toy, here, make_plan, clock):
    plan = predicted(make_plan((1,)), "c1.contract", 3600.0)
    record = toy.run(plan, seconds=60)
    assert (record.exit, record.verdict, record.released) == (5, "INCONCLUSIVE", ())
    folder = toy.home.runs / record.run
    assert list((folder / "outputs").iterdir()) == []
    assert (folder / "report.html").exists()
    toy.ran()
    assert toy.run(make_plan((1,))).released == ("c1",)
    assert toy.ran() == ["judge c1", "report"]


def test_stops_a_step_that_runs_over_and_goes_on_the_next_time(toy, make_plan, clock, monkeypatch):
    monkeypatch.setattr(deadline, "_GRACE_SECONDS", 0.3)

    def almost_up(event):
        if event["event"] == "started" and event["step"] == "c1":
            clock.now = 1.4

    with pytest.raises(OutOfTimeError, match=r"the time of 1\.5 s is up: c1 ran over and was stopped") as found:
        toy.run(make_plan((1,), make={1: {"seconds": 600}}), seconds=1.5, hear=almost_up)
    assert found.value.exit_code == 5
    (folder,) = toy.home.runs.iterdir()
    assert read(folder / "journal.jsonl")[-1]["exit"] == 5
    assert list((folder / "outputs").iterdir()) == []
    assert "load" in toy.ran()
    assert toy.run(make_plan((1,))).released == ("c1",)
    assert "load" not in toy.ran()


def test_waits_for_another_process_until_the_time_is_up(toy, ran, here, make_plan):
    plan = make_plan((1,))
    key = next(step.key for step in ran(plan).steps if step.step == "c1")
    shutil.rmtree(toy.home.results / key)
    message = r"the time of 300 ms is up: c1 is being computed by another process"
    with computing(toy.home, key, print), pytest.raises(OutOfTimeError, match=message):
        toy.run(plan, seconds=0.3)
    assert toy.run(plan).released == ("c1",)


def test_begins_no_further_candidate_that_would_leave_no_time_to_judge(toy, here, make_plan, clock):
    plan = predicted(predicted(make_plan((1, 2)), "c2", 20.0), "latency", 50.0)
    record = toy.run(plan, seconds=60)
    assert record.released == ("c1",)
    assert record.candidates[1].status == "rejected"
    assert "c2 was not started, to leave time to judge what is there" in record.candidates[1].because
    assert toy.run(plan).released == ("c2",)


def test_prepares_no_mending_that_would_leave_no_time_to_judge(make_plan, clock):
    plan = predicted(predicted(make_plan((1, 2)), "c2", 20.0), "latency", 50.0)
    shared = replace(named(plan, "c2"), id="prices", stage="search", candidate="")
    with pytest.raises(OutOfTimeError, match="prices was not started, to leave time to judge what is there"):
        Deadline(plan, 60).allow(shared)
    Deadline(plan, 600).allow(shared)


def test_believes_guesses_of_what_mends_a_candidate(make_plan, clock):
    plan = predicted(make_plan(), "latency", 30.0, "guess")
    mends = replace(named(plan, "c2"), stage="search")
    deadline = Deadline(plan, 40)
    deadline.allow(mends)
    clock.now += 15
    with pytest.raises(OutOfTimeError, match="to leave time to judge what is there"):
        deadline.allow(mends)
    deadline.allow(named(plan, "c2"))


@pytest.mark.parametrize(("basis", "allowed"), [("guess", True), ("measured", False)])
def test_believes_predictions_but_no_guesses(make_plan, basis, allowed):
    plan = predicted(make_plan((1,)), "load", 1e6, basis)
    end = Deadline(plan, 60)
    if allowed:
        end.allow(named(plan, "load"))
    else:
        with pytest.raises(OutOfTimeError, match="load is predicted to take"):
            end.allow(named(plan, "load"))


def test_makes_the_report_however_late_it_is(make_plan, clock):
    plan = make_plan((1,))
    end = Deadline(plan, 1.0)
    clock.now = 1.0
    end.allow(named(plan, "report"))
    with pytest.raises(OutOfTimeError, match="load was not started"):
        end.allow(named(plan, "load"))


def test_has_no_end_unless_one_is_given(make_plan):
    plan = predicted(make_plan((1,)), "load", 1e9)
    assert Deadline(plan, None).left() is None
    Deadline(plan, None).allow(named(plan, "load"))
