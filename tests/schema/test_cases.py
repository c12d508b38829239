"""How many cases a gate needs."""

import numpy as np
import pytest
from scipy import stats  # noqa: TID253 - the independent computation

from titrant.compiler.decide.gate_cases import fewest_cases
from titrant.schema.cases import Assumed, asks_nothing, need, runs_for_percentile
from titrant.schema.gate import BATCH_INVARIANCE, BOOTSTRAPPED, NET_BENEFIT, PROPORTIONS, SHARES, Gate, gate_test
from titrant.schema.open_looks import open_need
from titrant.schema.samples.bets import mean_cases
from titrant.schema.samples.binomial import LASTING, binomial_cases, failure_probability, zero_failure_cases
from titrant.schema.samples.paired import retention_cases


def gate(test, metric, comparison, threshold, **more):
    return Gate("g", "gates", metric, "all", comparison, threshold, test, "here", **more)


def test_proves_a_share_without_a_loss_from_149_and_299_cases():
    assert zero_failure_cases(0.98) == 149
    assert zero_failure_cases(0.99) == 299


@pytest.mark.parametrize(("failures", "cases", "rate"), [(0, 20, 0.1), (3, 400, 0.01), (60, 900, 0.05), (5, 5, 0.3)])
def test_sums_the_binomial_as_scipy_does(failures, cases, rate):
    assert failure_probability(failures, cases, rate) == pytest.approx(stats.binom.cdf(failures, cases, rate))


@pytest.mark.parametrize(("truth", "threshold"), [(0.9975, 0.99), (0.95, 0.9), (0.999, 0.98), (1.0, 0.95)])
def test_gives_the_number_from_which_the_asked_power_stays(truth, threshold):
    def power(cases):
        allowed = int(stats.binom.ppf(0.05, cases, 1 - threshold))
        allowed -= stats.binom.cdf(allowed, cases, 1 - threshold) > 0.05
        return stats.binom.cdf(allowed, cases, 1 - truth)

    cases = binomial_cases(truth, threshold)
    assert power(cases) >= 0.8
    assert min(power(more) for more in range(cases, 3 * cases)) >= 0.8 - LASTING
    if truth < 1:
        assert power(cases - 1) < 0.8


def test_knows_that_nothing_proves_what_is_not_so():
    assert binomial_cases(0.9, 0.95) is None
    assert binomial_cases(0.95, 0.95) is None
    assert retention_cases(1.0) is None


def test_answers_large_numbers_at_once():
    cases = binomial_cases(0.9999, 0.9998)
    assert 90_000 < cases < 110_000


@pytest.mark.parametrize(("retention", "change"), [(0.97, 0.005), (0.95, 0.02), (0.99, 0.02), (0.98, 0.04)])
def test_gives_about_the_asked_power_for_retention(retention, change):
    from titrant.runtime.contract.statistics.proportions import Pairs, paired_ratio_lower_bound

    cases = retention_cases(retention, original=0.9, change=change)
    half = change / 2
    drawn = np.random.default_rng(0).multinomial(cases, [0.9 - half, half, half, 0.1 - half], 1500)
    passed = [paired_ratio_lower_bound(Pairs(*map(float, row)), 0.95)[0] >= retention for row in drawn]
    assert np.mean(passed) >= 0.74
    assert cases < 4 * retention_cases(retention, original=0.9, change=change / 4)


def test_bounds_percentiles_from_as_many_runs_as_the_design_says():
    assert [runs_for_percentile(share) for share in (0.5, 0.95, 0.99)] == [5, 59, 299]


