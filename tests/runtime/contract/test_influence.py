"""Metrics as means over rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import SliceAnswers
from titrant.runtime.contract.influence import compare_metrics, fewest_changed, influence, of_counts
from titrant.runtime.contract.metrics import METRICS

BOTH = ("balanced_accuracy", "precision", "f1")


def answers(decisions):
    return Answers(np.zeros((len(decisions), 3)), decisions)


def drawn(seed, rows=200, classes=2):
    generator = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), generator.integers(0, classes, rows)]
    first = np.where(generator.random(len(labels)) < 0.1, generator.integers(0, classes, len(labels)), labels)
    second = np.where(generator.random(len(labels)) < 0.05, generator.integers(0, classes, len(labels)), first)
    return labels, first, second


@given(st.integers(0, 2**16), st.sampled_from(BOTH), st.integers(2, 4))
def test_have_the_metric_for_their_mean(seed, metric, classes):
    positive = 1 if classes == 2 or metric == "precision" else None
    labels, first, _ = drawn(seed, classes=classes)
    expected = METRICS[metric](answers(first), labels, positive)
    expanded = influence(metric, first, labels, classes, positive)
    assert expanded.value == pytest.approx(expected)
    assert expanded.of(labels, first).mean() == pytest.approx(expected)
    kinds, counts = np.unique(np.stack([labels, first]), axis=1, return_counts=True)
    assert of_counts(metric, counts[None], kinds[0], kinds[1], positive)[0] == pytest.approx(expected)


@given(st.integers(0, 2**16), st.sampled_from(BOTH))
def test_follow_what_one_row_more_does_to_the_metric(seed, metric):
    labels, first, _ = drawn(seed, rows=5000)
    expanded = influence(metric, first, labels, 2, 1)
    for label in (0, 1):
        for decision in (0, 1):
            more = METRICS[metric](answers(np.r_[first, decision]), np.r_[labels, label], 1) - expanded.value
            if metric != "balanced_accuracy":
                assert more * len(labels) == pytest.approx(expanded.table[label, decision] - expanded.value, abs=0.01)


@settings(deadline=None)
@given(st.integers(0, 2**16), st.sampled_from(BOTH), st.sampled_from(["retention", "drop_at_most", "at_least"]))
def test_bound_the_estimate_from_both_sides_and_prove_less_of_fewer_rows(seed, metric, comparison):
    labels, first, second = drawn(seed)

    def bounds(rows):
        cases = SliceAnswers(
            labels[:rows], np.arange(rows), answers(first[:rows]), answers(second[:rows]),
            first[:rows] == second[:rows], 1, ("a", "b"), "",
        )  # fmt: skip
        old, new = (METRICS[metric](model, labels[:rows], 1) for model in (cases.original, cases.candidate))
        estimate = {"retention": new / old, "drop_at_most": old - new, "at_least": new}[comparison]
        return compare_metrics(metric, comparison, cases, 0.95).bounds(), estimate

    (lower, upper), estimate = bounds(len(labels))
    assert lower <= estimate <= upper


def test_count_changes_in_the_class_that_has_fewest():
    labels = np.repeat([0, 1], [50, 10])
    second = labels.copy()
    second[:8], second[-3:] = 1, 0
    cases = SliceAnswers(labels, np.arange(60), answers(labels), answers(second), labels == second, 1, ("a", "b"), "")
    assert fewest_changed("f1", cases, labels) == 3


@pytest.mark.parametrize("metric", BOTH)
def test_prove_nothing_of_a_class_that_is_rare_however_many_rows_there_are(metric):
    def proves(ill):
        labels = (np.arange(1000) < ill).astype(int)
        cases = SliceAnswers(
            labels, np.arange(1000), answers(labels), answers(labels), np.ones(1000, bool), 1, ("a", "b"), ""
        )
        return compare_metrics(metric, "retention", cases, 0.95).proves(0.95)

    assert [proves(ill) for ill in (6, 20, 400)] == [False, False, True]
