"""Negative controls: what a gate must refuse, and that one which lets it through proves nothing."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.controls import controls, forbidden
from titrant.runtime.contract.judge import judge, judgement
from titrant.schema.gate import BROKEN, CONTROLS, PERMUTED, Contract, controls_of, gate_test
from titrant.schema.recipe.terms import Metric

LABELS = np.array([0, 1] * 300)


def contract(*gates, require="evidence"):
    return Contract(tuple(gates), 0.95, require)


def good(labels, every=30):
    """Decisions that are right but for one in `every`."""
    decisions = labels.copy()
    decisions[::every] = 1 - decisions[::every]
    return decisions


def judged(gates, evidence, require="evidence"):
    return judgement(contract(*gates, require=require), "it", evidence)


def test_says_of_a_gate_that_can_tell_what_it_refused(gate, evidence):
    answer = judged([gate("score_ratio", "accuracy", "retention", 0.95)], evidence(LABELS, good(LABELS), good(LABELS)))
    (result,) = answer.results
    assert (result.verdict, result.refused, result.let_through) == ("PASS", (PERMUTED, BROKEN), "")
    assert answer.released


def test_opens_a_gate_that_a_rare_class_makes_blind(gate, evidence):
    """With 1 % of the cases positive an original that finds them all keeps 98 % of its accuracy in any order."""
    labels = np.zeros(1000, int)
    labels[::100] = 1
    answer = judged([gate("score_ratio", "accuracy", "retention", 0.95)], evidence(labels, labels, labels))
    (result,) = answer.results
    assert result.verdict == "INCONCLUSIVE"
    assert result.let_through == "the original's answers in another order"
    assert "it would also pass the original's answers in another order" in result.reason
    assert not answer.released


@pytest.mark.parametrize("require", ["proof", "evidence"])
def test_releases_nothing_where_every_decision_is_the_same(gate, evidence, require):
    """An operating point of 0: everything is positive, whoever answers."""
    always = np.ones(600, int)
    gates = [
        gate("exact_binomial", "kept", "at_least", 0.95),
        gate("exact_binomial", "sensitivity", "at_least", 0.95),
        gate("exact_binomial", "same_decision", "at_least", 0.9),
    ]
    for one in gates:
        answer = judged([one], evidence(LABELS, always, always), require)
        assert answer.results[0].verdict == "INCONCLUSIVE"
        assert not answer.released


def test_opens_every_gate_on_answers_where_the_best_constant_answer_would_pass_all(gate, evidence):
    """A retention so low that always saying the commoner class keeps it, though neither other control does."""
    labels = np.array(([0] * 6 + [1] * 4) * 100)
    original = good(labels, 3)
    answer = judged([gate("score_ratio", "accuracy", "retention", 0.85)], evidence(labels, original, original))
    (result,) = answer.results
    assert result.let_through == "the constant answer benign"
    assert not answer.released


def test_puts_what_holds_a_candidate_back_to_nothing(gate, evidence):
    answer = judged([gate("score_ratio", "accuracy", "retention", 0.95)], evidence(LABELS, good(LABELS), 1 - LABELS))
    assert (answer.results[0].verdict, answer.results[0].refused) == ("FAIL", ())


def test_leaves_limits_of_time_and_size_alone(gate, evidence):
    size = gate("counted", "size", "at_most", 100.0, preset="target", unit="B")
    answer = judged([size], evidence(LABELS, LABELS, LABELS, size=50))
    assert (answer.results[0].verdict, answer.results[0].refused, answer.released) == ("PASS", (), True)


def test_breaks_a_subgroup_for_a_row_of_bias(gate, evidence):
    groups = ["f", "m"] * 300
    labels = np.array([0, 0, 1, 1] * 150)
    row = gate(
        "group_ratio", "accuracy", "ratio_at_least", 0.85, where="subgroup sex.f / sex.m", preset="bias"
    )  # fmt: skip
    found = evidence(labels, good(labels), good(labels), groups=groups)
    (control,) = controls(row, found)
    changed = control.evidence.candidate.decisions != found.original.decisions
    assert set(np.array(groups)[changed]) == {"f"}
    assert judge(row, control.evidence).verdict != "PASS"


@pytest.mark.parametrize("metric", ["auroc", "f1", "precision"])
@pytest.mark.parametrize("positive", [None, 0])
def test_breaks_the_class_that_a_gate_names_rather_than_any(gate, evidence, metric, positive):
    labels = np.arange(3000) % 5
    test = "delong" if metric == "auroc" else "bootstrap"
    row = gate(test, metric, "drop_at_most", 0.1, where="class c", preset="gates")
    made = evidence(labels, labels, labels, classes=tuple("abcde"), positive=positive)
    broken = next(control for control in controls(row, made) if control.name == BROKEN)
    changed = broken.evidence.candidate.decisions
    assert (changed[(changed != labels) & (labels != 2)] == 2).all()
    assert judge(row, broken.evidence).verdict != "PASS"


def test_knows_of_every_metric_of_answers_what_it_must_refuse():
    later = {
        "average_precision",
        "dice",
        "iou",
        "mae",
        "perplexity",
        "r2",
        "rmse",
        "surface_distance",
        "token_agreement",
    }
    timed = {"latency_p50", "latency_p95", "latency_p99", "throughput", "size", "peak_memory"}
    assert set(get_args(Metric)) - timed - later <= set(CONTROLS)


COMPARED = [
    ("accuracy", "retention"), ("accuracy", "drop_at_most"), ("accuracy", "at_least"), ("sensitivity", "at_least"),
    ("sensitivity", "retention"), ("specificity", "at_least"), ("kept", "at_least"), ("same_decision", "at_least"),
    ("balanced_accuracy", "retention"), ("f1", "retention"), ("auroc", "retention"), ("brier", "rise_at_most"),
]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(COMPARED),
    st.floats(0.6, 0.99),
    st.integers(2, 4),
    st.integers(0, 2**16),
    st.sampled_from([1, 4]),
)
def test_refuses_broken_answers_of_a_good_original_whatever_is_compared(asked, level, classes, seed, rows_each):
    """Balanced classes and a good original: here every gate can tell, so that nothing may let a control through."""
    from titrant.runtime.contract.answers import Answers
    from titrant.runtime.contract.evidence import Evidence
    from titrant.runtime.values import Rows
    from titrant.schema.gate import Gate

    metric, comparison = asked
    generator = np.random.default_rng(seed)
    labels = np.arange(800) // rows_each % classes
    decisions = labels.copy()
    wrong = generator.permutation(800)[:24]
    decisions[wrong] = (decisions[wrong] + 1) % classes
    probabilities = np.full((800, classes), 0.1 / max(classes - 1, 1))
    probabilities[np.arange(800), decisions] = 0.9
    probabilities += generator.uniform(0, 1e-3, probabilities.shape)
    rows = Rows(
        "evaluation", {}, labels, np.arange(800) // rows_each, np.arange(800, dtype=np.uint64),
        tuple("abcd"[:classes]), 1,
    )  # fmt: skip
    original = Answers(probabilities, decisions)
    evidence = Evidence(rows, original, original, np.ones(800, bool), seed=seed)
    threshold = 1 - level if comparison in ("drop_at_most", "rise_at_most") else level
    if classes == 2 and level < 0.8 and comparison in ("retention", "at_least"):
        threshold = 0.8  # of two classes half are right in any order
    row = Gate("g", "gates", metric, "all", comparison, threshold, gate_test(metric, comparison), "here")
    assert 0 < forbidden(row) < 1
    for control in controls(row, evidence):
        if control.name == BROKEN:
            assert judge(row, control.evidence).verdict != "PASS", control.words
    assert controls_of(row)
