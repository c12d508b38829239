"""Open looks share what may go wrong without an end, and the plan prices them in cases."""

import numpy as np
import pytest

from titrant.runtime.contract.statistics.compared import compare_at_any_time
from titrant.runtime.contract.statistics.two_samples import ratio_log_wealth, sample
from titrant.schema.cases import Assumed, need
from titrant.schema.gate import Gate, gate_test
from titrant.schema.open_looks import STAKES, WEIGHTS, open_need, share_of, shares_up_to, unchanged_cases

CONFIDENCE = 1 - 0.05 * share_of(1)


def gate(metric, comparison, threshold):
    where = "subgroup g.a / g.b" if comparison == "ratio_at_least" else "all"
    return Gate("g", "gates", metric, where, comparison, threshold, gate_test(metric, comparison), "here")


def test_shares_add_up_to_less_than_all_however_many_there_are():
    assert shares_up_to(10**5) < 1
    assert shares_up_to(10**5) > 0.9999
    assert sum(WEIGHTS) == pytest.approx(1)
    assert all(0 < stake <= 1 for stake in STAKES)


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold"),
    [
        ("accuracy", "retention", 0.98), ("accuracy", "drop_at_most", 0.02), ("kept", "at_least", 0.98),
        ("agreement", "at_least", 0.98), ("brier", "rise_at_most", 0.02), ("accuracy", "ratio_at_least", 0.9),
    ],
)  # fmt: skip
def test_costs_more_cases_than_a_planned_look_and_more_for_a_later_model(metric, comparison, threshold):
    asked = gate(metric, comparison, threshold)
    planned, first, fifth = (
        need(asked, confidence=CONFIDENCE).cases,
        open_need(asked, confidence=CONFIDENCE).cases,
        open_need(asked, confidence=1 - 0.05 * share_of(5)).cases,
    )
    assert planned < first < fifth


def test_leaves_alone_what_looks_at_no_rows_and_what_no_number_of_cases_proves():
    timed = Gate("g", "target", "latency_p95", "all", "at_most", 0.01, "order_statistic", "here", "s")
    assert open_need(timed, confidence=0.95) == need(timed, confidence=0.95)
    assert open_need(gate("accuracy", "retention", 1.0), confidence=0.95).cases is None


def test_counts_the_cases_that_prove_a_gate_where_nothing_changes():
    cases = unchanged_cases(0.02, CONFIDENCE)
    right = np.ones(cases)
    assert compare_at_any_time("retention", right, right, np.arange(cases), confidence=CONFIDENCE).proves(0.98)
    fewer = right[1:]
    assert not compare_at_any_time("retention", fewer, fewer, np.arange(cases - 1), confidence=CONFIDENCE).proves(0.98)


@pytest.mark.parametrize(("retention", "change"), [(0.95, 0.005), (0.98, 0.005), (0.98, 0.02)])
def test_gives_the_stated_power(retention, change):
    """400 draws of a faithful candidate; the seed is fixed."""
    cases = open_need(gate("accuracy", "retention", retention), Assumed(change=change), confidence=CONFIDENCE).cases
    rng, passed = np.random.default_rng(2), 0
    for _ in range(400):
        kinds = rng.choice(4, cases, p=[0.9 - change / 2, change / 2, change / 2, 0.1 - change / 2])
        original, candidate = (kinds <= 1).astype(float), np.isin(kinds, (0, 2)).astype(float)
        means = compare_at_any_time("retention", original, candidate, np.arange(cases), confidence=CONFIDENCE)
        passed += means.proves(retention)
    assert abs(passed / 400 - 0.8) <= 0.07


def test_gives_the_stated_power_for_the_ratio_of_groups():
    """200 draws of two groups that are alike; the seed is fixed."""
    cases = open_need(gate("accuracy", "ratio_at_least", 0.85), confidence=CONFIDENCE).cases
    rng, passed = np.random.default_rng(4), 0
    for _ in range(200):
        first, second = (sample(rng.random(cases) < 0.9, np.arange(cases)) for _ in range(2))
        passed += ratio_log_wealth(first, second, 0.85) >= -np.log(1 - CONFIDENCE)
    assert abs(passed / 200 - 0.8) <= 0.1
