"""Repeating a plan: every step anew, recorded choices in place of fresh ones, and a say before anything is released."""

import pytest

from titrant.runtime.run.choice.shortlist import Choice
from titrant.runtime.run.replay import Replay, recorded_choices, replayed
from titrant.schema.diagnostics.diagnostics import Diagnostic, StaleError, StepError

pytestmark = pytest.mark.usefixtures("here")


def kept(toy):
    return {path: path.read_bytes() for path in toy.home.results.rglob("*") if path.is_file()}


def test_runs_every_step_again_and_leaves_old_results_as_they_are(toy, make_plan):
    first = toy.run(make_plan())
    ran, results = toy.ran(), kept(toy)
    again = toy.run(make_plan(), replay=Replay(reuse=False))
    assert toy.ran() == ran
    assert kept(toy) == results
    assert (again.executed, again.reused) == (first.executed, 0)
    assert again.run != first.run
    toy.run(make_plan())
    assert toy.ran() == []


def test_goes_on_from_no_training_that_a_killed_run_left(toy, ran, make_plan):
    record = ran(make_plan((1,)))
    for step in record.steps:
        (toy.home.training / step.key).mkdir(parents=True)
    left = {}

    def look(event):
        if event["event"] == "started":
            left[event["step"]] = (toy.home.training / event["key"]).exists()

    toy.run(make_plan((1,)), replay=Replay(reuse=False), hear=look)
    assert left == dict.fromkeys(left, False)
    assert len(left) > 3


def test_judges_what_was_recorded_and_says_what_fresh_measurements_would(toy, make_plan):
    plan = make_plan(seconds={1: 1.0, 2: 0.5})
    assert recorded_choices(plan, toy.run(plan)) == {"toy": ("c1", "c2")}
    record = toy.run(plan, replay=Replay(choices={"toy": ("c1",)}))
    assert record.released == ("c1",)
    assert next(event["would_judge"] for event in toy.events if "would_judge" in event) == ["c1", "c2"]


def test_releases_nothing_that_is_not_accepted(toy, make_plan):
    def refuse(record):
        assert record.released == ("c2",)
        raise StaleError(Diagnostic("P092", "not as locked"))

    with pytest.raises(StaleError):
        toy.run(make_plan(), replay=Replay(accept=refuse))
    (folder,) = toy.home.runs.iterdir()
    assert not (folder / "record.json").exists()
    assert list((folder / "outputs").iterdir()) == []
    with pytest.raises(StaleError):
        toy.run(make_plan(), replay=Replay(accept=refuse))


def test_refuses_when_none_of_the_recorded_candidates_is_left(make_plan):
    with pytest.raises(StepError) as raised:
        replayed((Choice("c1", True, ""),), make_plan(), ("c2",))
    assert raised.value.diagnostics[0].code == "X331"


def test_keeps_the_order_from_gentle_to_aggressive(make_plan):
    fresh = tuple(Choice(name, True, "") for name in ("c3", "c1", "c2"))
    choices = replayed(fresh, make_plan(levels=(1, 2, 3)), ("c3", "c1"))
    assert [(one.candidate, one.shortlisted) for one in choices] == [("c1", True), ("c3", True), ("c2", False)]
