"""Of several files that are asked for each is released by its own judgement."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.cli.run import headline
from titrant.runtime.store.placed import forged, still_placed
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.plan import CandidateSearch

spec = importlib.util.spec_from_file_location("toy_worker_here", Path(__file__).parents[1] / "run/test_crash_points.py")
crash = importlib.util.module_from_spec(spec)
sys.modules["toy_worker_here"] = crash
spec.loader.exec_module(crash)

FILES = {"first": ("c1",), "second": ("c2",), "third": ("c1", "c2")}
# Only reads what the fixtures made.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6)


@pytest.fixture
def run(toy, ran, make_plan):
    """Return a function that runs a plan with several files, whose candidates were made for another plan before."""
    ran(make_plan((1, 2)))

    def run_for(files, verdicts, make=None):
        plan = make_plan((1, 2), verdicts=verdicts, make=make)
        searches = tuple(
            CandidateSearch("auto", name, FILES[name], ("latency", "size"), 4, "latency.timings") for name in files
        )
        record = crash.run_here(toy, replace(plan, searches=searches))
        folder = toy.home.runs / record.run
        return record, folder

    return run_for


def put_out(folder, name):
    place = folder / name / "titrant.json"
    if not place.is_file():
        return {}
    return {model["file"]: model["candidate"] for model in json.loads(place.read_text("utf-8"))["models"]}


def test_releases_the_file_that_keeps_the_contract_and_names_the_one_that_does_not(run):
    record, folder = run(("first", "second"), {2: "FAIL"})
    assert (record.exit, record.verdict, record.released, record.withheld) == (5, "FAIL", ("c1",), ("second",))
    assert [*put_out(folder, "outputs").values()] == ["c1"]
    assert put_out(folder, "quarantine") == {}
    assert forged(folder) is None
    assert still_placed(folder, record)


def test_is_done_only_where_every_file_is_released(run):
    record, folder = run(("first", "second"), {})
    assert (record.exit, record.verdict, record.withheld) == (0, "PASS", ())
    assert [*put_out(folder, "outputs").values()] == ["c1", "c2"]


def test_puts_what_was_judged_aside_where_none_is_released(run):
    record, folder = run(("first", "second"), {1: "FAIL", 2: "FAIL"})
    assert (record.exit, record.released, record.withheld) == (5, (), ())
    assert put_out(folder, "outputs") == {}
    assert [*put_out(folder, "quarantine").values()] == ["c1", "c2"]


def test_releases_the_others_where_a_file_cannot_be_made_at_all(run):
    record, folder = run(("first", "second"), {}, {2: {"do": "refuse"}})
    assert (record.exit, record.verdict) == (5, "INCONCLUSIVE")
    assert (record.released, record.withheld, record.unmade) == (("c1",), ("second",), ("second",))
    assert [*put_out(folder, "outputs").values()] == ["c1"]
    assert forged(folder) is None
    said = headline(record)
    assert said.startswith("INCONCLUSIVE: released c1; not released: second, which could not be made")
    assert "contract" not in said
    (second,) = (candidate for candidate in record.candidates if candidate.candidate == "c2")
    assert second.status == "rejected"


def test_fails_only_where_no_file_can_be_made(run):
    with pytest.raises(StepError):
        run(("first", "second"), {}, {1: {"do": "refuse"}, 2: {"do": "refuse"}})


@pytest.mark.parametrize("verdict", ["PASS", "FAIL"])
def test_tells_a_file_that_could_not_be_made_from_one_that_does_not_keep_the_contract(verdict, run):
    record, folder = run(("first", "second"), {1: verdict}, {2: {"do": "refuse"}})
    kept = verdict == "PASS"
    assert record.verdict == ("INCONCLUSIVE" if kept else "FAIL")
    assert record.exit == 5
    assert [*put_out(folder, "outputs" if kept else "quarantine").values()] == ["c1"]


@SHARED
@given(
    files=st.sampled_from([("first", "second"), ("third",), ("third", "first"), ("second", "third", "first")]),
    verdicts=st.fixed_dictionaries({1: st.sampled_from(["PASS", "FAIL"]), 2: st.sampled_from(["PASS", "FAIL"])}),
)
def test_answers_for_each_file_alone(files, verdicts, run):
    record, folder = run(files, verdicts)
    kept = {f"c{level}" for level, verdict in verdicts.items() if verdict == "PASS"}
    gentle_first = {name: next((item for item in reversed(FILES[name]) if item in kept), "") for name in files}
    if "third" in files and verdicts[1] == "FAIL":
        gentle_first["third"] = ""  # judging stops at the first that does not keep the contract
    released = [candidate for candidate in gentle_first.values() if candidate]
    assert list(record.released) == released
    assert record.exit == (0 if len(released) == len(files) else 5)
    assert record.withheld == (tuple(name for name in files if not gentle_first[name]) if released else ())
    assert [*put_out(folder, "outputs").values()] == released