def test_gives_the_number_of_unchanged_cases_that_prove_a_small_rise():
    from titrant.runtime.contract.statistics.means import mean_upper_bound

    for margin in (0.01, 0.02, 0.05):
        cases = mean_cases(margin)
        assert mean_upper_bound(np.zeros(cases), np.arange(cases), 0.95) <= margin
        assert mean_upper_bound(np.zeros(cases * 9 // 10), np.arange(cases * 9 // 10), 0.95) > margin


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold", "of", "cases"),
    [
        ("kept", "at_least", 0.99, "positive rows", 1010),
        ("sensitivity", "at_least", 0.99, "positive rows", 2064),
        ("same_decision", "at_least", 0.90, "rows", 29),
        ("accuracy", "retention", 0.97, "rows", 174),
        ("brier", "rise_at_most", 0.02, "rows", 193),
        ("latency_p95", "at_most", 0.01, "blocks of timed runs", 63),
        ("sensitivity", "ratio_at_least", 0.85, "positive rows of each subgroup", 93),
        ("size", "at_most", 1000.0, "", None),
    ],
)
def test_says_what_is_counted_and_under_which_assumption(metric, comparison, threshold, of, cases):
    found = need(gate(gate_test(metric, comparison), metric, comparison, threshold))
    assert (found.of, found.cases) == (of, cases)
    assert found.assumption or metric == "size"


def test_needs_no_fewer_than_min_cases_in_a_subgroup():
    small = gate("group_ratio", "accuracy", "ratio_at_least", 0.5, min_cases=50)
    assert need(small).cases == 50


def test_gives_the_reason_of_a_gate_that_is_not_assessable():
    assert need(gate("not_assessable", "kept", "at_least", 0.9, assumption="no positive class")).assumption


@pytest.mark.parametrize(
    ("metric", "comparison", "test"),
    [
        ("accuracy", "retention", "score_ratio"),
        ("accuracy", "at_least", "exact_binomial"),
        ("sensitivity", "drop_at_most", "paired_difference"),
        ("sensitivity", "ratio_at_least", "group_ratio"),
        ("kept", "at_least", "exact_binomial"),
        ("precision", "at_least", "exact_binomial"),
        ("precision", "retention", "bootstrap"),
        ("auroc", "retention", "delong"),
        ("brier", "rise_at_most", "paired_mean"),
        ("f1", "at_least", "bootstrap"),
        ("latency_p95", "at_most", "order_statistic"),
        ("size", "at_most", "counted"),
    ],
)
def test_names_the_test_for_a_metric_and_comparison(metric, comparison, test):
    assert gate_test(metric, comparison) == test


@pytest.mark.parametrize(
    ("metric", "comparison"),
    [("size", "at_least"), ("agreement", "retention"), ("f1", "ratio_at_least"), ("rmse", "rise_at_most")],
)
def test_refuses_a_comparison_without_meaning(metric, comparison):
    with pytest.raises(ValueError, match=metric):
        gate_test(metric, comparison)


OF_SHARES = [
    (metric, comparison)
    for metric in (*PROPORTIONS, *SHARES, BATCH_INVARIANCE, *BOOTSTRAPPED, "auroc", "brier", NET_BENEFIT)
    for comparison in ("at_least", "at_most", "retention", "drop_at_most", "rise_at_most", "ratio_at_least")
]


@pytest.mark.parametrize("threshold", [0.0, 1e-9, 1 - 1e-9, 1.0])
def test_counts_at_both_ends_of_a_threshold_for_every_metric(threshold):
    counted = 0
    for metric, comparison in OF_SHARES:
        try:
            asked = gate(gate_test(metric, comparison), metric, comparison, threshold)
        except ValueError:
            continue
        counted += 1
        for assumed in (Assumed(), Assumed(rows_a_unit=3.0, rare=0.05, ratio=19.0)):
            requirements = [rule(asked, assumed, confidence=0.95) for rule in (need, open_need)]
            assert all(requirement.cases is None or requirement.cases > 0 for requirement in requirements)
            if asks_nothing(asked):
                assert [requirement.cases for requirement in requirements] == [None, None]
        assert min(fewest_cases(asked, 0.95), fewest_cases(asked, 0.95, always_valid=True)) >= 0
    assert counted >= 40


def test_asks_for_no_cases_where_no_answer_can_miss_the_threshold():
    assert need(gate("score_ratio", "accuracy", "retention", 0.0)).assumption.startswith("no answer can miss")
    assert need(gate("paired_mean", "brier", "rise_at_most", 1.0)).cases is None
