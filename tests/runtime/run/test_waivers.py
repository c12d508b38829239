"""A waiver lets a gate through until its day, for the gentlest candidate alone, and is never called PASS."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.cli.run import verdict_text
from titrant.runtime.contract.release import waivers
from titrant.runtime.contract.release.waivers import waived_gates, with_waivers
from titrant.runtime.run.replay import JudgedThen, Replay
from titrant.schema.contract.waivers import GateWaiver
from titrant.schema.gate import Contract, Gate, GateResult, Judgement
from titrant.schema.plan import identity
from titrant.schema.release import released_facts

spec = importlib.util.spec_from_file_location("in_process_waivers", Path(__file__).parents[1] / "in_process.py")
in_process = importlib.util.module_from_spec(spec)
sys.modules["in_process_waivers"] = in_process
spec.loader.exec_module(in_process)

WAIVER = GateWaiver("retention", "two rare classes were merged", "J. Doe", "2027-01-31")


@pytest.fixture
def on(monkeypatch):
    def set_day(day):
        monkeypatch.setattr("titrant.runtime.run.stages.today", lambda: day)

    return set_day


@pytest.fixture
def run(toy):
    """Run in this process: what is tested here is what the parent decides."""

    def ran(plan, **given):
        return toy.run(plan, worker=in_process.InProcessWorker(toy.home, toy.folder), **given)

    return ran


@pytest.fixture
def waived_plan(make_plan):
    def made(verdicts, *given_waivers, require="proof", **options):
        plan = make_plan((1, 2), verdicts=verdicts, **options)
        return replace(plan, contract=replace(plan.contract, require=require, waivers=given_waivers or (WAIVER,)))

    return made


def test_releases_what_it_waives_and_says_so_everywhere(run, toy, waived_plan, on):
    on("2027-01-31")
    plan = waived_plan({1: "FAIL"})
    record = run(plan)
    assert (record.verdict, record.exit, record.released, record.judged_on) == ("WAIVED", 0, ("c1",), "2027-01-31")
    (gate,) = record.candidates[0].waived
    assert (gate.gate, gate.verdict, gate.by, gate.until) == ("retention", "FAIL", "J. Doe", "2027-01-31")
    text = verdict_text(record, toy.planned(plan))
    assert "WAIVED: released c1 with waivers: retention (FAIL)" in text
    assert "! WAIVED (FAIL) retention: waived by J. Doe until 2027-01-31" in " ".join(text.split())
    assert "PASS" not in text.split("executed")[0].replace("passes", "")
    facts = released_facts(plan, record, "1")["c1"]
    assert facts["verdict"] == "WAIVED"
    assert facts["waived"] == ["retention FAIL, waived by J. Doe until 2027-01-31: two rare classes were merged"]
    (told,) = [event["text"] for event in toy.events if event.get("waived")]
    assert told.startswith("c1 is released although retention answers FAIL: waived by J. Doe until 2027-01-31: two")
    stored = json.loads((toy.home.runs / record.run / "record.json").read_text("utf-8"))
    assert stored["judged_on"] == "2027-01-31"


def test_blocks_again_on_the_day_after_and_tells(run, toy, waived_plan, on):
    on("2027-01-31")
    plan = waived_plan({1: "FAIL"})
    assert run(plan).exit == 0
    on("2027-02-01")
    record = run(plan)
    assert (record.verdict, record.exit, record.released) == ("FAIL", 5, ())
    assert "retention blocks c1 again: the waiver by J. Doe ended with 2027-01-31" in [
        event.get("text") for event in toy.events
    ]
    said = " ".join(verdict_text(record, toy.planned(plan)).split())
    assert "retention blocks it: the waiver by J. Doe ended with 2027-01-31" in said


def test_replays_the_day_of_the_run_that_is_repeated(run, waived_plan, on):
    on("2027-02-01")
    plan = waived_plan({1: "FAIL"})
    assert run(plan, replay=Replay(judging=JudgedThen(day="2027-01-31"))).verdict == "WAIVED"


def test_goes_on_to_nothing_more_aggressive_than_what_is_waived(run, waived_plan, on):
    on("2026-12-01")
    record = run(waived_plan({1: "FAIL", 2: "FAIL"}))
    assert record.released == ("c1",)
    assert record.candidates[1].judgement is None


def test_waives_nothing_where_a_gentler_candidate_passes(run, waived_plan, on):
    on("2026-12-01")
    record = run(waived_plan({2: "FAIL"}))
    assert (record.verdict, record.released) == ("PASS", ("c1",))
    assert not any(candidate.waived for candidate in record.candidates)


def test_tells_that_a_gate_passes_which_is_waived(run, toy, waived_plan, on):
    on("2026-12-01")
    plan = waived_plan({})
    record = run(plan)
    assert record.verdict == "PASS"
    assert "the gate retention passes: the waiver by J. Doe is not needed" in " ".join(
        verdict_text(record, toy.planned(plan)).split()
    )


def test_reads_no_clock_without_a_waiver_and_changes_no_plan(run, make_plan, monkeypatch):
    def clock():
        raise AssertionError("the day was asked for")

    monkeypatch.setattr("titrant.runtime.run.stages.today", clock)
    plan = make_plan((1,))
    assert run(plan).judged_on == ""
    assert "waivers" not in identity(plan)["contract"]


def test_takes_the_day_by_utc():
    assert len(waivers.today()) == len("2027-01-31")


GATES = (
    Gate("retention", "retention", "accuracy", "all", "retention", 0.95, "score_ratio", "here"),
    Gate("size", "target", "size", "all", "at_most", 10.0, "counted", "here", "B"),
    Gate("executed", "executed", "layers_as_planned", "all", "at_least", 1.0, "read_back", "here"),
    Gate("reference", "reference", "accuracy", "all", "at_least", 0.5, "exact_binomial", "here"),
    Gate("baseline", "baseline", "accuracy", "all", "at_least", 0.5, "exact_binomial", "here"),
)
ANSWERS = st.sampled_from(("PASS", "FAIL", "INCONCLUSIVE"))


@given(
    answers=st.lists(ANSWERS, min_size=5, max_size=5),
    waived=st.sets(st.sampled_from([gate.id for gate in GATES])),
    controls=st.lists(st.booleans(), min_size=5, max_size=5),
    day=st.sampled_from(("2026-12-31", "2027-01-31", "2027-02-01", "2028-01-01")),
    require=st.sampled_from(("proof", "evidence")),
)
def test_releases_only_where_every_blocking_gate_is_waived_in_time_and_may_be(answers, waived, controls, day, require):
    told = ["x" if let and answer != "PASS" else "" for answer, let in zip(answers, controls, strict=True)]
    results = tuple(
        GateResult(gate.id, answer, 0.0, 0, 0, None, None, 9, 0, None, "", "", let_through=words)
        for gate, answer, words in zip(GATES, answers, told, strict=True)
    )
    contract = Contract(GATES, 0.95, require, waivers=tuple(replace(WAIVER, gate=gate) for gate in sorted(waived)))
    judged = with_waivers(contract, Judgement("c", "FAIL", False, False, results), day)
    open_gates = [result for result in results if result.verdict != "PASS"]
    # The size of 0 bytes meets its limit: under evidence it is let through without proof.
    free = {"size"} if require == "evidence" else set()
    blocking = [
        result
        for result in open_gates
        if not (result.gate in free and result.verdict == "INCONCLUSIVE" and not result.let_through)
    ]
    may = bool(blocking) and all(
        result.gate in waived & {"retention", "size"} and not result.let_through and day <= "2027-01-31"
        for result in blocking
    )
    assert judged.released == may
    assert not judged.proven
    assert judged.results == results
    assert {gate.gate for gate in waived_gates(contract, judged, day)} == {r.gate for r in blocking if may}
