"""Net benefit and recalibration: values by their definitions, bounds that hold, and controls that are refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import root  # noqa: TID253 - the independent computation

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.controls import controls
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judgement
from titrant.runtime.contract.measures.judging import judge_every as judge
from titrant.runtime.values import Rows
from titrant.schema.gate import BROKEN, Contract, Gate


def scored(labels, *scores, threshold=0.5, groups=None, positive=1, units=None):
    """Make evidence of probabilities of the second class, of the original and of the candidate."""
    count, values = len(labels), tuple(dict.fromkeys(groups or ()))
    subgroups = {"sex": np.array([values.index(one) for one in groups])} if groups else {}
    rows = Rows(
        "evaluation", {}, np.asarray(labels, np.int64), np.arange(count) if units is None else units,
        np.arange(count, dtype=np.uint64), ("benign", "malignant"), positive, subgroups,
        {"sex": values} if groups else {},
    )  # fmt: skip
    answers = [
        Answers(np.stack([1 - one, one], axis=1), (one >= threshold).astype(np.int64), threshold) for one in scores
    ]
    return Evidence(rows, *answers, answers[0].decisions == answers[1].decisions)


def judged_by(contract, candidate, evidence):
    return judgement(contract, candidate, evidence, judge)


def drawn(cases, seed=0, spread=1.5, groups=None):
    rng = np.random.default_rng(seed)
    places = rng.normal(-0.5, spread, cases)
    labels = (rng.random(cases) < 1 / (1 + np.exp(-places))).astype(np.int64)
    return places, labels


def sigmoid(places):
    return 1 / (1 + np.exp(-np.asarray(places)))


def reference(places, labels, *, slope):
    """Solve the likelihood equations of logistic recalibration with SciPy."""

    def equations(beta):
        rest = labels - sigmoid(beta[0] + (beta[1] if slope else 1.0) * places)
        return [rest.sum(), (rest * places).sum()] if slope else [rest.sum()]

    return root(equations, [0.0, 1.0] if slope else [0.0], tol=1e-14).x[-1]


@pytest.mark.parametrize("metric", ["calibration_slope", "calibration_intercept"])
@pytest.mark.parametrize(("cases", "stretch", "shift"), [(80, 1.0, 0.0), (700, 1.4, 0.3), (5000, 0.6, -1.0)])
def test_recalibration_is_the_maximum_of_the_likelihood(gate, metric, cases, stretch, shift):
    places, labels = drawn(cases)
    moved = stretch * places + shift
    found = judge(gate("recalibration", metric, "at_least", 0.1), scored(labels, sigmoid(places), sigmoid(moved)))
    slope = metric == "calibration_slope"
    assert found.original == pytest.approx(reference(places, labels, slope=slope), abs=1e-9)
    assert found.candidate == pytest.approx(reference(moved, labels, slope=slope), abs=1e-9)


@pytest.mark.parametrize("rows_each", [1, 4, 15])
def test_a_net_benefit_of_patients_with_many_rows_refuses_answers_that_lose_twice_what_it_allows(gate, rows_each):
    places, labels = drawn(6000)
    row = gate("bounded_mean", "net_benefit", "drop_at_most", 0.06)
    units = np.arange(6000) // rows_each
    made = scored(labels, sigmoid(places), sigmoid(places), units=units)
    broken = next(control for control in controls(row, made) if control.name == BROKEN).evidence
    assert judge(row, broken).estimate == pytest.approx(0.12, abs=0.005)
    assert judged_by(Contract((row,), 0.95, "evidence"), "c", made).results[0].verdict == "PASS"


def test_scores_that_are_stretched_have_a_slope_that_is_so_much_smaller(gate):
    places, labels = drawn(4000)
    found = judge(
        gate("recalibration", "calibration_slope", "drop_at_most", 0.2),
        scored(labels, sigmoid(places), sigmoid(1.25 * places)),
    )
    assert found.candidate == pytest.approx(found.original / 1.25, abs=1e-9)
    assert found.estimate == pytest.approx(found.original * 0.2, abs=1e-9)
    assert found.lower < found.estimate < found.upper


@pytest.mark.parametrize(("threshold", "at_most"), [(0.2, 0.05), (0.5, 0.05), (0.75, 0.05)])
def test_net_benefit_is_hits_less_false_alarms_at_the_odds(gate, threshold, at_most):
    places, labels = drawn(600)
    old, new = sigmoid(places), sigmoid(places + 0.4)
    found = judge(
        gate("bounded_mean", "net_benefit", "drop_at_most", at_most), scored(labels, old, new, threshold=threshold)
    )
    for scores, value in ((old, found.original), (new, found.candidate)):
        called = scores >= threshold
        hits, alarms = (called & (labels == 1)).sum(), (called & (labels == 0)).sum()
        assert value == pytest.approx(hits / 600 - alarms / 600 * threshold / (1 - threshold), abs=1e-12)
    assert found.estimate == pytest.approx(found.original - found.candidate, abs=1e-12)


def test_passes_what_is_unchanged_from_enough_cases_on_and_not_below(gate):
    asked = gate("bounded_mean", "net_benefit", "drop_at_most", 0.05)
    for cases, verdict in ((40, "INCONCLUSIVE"), (200, "PASS")):
        places, labels = drawn(cases)
        assert judge(asked, scored(labels, sigmoid(places), sigmoid(places))).verdict == verdict
    slope = gate("recalibration", "calibration_slope", "drop_at_most", 0.2)
    for cases, verdict in ((300, "INCONCLUSIVE"), (3000, "PASS")):
        places, labels = drawn(cases)
        assert judge(slope, scored(labels, sigmoid(places), sigmoid(places))).verdict == verdict


def test_a_smallest_subgroup_that_is_harmed_is_seen_where_all_cases_are_kept(gate):
    places, labels = drawn(4000, spread=4.0)
    groups = ["few" if place % 10 == 0 else "many" for place in range(4000)]
    few = np.array([group == "few" for group in groups])
    evidence = scored(labels, sigmoid(places), sigmoid(np.where(few, places - 8, places)), groups=groups)
    whole = gate("bounded_mean", "net_benefit", "drop_at_most", 0.08)
    assert judge(whole, evidence).verdict == "PASS"
    assert judge(replace(whole, slice="subgroup sex.few"), evidence).verdict == "FAIL"
    low = gate("recalibration", "calibration_intercept", "rise_at_most", 0.5, where="subgroup sex.few")
    assert judge(low, evidence).verdict == "FAIL"


@pytest.mark.parametrize(
    ("metric", "scores", "labels", "says"),
    [
        ("calibration_slope", [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], "no finite calibration slope"),
        ("calibration_slope", [0.1, 0.2, 0.2, 0.9], [0, 0, 1, 1], "no finite calibration slope"),
        ("calibration_slope", [0.3, 0.3, 0.3, 0.3], [0, 1, 0, 1], "no finite calibration slope"),
        ("calibration_intercept", [0.1, 0.2, 0.8, 0.9], [1, 1, 1, 1], "of one kind"),
        ("net_benefit", [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], "not above 0"),
    ],
)
def test_says_why_there_is_no_value(gate, metric, scores, labels, says):
    test, comparison = ("bounded_mean", "retention") if metric == "net_benefit" else ("recalibration", "at_least")
    result = judge(gate(test, metric, comparison, 0.9), scored(labels, *(np.array(scores) for _ in range(2))))
    assert (result.verdict, result.estimate) == ("INCONCLUSIVE", None)
    assert says in result.reason


def test_bounds_no_kept_share_above_one_that_is_below_0(gate):
    """Ratios are refuted from 0 on: of a candidate that does harm nobody knows how far below it is."""
    labels, old = np.array([0, 1] * 60), np.array([0.2, 0.8] * 60)
    answer = judge(gate("bounded_mean", "net_benefit", "retention", 0.0), scored(labels, old, 1 - old, threshold=0.5))
    assert answer.estimate == -1
    assert answer.lower is None
    assert answer.verdict != "PASS"


def test_no_operating_point_no_net_benefit(gate):
    places, labels = drawn(100)
    evidence = scored(labels, sigmoid(places), sigmoid(places))
    asked = gate("bounded_mean", "net_benefit", "drop_at_most", 0.05)
    for threshold, says in ((None, "the largest score decides"), (1.0, "without end")):
        answers = replace(evidence.original, threshold=threshold)
        result = judge(asked, replace(evidence, original=answers, candidate=answers))
        assert result.verdict == "INCONCLUSIVE"
        assert says in result.reason


def test_scores_of_exactly_0_and_1_are_judged(gate):
    places, labels = drawn(2000)
    sure = np.where(places > 4, 1.0, np.where(places < -4, 0.0, sigmoid(places)))
    result = judge(
        gate("recalibration", "calibration_slope", "drop_at_most", 0.2), scored(labels, sigmoid(places), sure)
    )
    assert np.isfinite([result.estimate, result.lower, result.upper]).all()


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold"),
    [
        ("net_benefit", "drop_at_most", 0.05),
        ("net_benefit", "retention", 0.8),
        ("net_benefit", "at_least", 0.05),
        ("calibration_slope", "drop_at_most", 0.3),
        ("calibration_slope", "rise_at_most", 0.3),
        ("calibration_slope", "at_least", 0.7),
        ("calibration_slope", "at_most", 1.4),
        ("calibration_intercept", "at_most", 0.4),
        ("calibration_intercept", "drop_at_most", 0.3),
    ],
)
def test_refuses_its_controls_and_says_so(gate, metric, comparison, threshold):
    test = "bounded_mean" if metric == "net_benefit" else "recalibration"
    places, labels = drawn(6000)
    evidence = scored(labels, sigmoid(places), sigmoid(places))
    asked = gate(test, metric, comparison, threshold)
    # A constant answer is calibrated in the large: another row refuses it.
    kept = replace(gate("score_ratio", "accuracy", "retention", 0.9), id="kept")
    result, _ = judged_by(Contract((asked, kept), 0.95, "proof"), "c", evidence).results
    assert (result.verdict, result.let_through) == ("PASS", "")
    assert result.refused == (("permuted", "broken") if metric == "net_benefit" else ("miscalibrated",))
    for control in controls(asked, evidence):
        assert judge(asked, control.evidence).verdict != "PASS"


def test_a_net_benefit_that_may_lose_every_case_caught_proves_nothing(gate):
    """Two in a hundred are ill: a drop of .05 forbids nothing."""
    rng = np.random.default_rng(0)
    labels = (np.arange(5000) % 50 == 0).astype(np.int64)
    scores = np.where(labels == 1, 0.9, 0.1) + rng.normal(0, 0.01, 5000)
    (result,) = judged_by(
        Contract((gate("bounded_mean", "net_benefit", "drop_at_most", 0.05),), 0.95, "proof"),
        "c",
        scored(labels, scores, scores),
    ).results
    assert result.verdict == "INCONCLUSIVE"
    assert result.let_through


@settings(max_examples=10, deadline=None)
@given(
    drawing=st.tuples(st.integers(60, 200), st.integers(0, 2**20)),
    stretch=st.floats(0.3, 3),
    shift=st.floats(-2, 2),
    threshold=st.floats(0.05, 0.9),
    each=st.integers(1, 4),
)
def test_the_estimate_lies_between_its_bounds(drawing, stretch, shift, threshold, each):
    places, labels = drawn(*drawing)
    scores = sigmoid(places), sigmoid(stretch * places + shift)
    units = np.arange(len(labels)) // each
    for test, metric in (
        ("bounded_mean", "net_benefit"),
        ("recalibration", "calibration_slope"),
        ("recalibration", "calibration_intercept"),
    ):
        asked = Gate("g", "gates", metric, "all", "drop_at_most", 0.1, test, "here")
        found = judge(asked, scored(labels, *scores, threshold=threshold, units=units))
        if found.assessable:
            assert found.lower - 1e-9 <= found.estimate <= found.upper + 1e-9
