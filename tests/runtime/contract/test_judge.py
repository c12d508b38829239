"""The gates engine: PASS, FAIL and INCONCLUSIVE as design.md §5 says."""

import math
from dataclasses import replace

import numpy as np
import pytest

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.judge import TESTS, conclude, judge, judgement
from titrant.schema.gate import Contract, GateResult, gate_test, reason_words
from titrant.schema.values.canonical import plain


def flip(decisions, *places):
    changed = np.array(decisions)
    changed[list(places)] = 1 - changed[list(places)]
    return changed


LABELS = np.array([1] * 63 + [0] * 108)


def test_says_how_many_cases_would_prove_what_63_cases_without_a_loss_cannot(evidence, gate):
    kept = gate("exact_binomial", "kept", "at_least", 0.99, where="class malignant", preset="safety")
    result = judge(kept, evidence(LABELS, LABELS, LABELS))
    assert result.verdict == "INCONCLUSIVE"
    assert (result.cases, result.changed, result.needed_cases) == (63, 0, 299)
    assert result.lower == pytest.approx(0.05 ** (1 / 63))
    assert result.reason == (
        "0 of 63 malignant cases that the original caught lost; the bound at 0.95 confidence is 0.9536, "
        "and at least 0.99 is needed: 299 cases with no loss would prove it"
    )


def test_passes_what_is_proven(evidence, gate):
    result = judge(gate("score_ratio", "accuracy", "retention", 0.97), evidence(LABELS, LABELS, LABELS))
    assert (result.verdict, result.needed_cases) == ("PASS", None)
    assert result.lower >= 0.97
    assert "0 lost and 0 gained of 171 cases" in result.reason


def test_holds_what_was_trained_against_the_original_after_the_same_training(evidence, gate):
    """It is better than the original as given, which was wrong in 30 cases, and worse than the fine-tuned one."""
    kept = gate("score_ratio", "accuracy", "retention", 0.97, preset="retention")
    beside = replace(gate("score_ratio", "accuracy", "retention", 0.97, preset="fine_tuned"), id="beside")
    given, candidate = flip(LABELS, *range(30)), flip(LABELS, *range(20))
    contract = Contract((kept, beside), 0.95, "evidence")
    trained = evidence(LABELS, LABELS, candidate)
    judged = judgement(contract, "c", evidence(LABELS, given, candidate, fine_tuned=trained))
    assert [result.verdict for result in judged.results] == ["PASS", "FAIL"]
    assert (judged.results[1].original, judged.results[1].refused) == (1.0, ())
    assert not judged.released
    unanswered = judgement(contract, "c", evidence(LABELS, given, candidate))
    assert [result.verdict for result in unanswered.results] == ["PASS", "INCONCLUSIVE"]
    assert not unanswered.released


def test_fails_only_what_is_proven_to_miss(evidence, gate):
    retention = gate("score_ratio", "accuracy", "retention", 0.97)
    some = judge(retention, evidence(LABELS, LABELS, flip(LABELS, *range(9))))
    many = judge(retention, evidence(LABELS, LABELS, flip(LABELS, *range(30))))
    assert (some.verdict, some.needed_cases) == ("INCONCLUSIVE", None)
    assert "the estimate itself does not reach it" in some.reason
    assert many.verdict == "FAIL"
    assert many.upper < 0.97
    assert "even the favourable bound" in many.reason


def test_gives_the_needed_cases_at_which_the_same_shares_pass(evidence, gate):
    retention = gate("score_ratio", "accuracy", "retention", 0.97)
    result = judge(retention, evidence(LABELS, LABELS, flip(LABELS, 0, 1, 100)))
    assert result.verdict == "INCONCLUSIVE"
    assert result.estimate > 0.97
    times = math.ceil(result.needed_cases / 171)
    more = judge(
        retention, evidence(np.tile(LABELS, times), np.tile(LABELS, times), np.tile(flip(LABELS, 0, 1, 100), times))
    )
    assert more.verdict == "PASS"


def test_counts_only_critical_cases_that_the_original_caught(evidence, gate):
    original, candidate = flip(LABELS, 0, 1), flip(LABELS, 0, 5)
    result = judge(
        gate("exact_binomial", "kept", "at_least", 0.9, where="class malignant"), evidence(LABELS, original, candidate)
    )
    assert (result.cases, result.changed) == (61, 1)
    assert result.estimate == pytest.approx(60 / 61)


