"""What mends a candidate runs only where tuning rows ask for it, in turn, and is judged like any other."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.runtime.rerun.check import one_sided
from titrant.runtime.run.choice.figures import TuningQuality, harmed, lost_on_tuning
from titrant.runtime.run.replay import Replay, recorded_choices, recorded_search
from titrant.runtime.store.home import open_home
from titrant.schema.compare.runs import RecordedRun
from titrant.schema.compare.steps import results
from titrant.schema.gate import Contract, Gate
from titrant.schema.plan import Step

spec = importlib.util.spec_from_file_location("toy_crash_mend", Path(__file__).with_name("test_crash_points.py"))
crash = importlib.util.module_from_spec(spec)
sys.modules["toy_crash_mend"] = crash
spec.loader.exec_module(crash)

# c4 is the base; c3 a repair of it; c2 and c1 are mixtures, the second of which knows what the first lost.
BASE, REPAIR, MIXTURES = "c4", "c3", ("c2", "c1")


@pytest.fixture
def mended(here, make_plan):
    """Return a function that builds a plan with a base, a repair and two mixtures, of some quality on tuning rows."""

    def build(*, at_most=5, allocate=None, **quality):
        levels = (4, 3, 2, 1)
        given = {level: quality.get(f"c{level}", 1.0) for level in levels}
        plan = make_plan(levels, quality=given)
        mending = (REPAIR, *MIXTURES)
        steps = [replace(s, stage="search") if s.candidate in mending and s.stage == "make" else s for s in plan.steps]
        for place, name in enumerate(MIXTURES):
            tried = {other: f"{other}.quality.quality" for other in (BASE, REPAIR, *MIXTURES[:place])}
            params = {"leave": [f"layer{place}"], **(allocate or {}).get(name, {})}
            allocating = Step(f"{name}.allocation", "toys:allocate", 1, params, {"tried": tried}, 7, "search", name)
            at = next(index for index, s in enumerate(steps) if s.id == name)
            steps[at] = replace(steps[at], inputs={**steps[at].inputs, "allocation": f"{name}.allocation.allocation"})
            steps.insert(at, allocating)
        candidates = tuple(
            replace(
                candidate,
                mends=BASE if candidate.id in mending else "",
                allocation=f"{candidate.id}.allocation.allocation" if candidate.id in MIXTURES else "",
            )
            for candidate in plan.candidates
        )
        steps.sort(key=lambda s: ("prepare", "make", "search", "measure", "judge", "report").index(s.stage))
        return replace(plan, steps=tuple(steps), candidates=candidates, mended_at_most=at_most)

    return build


def gate(preset, metric, threshold, test="score_ratio"):
    return Gate(preset, preset, metric, "all", "at_least", threshold, test, "recipe")


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ([gate("retention", "accuracy", 0.95)], "it keeps 0.9400 of the original's quality"),
        ([gate("retention", "agreement", 0.95)], "it answers 0.9300 of the cases as the original does"),
        ([gate("fine_tuned", "accuracy", 0.95)], "it keeps 0.9200 of the fine-tuned original's quality"),
        ([gate("clinical_relevance", "same_decision", 0.95)], "it decides 0.9300 of the cases as the original does"),
        ([gate("clinical_relevance", "same_decision", 0.95, "not_assessable")], ""),
        ([gate("retention", "accuracy", 0.94), gate("gates", "brier", 0.99)], ""),
    ],
)
def test_mends_by_what_the_contract_asks_of_answers_and_tuning_rows_can_show(gates, said):
    tuning = TuningQuality(kept=0.94, agreement=0.93, fine_tuned=0.92, rows=1000)
    lost = lost_on_tuning(Contract(tuple(gates), 0.95, "proof"), tuning)
    assert lost == (said and f"{said} on 1,000 tuning rows, and 0.95 is asked")


def in_group(place, threshold=0.85, comparison="retention"):
    return Gate(
        f"bias.site.{place}", "bias", "accuracy", f"subgroup site.{place}", comparison, threshold, "x", "recipe"
    )


def seen(estimate, verdict="INCONCLUSIVE"):
    return {"estimate": estimate, "spent": round((1 - estimate) / 0.15, 9), "verdict": verdict}


def test_mends_by_what_the_worst_subgroup_is_seen_to_lose_and_rules_out_by_what_chance_does_not_explain():
    contract = Contract((gate("retention", "accuracy", 0.95), *map(in_group, "abc")), 0.95, "proof")
    tuning = TuningQuality(kept=0.99, rows=1000, groups={"bias.site.a": seen(0.84), "bias.site.b": seen(0.5, "FAIL")})
    said = "accuracy on subgroup site.b comes to 0.5000 on tuning rows, {}and ≥ 0.85 of the original’s is asked"
    assert lost_on_tuning(contract, tuning) == said.format("")
    assert harmed(contract, tuning, beyond_chance=True) == said.format("beyond chance, ")
    doubtful = replace(tuning, groups={"bias.site.a": seen(0.84), "bias.site.b": seen(0.86)})
    assert "site.a comes to 0.8400" in lost_on_tuning(contract, doubtful)
    assert harmed(contract, doubtful, beyond_chance=True) == ""
    assert lost_on_tuning(contract, replace(tuning, groups={"bias.site.c": seen(0.85)})) == ""


def became(record):
    return {candidate.candidate: candidate.status for candidate in record.candidates}


def because(record, name):
    return next(candidate.because for candidate in record.candidates if candidate.candidate == name)


def made(toy):
    return [name for name in toy.ran() if name.startswith("make")]


def test_tries_nothing_where_the_method_loses_too_little(toy, mended):
    record = toy.run(mended(c4=0.96))
    assert made(toy) == ["make 4"]
    assert became(record) == {"c4": "released", "c3": "not tried", "c2": "not tried", "c1": "not tried"}
    assert because(record, "c3") == "c4 loses too little on tuning rows to be mended"


def test_ends_with_the_first_repair_that_keeps_what_is_asked(toy, mended):
    record = toy.run(mended(c4=0.5, c3=0.97))
    assert made(toy) == ["make 3", "make 4"]
    assert record.released == ("c3",)
    assert because(record, "c2") == "c3 loses no more than is asked"
    said = [event["text"] for event in toy.events if event["event"] == "note"]
    assert any(
        text == "c4 is to be mended: it keeps 0.5000 of the original's quality on 1,000 tuning rows, and 0.95 is asked"
        for text in said
    )


def test_goes_on_to_mixtures_and_past_one_that_keeps_what_is_asked(toy, mended):
    record = toy.run(mended(c4=0.5, c3=0.6, c2=1.0, c1=0.99))
    assert made(toy) == ["make 1", "make 2", "make 3", "make 4"]
    assert became(record)["c4"] == became(record)["c3"] == "measured"
    left = {candidate.candidate: candidate.left for candidate in record.candidates}
    assert left == {"c4": (), "c3": (), "c2": ("layer0",), "c1": ("layer1",)}


def test_judges_no_mixture_that_keeps_what_is_asked_by_luck_alone(toy, mended):
    record = toy.run(mended(c4=0.5, c3=0.6, c2=0.951, c1=1.0))
    assert became(record)["c2"] == "measured"
    assert because(record, "c2") == (
        "it keeps 0.9510 on 1000 tuning rows, and at least 0.9410 beyond chance: 0.95 is asked"
    )


def test_mends_what_harms_a_subgroup_and_judges_no_mixture_that_was_seen_to_harm_it(toy, mended):
    """All cases together keep .99 with all of them; of site b c4 keeps half, c3 .84, c2 .84 and c1 .86."""
    plan = mended(c4=0.99, c3=0.99, c2=0.99, c1=0.99)
    of_b = {"c4": seen(0.5, "FAIL"), "c3": seen(0.84), "c2": seen(0.84), "c1": seen(0.86)}
    steps = [
        replace(step, params={**step.params, "groups": {"bias.site.b": of_b[step.candidate]}})
        if step.operator == "toys:measure"
        else step
        for step in plan.steps
    ]
    gates = (*plan.contract.gates, in_group("b"))
    record = toy.run(replace(plan, steps=tuple(steps), contract=replace(plan.contract, gates=gates)))
    assert made(toy) == ["make 1", "make 2", "make 3", "make 4"]
    assert became(record)["c4"] == became(record)["c2"] == "measured"
    assert "accuracy on subgroup site.b comes to 0.5000 on tuning rows, beyond chance" in because(record, "c4")
    assert "accuracy on subgroup site.b comes to 0.8400 on tuning rows, and" in because(record, "c2")
    assert became(record)["c3"] in {"judged", "released"}


def test_ends_where_the_allocation_has_nothing_left(toy, mended):
    record = toy.run(mended(c4=0.5, c3=0.6, allocate={"c2": {"leave": None}}))
    assert made(toy) == ["make 3", "make 4"]
    assert {because(record, name) for name in MIXTURES} == {"enough"}
    assert became(record)["c2"] == became(record)["c1"] == "not tried"


def test_ends_where_no_allocation_can_be_made(toy, mended):
    record = toy.run(mended(c4=0.5, c3=0.6, allocate={"c2": {"do": "refuse"}}))
    assert made(toy) == ["make 3", "make 4"]
    assert became(record)["c2"] == "rejected"
    assert (became(record)["c1"], because(record, "c1")) == ("not tried", "level is not for this model")


def test_goes_on_where_a_mixture_or_a_repair_cannot_be_made(toy, mended, change):
    toy.worker = None  # a process's own, which crashes
    plan = change(change(mended(c4=0.5, c2=0.99), "c3", do="crash"), "c1", do="raise")
    record = toy.run(plan)
    assert became(record) == {"c4": "measured", "c3": "rejected", "c2": "released", "c1": "rejected"}


def test_makes_no_more_than_it_may(toy, mended):
    record = toy.run(mended(at_most=2, c4=0.5, c3=0.6, c2=0.7))
    assert made(toy) == ["make 2", "make 3", "make 4"]
    assert because(record, "c1") == "no evaluation is left to mend c4, after 2 evaluations"


def test_counts_what_is_the_same_file_as_one_before_it_as_no_evaluation(toy, mended, change):
    plan = change(mended(at_most=1, c4=0.5, c2=1.0), "c3", level=4, padding=25)
    record = toy.run(plan)
    assert (became(record)["c3"], because(record, "c3")) == ("not tried", "it is the same file as c4")
    assert record.released == ("c2",)


def test_times_no_file_twice(toy, mended, change):
    toy.worker = None
    plan = change(change(mended(c4=0.5, c2=1.0), "c3", level=4, padding=25), "latency", do={"c3": "crash"})
    record = toy.run(plan)
    assert became(record)["c3"] == "not tried"
    assert not [event for event in toy.events if "at work" in event.get("text", "")]


def timed(record):
    return [candidate.candidate for candidate in record.candidates if "latency_p50" in candidate.figures]


def test_does_not_time_what_tuning_rows_rule_out_but_for_plain_conversions(toy, mended):
    plan = mended(c4=0.5, c3=0.6, c2=0.951, c1=0.99)
    record = toy.run(plan)
    assert (timed(record), record.released) == (["c1"], ("c1",))
    assert because(record, "c4").startswith("it keeps 0.5000 of the original's quality on 1000 tuning rows")
    base = replace(plan.candidates[0], method="none")
    assert timed(toy.run(replace(plan, candidates=(base, *plan.candidates[1:])))) == ["c4", "c1"]


def test_times_all_where_tuning_rows_rule_out_everything_or_a_rerun_judges_it(toy, mended):
    plan = mended(c4=0.5, c3=0.6, c2=0.7, c1=0.8)
    assert timed(toy.run(plan)) == ["c4", "c3", "c2", "c1"]
    replay = Replay(choices={"toy": ("c3",)}, tried=("c3", "c1"), left={"c1": ("layer1",)})
    assert timed(toy.run(mended(c4=0.5, c3=0.6, c1=0.99), replay=replay)) == ["c3", "c1"]


def asking(plan, *refusing):
    """Ask every candidate that is shortlisted whether its answers hold; those that are named refuse."""
    steps = []
    for step in plan.steps:
        if (name := step.candidate) and step.stage == "judge":
            params = {"do": "refuse"} if name in refusing else {}
            inputs = {"model": f"{name}.model", "rows": "load.rows"}
            steps.append(Step(f"{name}.repeats", "toys:answer", 1, params, inputs, 7, "judge", name))
        steps.append(step)
    candidates = tuple(replace(each, repeats=f"{each.id}.repeats.outputs") for each in plan.candidates)
    return replace(plan, steps=tuple(steps), candidates=candidates)


def asked(record):
    done = {step.step for step in record.steps if step.status in ("finished", "reused", "failed")}
    return sorted(name for name in done if name.endswith(".repeats"))


def test_asks_whether_answers_hold_of_what_is_worth_judging(toy, mended):
    plan = asking(mended(c4=0.5, c3=0.6, c2=0.951, c1=0.99))
    record = toy.run(plan)
    assert (asked(record), record.released, became(record)["c4"]) == (["c1.repeats"], ("c1",), "measured")
    symbols, _ = toy.previews(plan)
    assert (symbols["c4.repeats"], symbols["c1.repeats"]) == ("?", "=")
    assert toy.preview(plan).answer is not None


def test_chooses_anew_without_whose_answers_do_not_hold_and_asks_who_comes_next(toy, mended):
    quality = {"c4": 0.5, "c3": 0.6, "c2": 0.7, "c1": 0.8}
    record = toy.run(asking(mended(**quality), "c1"))
    assert (asked(record), became(record)["c1"]) == (["c1.repeats", "c2.repeats"], "rejected")
    replay = Replay(choices={"toy": ("c3",)}, tried=("c3", "c1"), left={"c1": ("layer1",)})
    again = toy.run(asking(mended(c4=0.5, c3=0.6, c1=0.99)), replay=replay)
    assert asked(again) == ["c3.repeats"]


def test_shows_what_only_the_search_may_ask_for(toy, mended):
    plan = mended(c4=0.5, c3=0.97)
    before, _ = toy.previews(plan)
    assert {before[name] for name in ("c3", "c3.quality", "c2.allocation", "c1")} == {"?"}
    toy.run(plan)
    after, _ = toy.previews(plan)
    assert (after["c4"], after["c3"], after["c2"], after["c2.allocation"]) == ("=", "=", "?", "?")
    assert toy.preview(plan).answer is not None


def test_repeats_what_was_tried_whatever_fresh_measurements_say(toy, mended, change):
    plan = mended(c4=0.5, c3=0.6, c2=1.0, c1=0.99)
    first = toy.run(plan)
    tried, left = recorded_search(plan, first)
    assert (tried, left) == (("c3", "c2", "c1"), {"c2": ("layer0",), "c1": ("layer1",)})
    toy.ran()
    other = change(change(plan, "c2.allocation", leave=["elsewhere"]), "c4.quality", quality=1.0)
    record = toy.run(other, replay=Replay(reuse=False, choices={"toy": ("c2",)}, tried=("c2",), left=left))
    assert made(toy) == ["make 2", "make 4"]
    assert not any(name.startswith("allocate") for name in toy.ran())
    assert next(candidate.left for candidate in record.candidates if candidate.candidate == "c2") == ("layer0",)
    assert because(record, "c3") == "the recorded run did not try it"


def test_misses_nothing_in_a_rerun_that_only_the_search_ran(toy, mended, change):
    plan = change(mended(c4=0.5, c2=1.0), "c3", level=4, padding=25)
    damage = Step("damage", "toys:allocate", 1, {"leave": []}, {"tried": {BASE: "c4.quality.quality"}}, 7, "search")
    steps = [
        replace(s, inputs={"tried": {**s.inputs["tried"], "damage": "damage.allocation"}})
        if s.id == "c2.allocation"
        else s
        for s in plan.steps
    ]
    steps.insert(next(place for place, s in enumerate(steps) if s.stage == "search"), damage)
    plan = replace(plan, steps=tuple(steps))
    first = toy.run(plan)
    assert became(first)["c3"] == "not tried"
    assert {"c3", "damage"} <= set(results(first))
    tried, left = recorded_search(plan, first)
    choices = recorded_choices(plan, first)
    again = toy.run(plan, replay=Replay(reuse=False, choices=choices, tried=tried, left=left))
    assert {"c3", "damage"}.isdisjoint(results(again))
    runs = RecordedRun(plan, first), RecordedRun(plan, again)
    assert one_sided(*runs, lambda operator: "exact") == []
    lost = replace(again, steps=tuple(each for each in again.steps if each.step != "c2"))
    assert [step.id for step, _ in one_sided(runs[0], RecordedRun(plan, lost), lambda operator: "exact")] == ["c2"]


def test_evaluates_nothing_twice_when_a_search_that_was_interrupted_anywhere_runs_again(toy, mended):
    plan = mended(c4=0.5, c3=0.6, c2=1.0, c1=0.99)
    for place in range(2, 15, 3):
        home = open_home(toy.home.path.with_name(f"home{place}"))
        finished = []

        def stop(event, place=place, finished=finished):
            if event["event"] == "finished":
                finished.append(event["step"])
                if len(finished) == place:
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            crash.run_here(toy, plan, home, listen=stop)
        again = []
        record = crash.run_here(toy, plan, home, listen=lambda event, again=again: again.append(event))
        ran = {event["step"] for event in again if event["event"] == "finished"}
        assert not ran & set(finished), place
        assert record.candidates[-1].status in ("judged", "released", "measured")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("quality", "refused", "tried"),
    [
        ((1.0, 1.0, 1.0), (), ["c3", "c2", "c1"]),
        ((1.0, 0.5, 1.0), (), ["c3", "c2"]),
        ((1.0, 1.0, 1.0), ("c3",), ["c3", "c2", "c1"]),
        ((1.0, 0.5, 1.0), ("c3",), ["c3", "c2"]),
        ((1.0, 1.0, 1.0), ("c3", "c2"), ["c3", "c2", "c1"]),
    ],
)
def test_goes_past_a_stage_that_cannot_be_made_and_not_past_one_that_loses(toy, make_plan, quality, refused, tried):
    """A share may be less than the smallest part that can go: the next one may still be possible."""
    stages = ("c3", "c2", "c1")
    plan = make_plan((4, 3, 2, 1), quality={4: 1.0} | dict(zip((3, 2, 1), quality, strict=True)))
    steps = [
        replace(
            step,
            stage="search" if step.candidate in stages and step.stage == "make" else step.stage,
            params={**step.params, "do": "refuse"} if step.id in refused else step.params,
        )
        for step in plan.steps
    ]
    steps.sort(key=lambda s: ("prepare", "make", "search", "measure", "judge", "report").index(s.stage))
    grows = dict(zip(stages, ("c4", "c3", "c2"), strict=True))
    candidates = [replace(candidate, grows=grows.get(candidate.id, "")) for candidate in plan.candidates]
    candidates.sort(key=lambda candidate: candidate.id, reverse=True)
    record = toy.run(replace(plan, steps=tuple(steps), candidates=tuple(candidates)))
    status = became(record)
    assert [name for name in stages if status[name] != "not tried"] == tried
    assert {name for name in stages if status[name] == "rejected"} == set(refused)
