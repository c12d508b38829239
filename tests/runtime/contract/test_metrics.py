"""Metrics, against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk  # noqa: TID253 - the independent computation

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.metrics import METRICS, brier_of_cases, calibration_edges, calibration_error


@pytest.fixture
def answered():
    """Answer 200 cases of so many classes, not very well."""

    def make(classes):
        generator = np.random.default_rng(classes)
        labels = generator.integers(0, classes, 200)
        scores = generator.normal(size=(200, classes)) + 1.5 * np.eye(classes)[labels]
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        return Answers(probabilities, probabilities.argmax(axis=1)), labels

    return make


@pytest.mark.parametrize("positive", [0, 1])
def test_agrees_with_scikit_learn_on_two_classes(answered, positive):
    answers, labels = answered(2)
    found = {name: metric(answers, labels, positive) for name, metric in METRICS.items()}
    given = (labels == positive, answers.decisions == positive)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(*given))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(*given))
    assert found["sensitivity"] == pytest.approx(sk.recall_score(*given))
    assert found["specificity"] == pytest.approx(sk.recall_score(~given[0], ~given[1]))
    assert found["precision"] == pytest.approx(sk.precision_score(*given))
    assert found["f1"] == pytest.approx(sk.f1_score(*given))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(given[0], answers.probabilities[:, positive]))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(given[0], answers.probabilities[:, positive]))


def test_agrees_with_scikit_learn_on_many_classes(answered):
    answers, labels = answered(4)
    found = {name: metric(answers, labels, None) for name, metric in METRICS.items()}
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, answers.decisions))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, answers.decisions, average="macro"))
    assert found["sensitivity"] is found["precision"] is found["auroc"] is None
    assert found["brier"] == pytest.approx(((answers.probabilities - np.eye(4)[labels]) ** 2).sum(axis=1).mean() / 2)


def test_leaves_out_what_the_cases_do_not_define(answered):
    answers, labels = answered(2)
    one_kind = labels == 0
    found = {name: metric(answers.of(one_kind), labels[one_kind], 1) for name, metric in METRICS.items()}
    assert found["sensitivity"] is found["auroc"] is None
    assert found["accuracy"] is not None


def test_keeps_a_cases_brier_score_in_its_range():
    worst = np.array([[1.0, 0.0, 0.0]])
    assert brier_of_cases(worst, np.array([1]), None).tolist() == [1.0]
    assert brier_of_cases(np.array([[1.0, 0.0]]), np.array([1]), 1).tolist() == [1.0]


def test_has_no_calibration_error_when_confidence_is_what_comes_true():
    labels = np.array([0] * 9 + [1])
    answers = np.tile([0.9, 0.1], (10, 1))
    edges = calibration_edges(answers)
    assert calibration_error(answers, labels, edges) == pytest.approx(0)
    assert calibration_error(np.tile([1.0, 0.0], (10, 1)), labels, edges) == pytest.approx(0.1)


def test_fixes_the_bins_by_the_original(answered):
    answers, _ = answered(3)
    edges = calibration_edges(answers.probabilities)
    assert (edges[0], edges[-1]) == (0.0, 1.0)
    counts = np.histogram(answers.probabilities.max(axis=1), edges)[0]
    assert counts.min() >= 15
