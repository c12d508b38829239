"""Numbers against numbers: metrics, bounds that hold, and answers that must be refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.case_answers import case_quality, compare_cases_with_constant
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge, judgement
from titrant.runtime.contract.tasks.regression import RegressionAnswers
from titrant.runtime.contract.tasks.scores import CaseClaims, CaseScores, Unassessable, compared
from titrant.runtime.values import Rows
from titrant.schema.gate import BROKEN, PERMUTED, Contract, Gate, gate_test


def rows(labels, units=None, subgroup=None):
    """Return rows with these labels; `subgroup` (rows,) places them among the values a and b."""
    count = len(labels)
    places = np.arange(count)
    named = {} if subgroup is None else {"site": np.asarray(subgroup)}
    values = {} if subgroup is None else {"site": ("a", "b")}
    units = places if units is None else np.asarray(units)
    ids = places.astype(np.uint64)
    targets = np.asarray(labels, np.float64)
    return Rows("evaluation", {}, None, units, ids, subgroups=named, subgroup_values=values, targets=targets)


def evidence(labels, original, candidate, **given_rows):
    made = rows(labels, **given_rows)
    old, new = (np.asarray(values, np.float64).reshape(len(made), -1) for values in (original, candidate))
    cases = RegressionAnswers(made, old, new)
    return Evidence(made, None, None, np.isclose(old, new, rtol=0.01).all(axis=1), cases=cases)


def gate(metric, comparison, threshold, slice_="all", preset="gates"):
    return Gate("g", preset, metric, slice_, comparison, threshold, gate_test(metric, comparison), "here")


@pytest.fixture
def fitted():
    """Labels, and a model that errs by a tenth of their range."""
    generator = np.random.default_rng(3)
    labels = generator.normal(50, 20, 2000)
    return labels, labels + generator.normal(0, 4, 2000)


@pytest.mark.parametrize(
    ("metric", "name"), [("mae", "mean_absolute_error"), ("rmse", "root_mean_squared_error"), ("r2", "r2_score")]
)
def test_metrics_equal_scikit_learn(fitted, metric, name):
    from sklearn import metrics

    reference = getattr(metrics, name)
    labels, answers = fitted
    found = evidence(labels, answers, answers + 1).cases
    before, after = found.figures(np.arange(len(labels)))
    assert before[metric] == pytest.approx(reference(labels, answers), rel=1e-12)
    assert after[metric] == pytest.approx(reference(labels, answers + 1), rel=1e-12)


def test_a_faithful_candidate_passes_and_refuses_what_it_must(fitted):
    labels, answers = fitted
    found = evidence(labels, answers, answers + 1e-4)
    gates = (gate("mae", "retention", 0.9), gate("rmse", "retention", 0.5), gate("r2", "drop_at_most", 0.2))
    judged = judgement(Contract(gates, 0.95, "proof"), "c", found)
    assert [result.verdict for result in judged.results] == ["PASS"] * 3
    assert all(result.refused == (PERMUTED, BROKEN) for result in judged.results)


def test_a_candidate_that_is_worse_fails(fitted):
    labels, answers = fitted
    result = judge(gate("mae", "retention", 0.9), evidence(labels, answers, labels + 2 * (answers - labels)))
    assert result.verdict == "FAIL"
    assert result.estimate == pytest.approx(0.5)


def test_a_gate_that_any_answer_meets_proves_nothing(fitted):
    labels, answers = fitted
    found = evidence(labels, answers, answers)
    (result,) = judgement(Contract((gate("mae", "at_most", 1000.0),), 0.95, "proof"), "c", found).results
    assert result.verdict == "INCONCLUSIVE"
    assert result.let_through


def test_the_best_constant_answer_is_compared_with(fitted):
    labels, _ = fitted
    constant = np.full(len(labels), np.median(labels))
    compared_with = compare_cases_with_constant(evidence(labels, constant, constant).cases)
    assert compared_with.is_no_better
    assert not compare_cases_with_constant(evidence(labels, labels, labels).cases).is_no_better


def test_subgroups_are_compared_by_their_errors(fitted):
    labels, answers = fitted
    place = np.arange(len(labels)) % 2
    worse = np.where(place == 1, labels + 4 * (answers - labels), answers)
    found = evidence(labels, answers, worse, subgroup=place)
    pair = gate("mae", "ratio_at_least", 0.8, "subgroup site.b / site.a", "bias")
    assert judge(pair, found).verdict == "FAIL"
    within = judge(gate("mae", "retention", 0.8, "subgroup site.a", "bias"), found)
    assert within.verdict == "PASS"
    assert judge(gate("mae", "retention", 0.8, "subgroup site.b", "bias"), found).verdict == "FAIL"


def test_a_ratio_of_subgroups_has_half_the_error_for_each(fitted):
    labels, answers = fitted
    place = np.arange(len(labels)) % 2
    made = evidence(labels, answers, answers, subgroup=place)
    result = judge(gate("mae", "ratio_at_least", 0.8, "subgroup site.b / site.a", "bias"), made)
    (low_a, high_a), (low_b, high_b) = (
        CaseClaims(made.cases.scores("mae", np.flatnonzero(place == group)), "at_least", 0.975).bounds()
        for group in (0, 1)
    )
    assert (result.lower, result.upper) == pytest.approx((low_a / high_b, high_a / low_b))


def test_equal_labels_leave_nothing_to_explain():
    found = evidence([3.0] * 20, [3.0] * 20, [3.1] * 20)
    result = judge(gate("r2", "at_least", 0.5), found)
    assert result.verdict == "INCONCLUSIVE"
    assert "all labels are equal" in result.reason


def test_labels_with_several_numbers_err_by_their_mean():
    labels = np.array([[0.0, 0.0], [2.0, 4.0]])
    scores = evidence(labels, labels + np.array([1, 3]), labels).cases.scores("mae", np.arange(2))
    assert scores.original.tolist() == [2.0, 2.0]


def test_what_tuning_rows_say_has_a_bound(fitted):
    labels, answers = fitted
    found = case_quality(evidence(labels, answers, answers + 0.5).cases, 0.95)
    assert found["metric"] == "mae"
    assert found["kept_at_least"] < found["retention"] < 1


def _scores(metric, original, candidate, spread=None):
    units = np.arange(len(original))
    high = float(max(original.max(), candidate.max(), 1e-6))
    return CaseScores(metric, original, candidate, units, 0.0, high, spread=spread)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(5, 200),
    metric=st.sampled_from(["mae", "rmse", "r2"]),
    comparison=st.sampled_from(["at_least", "at_most", "retention", "drop_at_most", "rise_at_most"]),
)
def test_bounds_enclose_the_estimate_and_agree_with_proofs(seed, count, metric, comparison):
    generator = np.random.default_rng(seed)
    errors = generator.exponential(1.0, count)
    scores = _scores(metric, errors, errors * generator.uniform(0.5, 1.5, count), generator.exponential(3.0, count))
    if metric == "rmse" and comparison not in ("at_least", "at_most", "retention"):
        return
    claims, estimate = CaseClaims(scores, comparison, 0.95), compared(scores, comparison)
    lower, upper = claims.bounds()
    assert lower is None or lower <= estimate + 1e-9
    assert upper is None or upper >= estimate - 1e-9
    if comparison in ("at_most", "drop_at_most", "rise_at_most"):
        assert upper is None or claims.proves(upper + 1e-6 * (1 + abs(upper)))
    else:
        assert lower is None or claims.proves(lower - 1e-6 * (1 + abs(lower)))


@pytest.mark.parametrize("count", [50, 400])
def test_a_loss_at_the_threshold_passes_no_more_often_than_allowed(count):
    """At the threshold itself: one case in a hundred errs by the whole range, and the rest not at all differently."""
    generator = np.random.default_rng(11)
    passed, draws, error, share = 0, 400, 0.1, 0.01
    kept = error / (error * (1 - share) + share)
    for _ in range(draws):
        original = np.full(count, error)
        candidate = np.where(generator.random(count) < share, 1.0, error)
        scores = CaseScores("mae", original, candidate, np.arange(count), 0.0, 1.0)
        passed += CaseClaims(scores, "retention", 0.95).proves(kept)
    assert passed / draws <= 0.05 + 1.645 * np.sqrt(0.05 * 0.95 / draws)


def test_a_class_of_numbers_is_none():
    with pytest.raises(Unassessable, match="no classes"):
        evidence([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]).cases.scores("mae", np.arange(2), "ill")


def test_the_harmed_subgroup_is_named(fitted):
    labels, answers = fitted
    place = np.arange(len(labels)) % 2
    found = evidence(labels, answers, np.where(place == 1, labels + 1.5 * (answers - labels), answers), subgroup=place)
    rows_of = tuple(
        replace(gate("mae", "retention", 0.5, f"subgroup site.{name}", "bias"), id=f"bias.{name}") for name in "ab"
    )
    unharmed, harmed = judgement(Contract(rows_of, 0.95, "evidence"), "c", found).results
    assert "harmed" in harmed.reason
    assert "harmed" not in unharmed.reason


def test_what_is_identical_keeps_all(fitted):
    labels, answers = fitted
    result = judge(gate("mae", "retention", 1.0), evidence(labels, answers, answers))
    assert result.verdict == "PASS"
    moved = np.where(np.arange(len(labels)) == 5, answers + 1e-9, answers)
    assert judge(gate("mae", "retention", 1.0), evidence(labels, answers, moved)).verdict == "INCONCLUSIVE"


def test_keeps_no_share_of_what_is_below_nothing(fitted):
    labels, answers = fitted
    far = labels + 3 * (answers - labels)
    narrow = 50 + (labels - 50) / 10  # the labels differ by less than the errors are: r2 is negative
    result = judge(gate("r2", "retention", 0.95), evidence(narrow, narrow + answers - labels, narrow + far - labels))
    assert (result.verdict, result.estimate) == ("INCONCLUSIVE", None)
    assert "and a ratio to it has no meaning" in result.reason
    assert judge(gate("mae", "retention", 0.95), evidence(labels, labels, labels)).estimate == 1.0
