"""A ladder: each rung is released by its own judgement, and the record lists them from fast to exact."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.cli.run import verdict_text
from titrant.runtime.store.run_folder import read_record
from titrant.schema.plan import CandidateSearch

spec = importlib.util.spec_from_file_location("toy_rungs", Path(__file__).parents[1] / "run/test_crash_points.py")
crash = importlib.util.module_from_spec(spec)
sys.modules["toy_rungs"] = crash
spec.loader.exec_module(crash)

RUNGS = {"exact": "c1", "fast": "c2"}
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=4)


@pytest.fixture
def run(toy, ran, make_plan):
    """Return a function that runs a plan with rungs, whose candidates were made for another plan before."""
    ran(make_plan((1, 2)))

    def run_for(verdicts, make=None, names=("exact", "fast")):
        plan = make_plan((1, 2), verdicts=verdicts, make=make)
        searches = tuple(
            CandidateSearch(
                "auto", f"model-{name}", (RUNGS[name],), ("latency", "size"), 4, "latency.timings", rung=name
            )
            for name in names
        )
        record = crash.run_here(toy, replace(plan, searches=searches))
        return record, toy.home.runs / record.run

    return run_for


def test_lists_the_rungs_from_fast_to_exact_with_their_files_and_figures(run):
    record, folder = run({})
    assert [(rung.rung, rung.candidate, rung.released, rung.verdict) for rung in record.ladder] == [
        ("fast", "c2", True, "PASS"), ("exact", "c1", True, "PASS"),
    ]  # fmt: skip
    fast, exact = record.ladder
    assert fast.seconds < exact.seconds
    models = json.loads((folder / "outputs" / "titrant.json").read_text("utf-8"))["models"]
    assert {model["rung"]: model["file"] for model in models} == {rung.rung: rung.file for rung in record.ladder}
    for rung in record.ladder:
        (became,) = (item for item in record.candidates if item.candidate == rung.candidate)
        assert rung.size == became.size
    assert read_record(folder).ladder == record.ladder


def test_says_of_a_rung_that_does_not_keep_the_contract_why_and_releases_the_other(run):
    record, _ = run({2: "FAIL"})
    assert (record.exit, record.released, record.withheld) == (5, ("c1",), ("model-fast",))
    (fast,) = (rung for rung in record.ladder if rung.rung == "fast")
    assert (fast.released, fast.verdict, fast.file) == (False, "FAIL", "")
    assert fast.because
    said = verdict_text(record, None)
    assert f"  rung fast: not released · {fast.because}" in said
    assert "  rung exact: PASS · model-exact" in said


def test_says_of_a_rung_that_cannot_be_made_why(run):
    record, _ = run({}, {2: {"do": "refuse"}})
    (fast,) = (rung for rung in record.ladder if rung.rung == "fast")
    assert (fast.candidate, fast.released, fast.seconds) == ("", False, None)
    (became,) = (item for item in record.candidates if item.candidate == "c2")
    assert fast.because == became.because
    assert record.ladder[-1] == fast  # nothing says where it belongs


def test_has_no_ladder_without_rungs(ran, make_plan):
    assert ran(make_plan((1, 2))).ladder == ()


@SHARED
@given(
    names=st.permutations(["exact", "fast"]),
    verdicts=st.fixed_dictionaries({1: st.sampled_from(["PASS", "FAIL"]), 2: st.sampled_from(["PASS", "FAIL"])}),
)
def test_releases_every_rung_by_its_own_judgement_whatever_their_order(names, verdicts, run):
    record, _ = run(verdicts, names=names)
    kept = {f"c{level}" for level, verdict in verdicts.items() if verdict == "PASS"}
    assert {rung.candidate for rung in record.ladder if rung.released} == kept
    assert record.exit == (0 if len(kept) == 2 else 5)
    assert [rung.rung for rung in record.ladder] == ["fast", "exact"]