def test_bounds_the_absolute_sensitivity(evidence, gate):
    result = judge(
        gate("exact_binomial", "sensitivity", "at_least", 0.8, where="class malignant"),
        evidence(LABELS, flip(LABELS, 0), flip(LABELS, 0, 1)),
    )
    assert (result.verdict, result.cases) == ("PASS", 63)
    assert result.original == pytest.approx(62 / 63)
    assert result.candidate == result.estimate == pytest.approx(61 / 63)


def test_compares_decisions_with_the_original_and_not_with_the_truth(evidence, gate):
    wrong = flip(LABELS, *range(40))
    result = judge(gate("exact_binomial", "same_decision", "at_least", 0.9), evidence(LABELS, wrong, wrong))
    assert (result.verdict, result.estimate) == ("PASS", 1.0)


def test_judges_the_original_by_a_baseline_gate(evidence, gate):
    base = gate("exact_binomial", "accuracy", "at_least", 0.9, preset="baseline")
    assert judge(base, evidence(LABELS, LABELS, flip(LABELS, *range(90)))).verdict == "PASS"
    assert judge(base, evidence(LABELS, flip(LABELS, *range(90)), LABELS)).verdict == "FAIL"


def test_judges_a_class_of_many(evidence, gate):
    labels = np.repeat([0, 1, 2], 100)
    candidate = labels.copy()
    candidate[100:140] = 0
    found = evidence(labels, labels, candidate, classes=("a", "b", "c"), positive=None)
    for metric in ("accuracy", "sensitivity"):
        retention = gate("score_ratio", metric, "retention", 0.95, where="class b")
        assert judge(retention, found).verdict == "FAIL"
        assert judge(replace(retention, slice="class c"), found).verdict == "PASS"
    assert judge(gate("score_ratio", "sensitivity", "retention", 0.95), found).verdict == "INCONCLUSIVE"


def test_leaves_a_group_under_min_cases_open(evidence, gate):
    groups = ["f"] * 130 + ["m"] * 41
    bias = gate("group_ratio", "accuracy", "ratio_at_least", 0.8, where="subgroup sex.f / sex.m", min_cases=50)
    result = judge(bias, evidence(LABELS, LABELS, LABELS, groups=groups))
    assert (result.verdict, result.cases, result.needed_cases) == ("INCONCLUSIVE", 41, 50)
    assert result.estimate == 1.0
    assert "at least 50 are needed" in result.reason


def test_names_no_number_of_cases_where_the_shares_that_were_seen_never_prove_it(evidence, gate):
    labels = np.ones(300, int)
    groups = ["f"] * 270 + ["m"] * 30
    bias = gate("group_ratio", "sensitivity", "ratio_at_least", 0.8, where="subgroup sex.m / sex.f", min_cases=50)
    missed = flip(labels, *range(270, 280))
    found = evidence(labels, labels, missed, groups=groups)  # 20 of 30 against 270 of 270: a ratio of 0.67
    assert judge(bias, found).needed_cases is None
    close = evidence(labels, labels, flip(labels, *range(270, 275)), groups=groups)  # 25 of 30: a ratio of 0.83
    assert judge(bias, close).needed_cases > 500


def test_holds_against_each_other_subgroups_whose_names_have_slashes(evidence, gate):
    found = evidence(LABELS, LABELS, LABELS, groups=["f / x"] * 130 + ["m"] * 41)
    bias = gate("group_ratio", "accuracy", "ratio_at_least", 0.8, where="subgroup sex.f / x / sex.m")
    assert judge(bias, found).estimate == 1.0
    alone = judge(replace(bias, slice="subgroup sex.f / x"), found)
    assert (alone.assessable, alone.reason) == (False, "it compares two values of a subgroup, and names no two")
    both = judge(replace(bias, test="score_ratio"), found)
    assert (both.assessable, both.reason) == (False, "it names two values of a subgroup, and its test looks at one")


