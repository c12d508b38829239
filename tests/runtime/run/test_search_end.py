"""A search with an end: no further candidate is begun after it, and the run goes on with those that are there."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.run import search_end
from titrant.runtime.run.deadline import Deadline
from titrant.runtime.run.search_end import SearchEndedError, making_order
from titrant.schema.plan import ModelCost, Prediction, Step


@pytest.fixture
def clock(monkeypatch):
    moved = SimpleNamespace(now=0.0)
    monkeypatch.setattr(search_end, "time", SimpleNamespace(monotonic=lambda: moved.now))
    return moved


def limited(plan, minutes=1.0, expected=None):
    """Give a plan an end of its search, and what is expected of each candidate."""
    costs = {name: ModelCost({"1": seconds}) for name, seconds in (expected or {}).items()}
    steps = tuple(replace(s, prediction=Prediction(models=costs)) if s.id == "latency" else s for s in plan.steps)
    return replace(plan, steps=steps, search_minutes=minutes)


def test_goes_on_with_what_was_begun_in_time_and_says_what_was_not(toy, here, make_plan, clock):
    def later(event):
        if event["event"] == "finished" and event["step"] == "c2":
            clock.now = 61.0

    record = toy.run(limited(make_plan((1, 2, 3)), expected={"c1": 1.0, "c2": 2.0, "c3": 3.0}), hear=later)
    assert (record.exit, record.verdict, record.released) == (0, "PASS", ("c2",))
    left_out = next(each for each in record.candidates if each.candidate == "c3")
    assert left_out.status == "rejected"
    assert left_out.because == "search.budget.minutes: 1 are over, and c3 was not begun"
    assert "make c3" not in toy.ran()


def test_makes_the_rest_in_a_run_with_more_minutes_and_nothing_twice(toy, here, make_plan, clock):
    def later(event):
        if event["event"] == "finished" and event["step"] == "c1":
            clock.now = 61.0

    toy.run(limited(make_plan((1, 2))), hear=later)
    toy.ran()
    assert toy.run(limited(make_plan((1, 2)), minutes=10.0)).released == ("c2",)
    assert "make c1" not in toy.ran()


def test_makes_the_gentlest_and_every_plain_conversion_however_late_it_is(make_plan, clock):
    plan = limited(make_plan((1, 2, 3)))
    plain = replace(plan.candidates[2], method="none")
    end = Deadline(replace(plan, candidates=(*plan.candidates[:2], plain)), None)
    clock.now = 3600.0
    steps = {step.id: step for step in plan.steps}
    for name in ("c1", "c1.tuning", "c3", "latency", "c2.contract"):
        end.allow(steps[name])
    with pytest.raises(SearchEndedError) as caught:
        end.allow(steps["c2"])
    assert caught.value.diagnostics[0].code == "X361"


def test_prepares_no_mending_after_the_end_and_any_before_it(make_plan, clock):
    plan = limited(make_plan((1, 2)))
    prices = replace(plan.steps[0], id="prices", stage="search", candidate="")
    end = Deadline(plan, None)
    end.allow(prices)
    clock.now = 61.0
    with pytest.raises(SearchEndedError, match=r"search\.budget.minutes: 1 are over, and prices was not begun"):
        end.allow(prices)


def test_has_no_end_without_minutes(make_plan, clock):
    plan = make_plan((1, 2))
    end = Deadline(plan, None)
    clock.now = 1e9
    for step in plan.steps:
        end.allow(step)


def test_begins_nothing_that_mixtures_share_where_none_of_them_can_be_begun(make_plan, clock):
    plan = limited(make_plan((1, 2)))
    prices = Step("prices", "toys:allocate", 1, {}, {}, 7, "search")
    end = Deadline(plan, None)
    end.allow(prices)
    clock.now = 61.0
    with pytest.raises(SearchEndedError, match="1 are over, and prices was not begun"):
        end.allow(prices)


@given(st.lists(st.floats(0.001, 10), min_size=2, max_size=6), st.sets(st.integers(0, 5)), st.permutations(range(6)))
def test_makes_the_most_promising_first_and_plain_conversions_before_all(seconds, plain, order):
    from titrant.schema.plan import Candidate

    plan = _plan_of(seconds, plain, order, Candidate)
    ordered = making_order(plan)
    assert {each.id for each in ordered} == {each.id for each in plan.candidates}
    reduced = [place for place, each in enumerate(ordered) if each.method != "none"]
    assert reduced == list(range(len(ordered) - len(reduced), len(ordered)))
    expected = [seconds[int(each.id[1:])] for each in ordered if each.method != "none"]
    assert expected == sorted(expected)


def _plan_of(seconds, plain, order, candidate):
    from titrant.schema.plan import CandidateSearch

    places = [place for place in order if place < len(seconds)]
    candidates = tuple(
        candidate(f"c{place}", "none" if place in plain else "toy", "toy", "json", place, f"c{place}.model", "", "", "")
        for place in places
    )
    costs = {f"c{place}": ModelCost({"1": value}) for place, value in enumerate(seconds)}
    timing = Step("latency", "clock", 1, {}, {}, 7, "measure", prediction=Prediction(models=costs))
    search = CandidateSearch(
        "auto", "toy", tuple(each.id for each in candidates), ("latency", "size"), 4, "latency.timings"
    )
    return SimpleNamespace(candidates=candidates, searches=(search,), steps=(timing,), search_minutes=1.0)
