"""Quantiles of the error: the metric, bounds by order statistics, comparisons pair by pair, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge, judgement
from titrant.runtime.contract.tasks.quantiles import QuantileClaims
from titrant.runtime.contract.tasks.regression import RegressionAnswers
from titrant.runtime.contract.tasks.scores import CaseScores, compared
from titrant.runtime.values import Rows
from titrant.schema.gate import BROKEN, PERMUTED, Contract, Gate, gate_test


def evidence(original, candidate, units=None, subgroups=None, always_valid=False):
    """Return answers that err by so much from labels of 0 to 100."""
    count = len(original)
    places = np.arange(count)
    labels = np.linspace(0, 100, count)
    units = places if units is None else units
    held = {} if subgroups is None else {"site": subgroups}
    rows = Rows("evaluation", {}, None, units, places.astype(np.uint64), targets=labels, subgroups=held,
                subgroup_values={"site": ("a", "b")} if held else {})  # fmt: skip
    old, new = ((labels + errors)[:, None] for errors in (original, candidate))
    return Evidence(
        rows, None, None, np.ones(count, bool), cases=RegressionAnswers(rows, old, new), always_valid=always_valid
    )


def gate(metric="error_p95", comparison="retention", threshold=0.9, slice_="all"):
    return Gate("g", "gates", metric, slice_, comparison, threshold, gate_test(metric, comparison), "here")


def errors(count, seed=0):
    return np.random.default_rng(seed).gamma(4, 1.0, count)


@pytest.mark.parametrize(("metric", "share"), [("error_p50", 0.5), ("error_p95", 0.95), ("error_p99", 0.99)])
def test_is_the_least_error_that_so_many_cases_do_not_exceed(metric, share):
    old = errors(1003)
    before, after = evidence(old, 2 * old).cases.figures(np.arange(1003))
    assert before[metric] == pytest.approx(np.quantile(old, share), rel=0.02)
    assert (old <= before[metric] + 1e-9).mean() >= share > (old < before[metric] - 1e-9).mean()
    assert after[metric] == pytest.approx(2 * before[metric])


def test_is_bounded_by_the_order_statistics_of_a_table():
    # Of 59 cases the largest bounds the .95 quantile at .95 confidence, and of 58 none does (.95 ** 59 < .05).
    for count, upper in ((59, 59.0), (58, None), (93, 92.0)):
        scores = CaseScores("error_p95", np.ones(count), np.arange(1.0, count + 1), np.arange(count), 0, 1e9)
        assert QuantileClaims(scores, "at_most", 0.95).bounds()[1] == upper


def test_proves_at_most_and_at_least_as_its_bounds_say():
    found = evidence(errors(400), errors(400, 1))
    for comparison in ("at_most", "at_least"):
        result = judge(gate(comparison=comparison, threshold=100.0 if comparison == "at_most" else 0.1), found)
        assert result.verdict == "PASS"
        assert result.lower < result.candidate < result.upper
        assert result.method == "order statistics"
        for bound, better in ((result.upper, 1e-6), (result.lower, -1e-6)):
            passes = "at_most" if bound == result.upper else "at_least"
            asked = (
                judge(gate(comparison=passes, threshold=bound + step), found).verdict for step in (better, -better)
            )
            assert [*asked] == ["PASS", "INCONCLUSIVE"]


def test_compares_the_pairs_where_the_quantiles_alone_prove_nothing():
    old = errors(1000)
    new = old * np.random.default_rng(1).normal(1, 0.01, 1000)
    kept = judge(gate(), evidence(old, new))
    assert kept.verdict == "PASS"
    assert kept.lower < kept.estimate < kept.upper
    # Bounds of both by themselves are much further apart.
    apart = judge(gate(), evidence(old, new, units=np.arange(1000) // 2))
    assert apart.lower < 0.9 < kept.lower
    assert "sign tests of pairs" in kept.method
    assert "half the error each" in apart.method
    assert judge(gate(threshold=0.99), evidence(old, new / 0.9)).verdict == "FAIL"
    assert judge(gate(comparison="rise_at_most", threshold=1.0), evidence(old, new)).verdict == "PASS"
    assert judge(gate(comparison="rise_at_most", threshold=0.5), evidence(old, new + 1)).verdict == "FAIL"


@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 200),
    comparison=st.sampled_from(["retention", "rise_at_most", "at_most"]),
    size=st.integers(1, 4),
)
@settings(max_examples=10)
def test_bounds_lie_around_the_estimate_and_prove_what_they_say(seed, count, comparison, size):
    generator = np.random.default_rng(seed)
    old, new = generator.gamma(2, 1, count).round(1) + 0.1, generator.gamma(2, 1, count).round(1) + 0.1
    scores = CaseScores("error_p50", old, new, np.arange(count) // size, 0, 100)
    claims = QuantileClaims(scores, comparison, 0.95)
    lower, upper = claims.bounds()
    estimate = compared(scores, comparison)
    assert lower is None or lower <= estimate + 1e-9
    assert upper is None or upper >= estimate - 1e-9
    met = lower if comparison == "retention" else upper
    assert met is None or claims.proves(met)


def test_puts_a_gate_to_its_controls():
    old = errors(1000)
    asked = [gate(), gate(comparison="rise_at_most", threshold=0.5)]
    for each in judgement(Contract(tuple(asked), 0.95, "proof"), "c", evidence(old, old * 1.001)).results:
        assert each.verdict == "PASS"
        assert each.refused == (PERMUTED, BROKEN)


def test_compares_subgroups_and_holds_no_bound_in_open_looks():
    old = errors(800)
    sites = np.arange(800) % 2
    ratio = gate("error_p50", "ratio_at_least", 0.7, slice_="subgroup site.b / site.a")
    assert judge(ratio, evidence(old, old, subgroups=sites)).verdict == "PASS"
    assert judge(ratio, evidence(old, old * (1 + sites), subgroups=sites)).verdict == "FAIL"
    result = judge(gate(), evidence(old, old, always_valid=True))
    assert "at any number of looks" in result.reason
    with pytest.raises(ValueError, match="cannot be compared so"):
        gate_test("error_p95", "drop_at_most")