def test_counts_min_cases_in_patients_and_not_in_rows(evidence, gate):
    paired = gate("score_ratio", "accuracy", "retention", 0.8, where="subgroup sex.f", min_cases=50)
    groups, units = ["f"] * 171, np.arange(171) // 4
    assert judge(paired, evidence(LABELS, LABELS, LABELS, groups=groups)).verdict == "PASS"
    result = judge(paired, evidence(LABELS, LABELS, LABELS, groups=groups, units=units))
    assert (result.verdict, result.cases, result.needed_cases) == ("INCONCLUSIVE", 171, 50)
    assert "43 cases, and at least 50 are needed" in result.reason


@pytest.mark.parametrize(
    ("test", "metric"),
    [("paired_mean", "brier"), ("delong", "auroc"), ("bootstrap", "f1"), ("score_ratio", "accuracy")],
)
def test_counts_min_cases_in_patients_for_every_test(evidence, gate, test, metric):
    units, labels = np.arange(684) // 4, np.repeat(LABELS, 4)
    found = evidence(labels, labels, flip(labels, *range(0, 684, 9)), units=units)
    comparison = "rise_at_most" if metric == "brier" else "retention"
    asked = gate(test, metric, comparison, 0.5)
    assert judge(replace(asked, min_cases=171), found).verdict == "PASS"
    few = judge(replace(asked, min_cases=172), found)
    assert (few.verdict, few.needed_cases) == ("INCONCLUSIVE", 172)
    assert "171 cases, and at least 172 are needed" in few.reason


def test_compares_subgroups_in_both_orders(evidence, gate):
    labels = np.ones(400, int)
    candidate = flip(labels, *range(200, 250))
    found = evidence(labels, labels, candidate, groups=["f"] * 200 + ["m"] * 200)
    ratio = gate("group_ratio", "sensitivity", "ratio_at_least", 0.85, where="subgroup sex.m / sex.f", min_cases=50)
    assert judge(ratio, found).verdict == "FAIL"
    assert judge(replace(ratio, slice="subgroup sex.f / sex.m"), found).verdict == "PASS"


def test_passes_a_brier_score_that_only_rounding_moved(evidence, gate):
    found = evidence(LABELS, LABELS, LABELS)
    noise = np.random.default_rng(0).normal(0, 1e-7, len(LABELS))
    moved = found.candidate.probabilities + np.stack([noise, -noise], axis=1)
    found = replace(found, candidate=Answers(moved, found.candidate.decisions))
    calibration = gate("paired_mean", "brier", "rise_at_most", 0.02)
    assert judge(calibration, found).verdict == "PASS"
    assert judge(calibration, found).changed == 0
    small = judge(replace(calibration, threshold=0.005), found)
    assert small.verdict == "INCONCLUSIVE"
    assert 600 < small.needed_cases < 700


def test_fails_a_brier_score_that_rose(evidence, gate):
    result = judge(
        gate("paired_mean", "brier", "rise_at_most", 0.02), evidence(LABELS, LABELS, flip(LABELS, *range(40)))
    )
    assert result.verdict == "FAIL"
    assert result.estimate == pytest.approx(40 / 171 * 0.8)


@pytest.mark.parametrize("metric", ["accuracy", "brier", "f1", "auroc", "precision", "balanced_accuracy"])
@pytest.mark.parametrize("comparison", ["at_least", "at_most", "retention", "drop_at_most", "rise_at_most"])
def test_answers_every_free_gate_with_ordered_bounds(evidence, gate, metric, comparison):
    generator = np.random.default_rng(5)
    labels = np.tile(LABELS, 3)
    original = flip(labels, *generator.choice(len(labels), 60, replace=False))
    candidate = flip(original, *generator.choice(len(labels), 40, replace=False))
    found = evidence(labels, original, candidate)
    noisy = [
        Answers(np.abs(answers.probabilities - generator.random((len(labels), 1)) * 0.3), answers.decisions)
        for answers in (found.original, found.candidate)
    ]
    found = replace(found, original=noisy[0], candidate=noisy[1])
    threshold = {"at_least": 0.5, "at_most": 0.95, "retention": 0.7}.get(comparison, 0.3)
    if metric == "brier":
        threshold = {"at_least": 0.01, "at_most": 0.5, "retention": 0.5}.get(comparison, 0.3)
    result = judge(gate(gate_test(metric, comparison), metric, comparison, threshold), found)
    assert result.lower <= result.estimate <= result.upper
    assert result.verdict == "PASS", result.reason
    plain(result)


