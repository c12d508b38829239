"""What MLPerf publishes, and its offline scenario: rows of the same table, and combinations that mean nothing."""

import importlib.util
from pathlib import Path

import pytest

from titrant.schema.diagnostics.diagnostics import RecipeError

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[2] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

OFFLINE = ("target.latency.scenario=offline", "target.latency.batch=16", "target.throughput=1000")


def lines(decisions, subject):
    return next(line for line in decisions.decisions if line.subject == subject)


def refused(*changes):
    with pytest.raises(RecipeError) as caught:
        case.decided(case.RECIPE, *changes)
    return [each.code for each in caught.value.diagnostics]


@pytest.mark.parametrize(("preset", "share"), [("mlperf_99", 0.99), ("mlperf_99_9", 0.999)])
def test_asks_for_the_share_that_mlperf_publishes_of_the_main_metric(preset, share):
    decisions = case.decided(case.RECIPE, f"validation.preset={preset}")
    (gate,) = [gate for gate in decisions.settled.contract.gates if gate.preset == "retention"]
    assert (gate.metric, gate.comparison, gate.threshold) == ("accuracy", "retention", share)
    assert "--set" in gate.origin
    assert "the 90th percentile of single stream and sets it no limit" in lines(decisions, "validation.preset").because


def test_asks_it_of_answers_without_labels_too():
    (gate,) = [
        gate
        for gate in case.decided(case.UNLABELED, "validation.preset=mlperf_99").settled.contract.gates
        if gate.preset == "retention"
    ]
    assert (gate.metric, gate.threshold) == ("agreement", 0.99)


def test_keeps_what_the_medical_safeguards_ask_beyond_it():
    decisions = case.decided(case.RECIPE, "validation.preset=mlperf_99", "preserve=medical")
    gates = {gate.id: gate.threshold for gate in decisions.settled.contract.gates}
    assert (gates["retention"], gates["safety.kept"]) == (0.99, 0.99)


def test_refuses_a_second_word_on_how_much_is_kept():
    assert refused("validation.preset=mlperf_99", "validation.retention=0.9") == ["R224"]


def test_judges_throughput_over_whole_blocks_of_batches_offline_and_looks_for_it_first():
    decisions = case.decided(case.RECIPE, *OFFLINE)
    (gate,) = [gate for gate in decisions.settled.contract.gates if gate.id == "throughput"]
    assert (gate.metric, gate.comparison, gate.threshold, gate.test) == (
        "throughput", "at_least", 1000, "offline_blocks",
    )  # fmt: skip
    assert decisions.settled.objective.order == ("throughput", "size")
    assert 16 in decisions.settled.profile["batches"]


def test_leaves_a_written_objective_and_a_single_stream_alone():
    written = case.decided(case.RECIPE, *OFFLINE, "search.objective=[size]")
    assert written.settled.objective.order == ("size",)
    single = case.decided(case.RECIPE, "target.throughput=1000")
    (gate,) = [gate for gate in single.settled.contract.gates if gate.id == "throughput"]
    assert gate.test == "order_statistic"
    assert single.settled.objective.order == ("latency", "size")


@pytest.mark.parametrize("percentile", ["p50", "p95", "p99"])
def test_refuses_a_limit_of_the_time_of_one_answer_offline(percentile):
    assert refused(*OFFLINE, f"target.latency.{percentile}=5 ms") == ["R225"]


def test_refuses_offline_without_a_size_of_its_batches():
    assert refused("target.latency.scenario=offline") == ["R226"]
