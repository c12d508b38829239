"""In open looks gates on answers are judged by bets that hold however often rows are added and judged."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.judge import judge
from titrant.runtime.contract.statistics.compared import compare_at_any_time
from titrant.schema.open_looks import share_of

CASES = [
    ("score_ratio", "accuracy", "retention", 0.97),
    ("paired_difference", "accuracy", "drop_at_most", 0.03),
    ("exact_binomial", "kept", "at_least", 0.95),
    ("exact_binomial", "agreement", "at_least", 0.97),
    ("exact_binomial", "accuracy", "at_least", 0.85),
    ("exact_binomial", "precision", "at_least", 0.8),
    ("paired_mean", "brier", "rise_at_most", 0.03),
    ("paired_mean", "brier", "at_most", 0.3),
    ("two_proportions", "balanced_accuracy", "at_least", 0.8),
    ("group_ratio", "accuracy", "ratio_at_least", 0.8),
]
CONFIDENCE = 1 - 0.05 * share_of(1)


def drawn(evidence, count, seed=0, changed=0.005, **given):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    original = np.where(rng.random(count) < 0.9, labels, 1 - labels)
    candidate = np.where(rng.random(count) < changed, 1 - original, original)
    groups = ["F" if one else "M" for one in rng.integers(0, 2, count)]
    return evidence(
        labels, original, candidate, groups=groups, confidence=CONFIDENCE, always_valid=True, seed=seed, **given
    )


def gate_of(gate, case):
    test, metric, comparison, threshold = case
    where = "subgroup sex.F / sex.M" if comparison == "ratio_at_least" else "all"
    return gate(test, metric, comparison, threshold, where=where)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]} {case[2]}")
def test_gives_a_p_value_that_passes_just_where_the_bound_meets_the_threshold(evidence, gate, case):
    for count, changed in ((60, 0.0), (300, 0.01), (800, 0.06)):
        result = judge(gate_of(gate, case), drawn(evidence, count, changed=changed))
        assert 0 <= result.p_value <= 1
        assert (result.verdict == "PASS") == (result.p_value <= 1 - CONFIDENCE)
        assert result.lower <= result.estimate <= result.upper
    assert judge(gate_of(gate, case), drawn(evidence, 3000)).verdict == "PASS"


@pytest.mark.parametrize(
    ("test", "metric"), [("delong", "auroc"), ("bootstrap", "f1"), ("bootstrap", "balanced_accuracy")]
)
def test_judges_no_gate_by_a_bound_that_holds_for_planned_looks_only(evidence, gate, test, metric):
    result = judge(gate(test, metric, "retention", 0.9), drawn(evidence, 3000, changed=0.0))
    assert (result.verdict, result.p_value) == ("INCONCLUSIVE", None)
    assert "no bound of it holds at any number of looks" in result.reason


def test_judges_size_as_ever(evidence, gate):
    found = replace(drawn(evidence, 100), size=900)
    assert judge(gate("counted", "size", "at_most", 1000.0, preset="target", unit="B"), found).verdict == "PASS"


def test_gives_no_p_value_where_looks_are_planned(evidence, gate):
    found = replace(drawn(evidence, 500), always_valid=False)
    assert all(judge(gate_of(gate, case), found).p_value is None for case in CASES)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=40), st.integers(0, 10**6))
def test_wins_what_rows_win_whatever_their_order(outcomes, seed):
    outcomes = np.array([*outcomes, 2])
    orders = np.arange(len(outcomes)), np.random.default_rng(seed).permutation(len(outcomes))
    first, second = (
        compare_at_any_time("retention", one > 0, one > 1, np.arange(len(one)), confidence=0.95).log_wealth(0.9)
        for one in (outcomes[order] for order in orders)
    )
    assert first == pytest.approx(second)


@pytest.mark.parametrize(
    ("comparison", "threshold", "lost"),
    [("retention", 0.97, 0.03), ("drop_at_most", 0.03, 0.03 / 0.9), ("at_least", 0.85, 0.15)],
)
def test_passes_at_the_margin_in_one_of_twenty_growing_sets_at_most(comparison, threshold, lost):
    """Twenty looks at the same candidate, with rows added each time; the seed is fixed."""
    rng, runs, most, wrong = np.random.default_rng(11), 200, 1000, 0
    for _ in range(runs):
        original = rng.random(most) < (1.0 if comparison == "at_least" else 0.9)
        candidate = original & (rng.random(most) >= lost)
        wrong += any(
            compare_at_any_time(
                comparison, original[:count], candidate[:count], np.arange(count), confidence=0.95
            ).proves(threshold)
            for count in range(50, most + 1, 50)
        )
    assert wrong <= 0.05 * runs + 3 * (0.05 * 0.95 * runs) ** 0.5


@pytest.mark.parametrize("sizes", [[7], [400]], ids=["one unit", "one unit of many rows"])
@pytest.mark.parametrize("always_valid", [False, True])
def test_proves_nothing_by_a_unit_column_with_one_value(evidence, gate, sizes, always_valid):
    (count,) = sizes
    labels = np.arange(count) % 2
    found = evidence(
        labels, labels, labels, units=np.zeros(count, int), confidence=CONFIDENCE, always_valid=always_valid
    )
    for case in CASES[:3]:
        result = judge(gate_of(gate, case), found)
        assert (result.verdict, result.units) == ("INCONCLUSIVE", 1)