def test_resamples_only_where_each_class_has_20_changed_cases(evidence, gate):
    labels = np.tile(LABELS, 4)
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    f1 = gate("bootstrap", "f1", "retention", 0.9)
    seen = judge(f1, evidence(labels, labels, flip(labels, *positive[:20], *negative[:20])))
    assert (seen.changed, "bootstrap" in seen.method) == (40, True)
    # As many changes, of which one class has 19.
    unseen = judge(f1, evidence(labels, labels, flip(labels, *positive[:19], *negative[:21])))
    assert (unseen.changed, "betting" in unseen.method) == (40, True)
    assert unseen.lower < seen.lower < seen.estimate


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold"),
    [
        ("f1", "retention", 0.95), ("precision", "drop_at_most", 0.06), ("balanced_accuracy", "retention", 0.95),
        ("auroc", "drop_at_most", 0.05), ("auroc", "retention", 0.95), ("f1", "at_least", 0.95),
    ],
)  # fmt: skip
def test_proves_from_what_could_differ_where_nothing_changed(evidence, gate, metric, comparison, threshold):
    asked = gate(gate_test(metric, comparison), metric, comparison, threshold)
    assert judge(asked, evidence(LABELS, LABELS, LABELS)).verdict == "PASS"
    few = LABELS[::4]
    assert judge(asked, evidence(few, few, few)).verdict == "INCONCLUSIVE"


def test_leaves_auroc_open_under_30_cases_of_a_class(evidence, gate):
    few = LABELS[40:]
    assert "at least 30" in judge(gate("delong", "auroc", "drop_at_most", 0.2), evidence(few, few, flip(few, 1))).reason


def test_judges_agreement_without_labels(evidence, gate):
    found = evidence(LABELS, LABELS, LABELS)
    unlabeled = replace(found, rows=replace(found.rows, labels=None), original=None, candidate=None)
    agreement = gate("exact_binomial", "agreement", "at_least", 0.95)
    assert judge(agreement, unlabeled).verdict == "PASS"
    assert judge(gate("score_ratio", "accuracy", "retention", 0.9), unlabeled).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize("test", [*TESTS, "unheard_of"])
def test_never_passes_what_it_cannot_compute(evidence, gate, test):
    metric = {"paired_mean": "brier", "delong": "auroc", "bootstrap": "f1", "order_statistic": "latency_p50"}.get(
        test, "accuracy"
    )
    broken = evidence(LABELS, LABELS, LABELS)
    broken = replace(broken, candidate=Answers(np.full((171, 2), np.nan), LABELS))
    result = judge(gate(test, metric, "at_least", 0.0), broken)
    assert (result.verdict, result.lower) == ("INCONCLUSIVE", None)
    assert not result.assessable
    assert reason_words(result).startswith("not assessable: ")


@pytest.mark.parametrize("where", ["class unheard", "subgroup sex.x", "subgroup age.1"])
def test_leaves_a_slice_open_that_is_not_there(evidence, gate, where):
    result = judge(
        gate("score_ratio", "accuracy", "retention", 0.5, where=where),
        evidence(LABELS, LABELS, LABELS, groups=["f"] * 171),
    )
    assert result.verdict == "INCONCLUSIVE"
    assert "there is no" in result.reason


def test_takes_rows_of_one_patient_for_one_case(evidence, gate):
    labels = np.tile(LABELS, 5)
    retention = gate("score_ratio", "accuracy", "retention", 0.99)
    alone = judge(retention, evidence(labels, labels, labels))
    together = judge(retention, evidence(labels, labels, labels, units=np.tile(np.arange(171), 5)))
    assert (alone.verdict, together.verdict) == ("PASS", "INCONCLUSIVE")
    # Bets cost log(1 / .8) more than the exact bound of 171 cases without a loss.
    exact = judge(retention, evidence(LABELS, LABELS, LABELS)).lower
    assert exact - 1.5e-3 < together.lower < exact


def test_gives_the_gates_reason_when_its_facts_are_missing(evidence, gate):
    missing = gate("not_assessable", "kept", "at_least", 0.99, assumption="data.positive names no critical class")
    result = judge(missing, evidence(LABELS, LABELS, LABELS))
    why = "data.positive names no critical class"
    assert (result.verdict, result.reason, result.assessable) == ("INCONCLUSIVE", why, False)
    assert reason_words(result) == f"not assessable: {why}"


def result_of(verdict, estimate=0.99, name="g"):
    return GateResult(name, verdict, estimate, None, None, None, None, 10, 0, None, "", "")


@pytest.mark.parametrize(
    ("require", "verdict", "estimate", "released", "proven"),
    [
        ("proof", "PASS", 0.99, True, True),
        ("proof", "INCONCLUSIVE", 0.99, False, False),
        ("evidence", "INCONCLUSIVE", 0.99, True, False),
        ("evidence", "INCONCLUSIVE", 0.5, False, False),
        ("evidence", "INCONCLUSIVE", None, False, False),
        ("evidence", "FAIL", 0.99, False, False),
    ],
)
def test_releases_what_is_proven_or_where_asked_what_is_likely(gate, require, verdict, estimate, released, proven):  # noqa: PLR0917
    rows = (
        gate("score_ratio", "accuracy", "retention", 0.95),
        replace(gate("counted", "size", "at_most", 1.0), id="h"),
    )
    contract = Contract(rows, 0.95, require)
    found = conclude(contract, "c", (result_of(verdict, estimate), result_of("PASS", 0.5, "h")))
    assert (found.verdict, found.released, found.proven) == (verdict, released, proven)


@pytest.mark.parametrize(
    "origin", ["recipes/x.yaml:12:3", "level.yaml:12:3", "level x.yaml:12:3", "preserve: medical", ""]
)
def test_releases_nothing_while_a_gate_that_the_recipe_asks_for_cannot_be_assessed(evidence, gate, origin):
    rows = (replace(gate("not_assessable", "kept", "at_least", 0.99, assumption="no row"), origin=origin),)
    found = judgement(Contract(rows, 0.95, "evidence"), "c", evidence(LABELS, LABELS, LABELS))
    assert (found.verdict, found.released) == ("INCONCLUSIVE", False)


def test_lets_through_what_the_level_asks_for_and_is_not_assessable_under_evidence_only(evidence, gate):
    open_row = gate("not_assessable", "kept", "at_least", 0.99, assumption="no positive class")
    rows = (replace(open_row, origin="level balanced"),)
    for require, released in (("evidence", True), ("proof", False)):
        found = judgement(Contract(rows, 0.95, require), "c", evidence(LABELS, LABELS, LABELS))
        assert (found.verdict, found.released, found.proven) == ("INCONCLUSIVE", released, False)


def test_takes_the_worst_gate_for_the_verdict(gate):
    rows = tuple(replace(gate("score_ratio", "accuracy", "retention", 0.9), id=name) for name in "abc")
    results = (result_of("PASS", 1, "a"), result_of("FAIL", 0.1, "b"), result_of("INCONCLUSIVE", 0.95, "c"))
    assert conclude(Contract(rows, 0.95, "evidence"), "c", results).verdict == "FAIL"


def test_proves_nothing_by_a_contract_without_gates():
    for require, released in (("evidence", True), ("proof", False)):
        found = conclude(Contract((), 0.95, require), "c", ())
        assert (found.verdict, found.proven, found.released) == ("INCONCLUSIVE", False, released)


def test_names_a_harmed_subgroup_after_holms_correction(evidence, gate):
    labels = np.ones(400, int)
    candidate = flip(labels, *range(200, 212))
    found = evidence(labels, labels, candidate, groups=["f"] * 200 + ["m"] * 200)
    rows = tuple(
        replace(
            gate("score_ratio", "sensitivity", "retention", 0.85, where=f"subgroup sex.{one}", preset="bias"), id=one
        )
        for one in "fm"
    )
    women, men = judgement(Contract(rows, 0.95, "proof"), "c", found).results
    assert "harmed" not in women.reason
    assert "this subgroup is harmed (sign test, p = 0.00049 after Holm's correction for 2 subgroups)" in men.reason


def test_gives_the_same_answer_twice(evidence, gate):
    labels = np.tile(LABELS, 2)
    found = evidence(labels, labels, flip(labels, *range(30)), seed=3)
    f1 = gate("bootstrap", "f1", "retention", 0.9)
    assert judge(f1, found) == judge(f1, found)
