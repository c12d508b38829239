"""Several labels a case: the mean F1, what is about one label, and answers that must be refused."""

import numpy as np
import pytest

from titrant.runtime.contract.answers import same_answers
from titrant.runtime.contract.case_answers import compare_cases_with_constant
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge, judgement
from titrant.runtime.contract.reading import AnswerComparison, Reading
from titrant.runtime.contract.tasks.cases import JudgedOutput
from titrant.runtime.contract.tasks.multilabel import MultilabelAnswers
from titrant.runtime.contract.tasks.scores import CaseClaims, CaseScores, Unassessable
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.gate import BROKEN, PERMUTED, Contract, Gate, gate_test

NAMES = ("edema", "mass", "effusion")


def rows(marks, positive=None):
    count = len(marks)
    places = np.arange(count)
    targets = np.asarray(marks, np.float64)
    return Rows("evaluation", {}, None, places, places.astype(np.uint64), NAMES, positive, targets=targets)


def evidence(marks, original, candidate, positive=None):
    made = rows(marks, positive)
    old, new = (np.asarray(decided, np.float64) * 0.8 + 0.1 for decided in (original, candidate))
    alike = (old == new).all(axis=1)
    return Evidence(made, None, None, alike, cases=MultilabelAnswers(made, old, new))


def gate(metric, comparison, threshold, slice_="all"):
    return Gate("g", "gates", metric, slice_, comparison, threshold, gate_test(metric, comparison), "here")


def drawn(count, seed=1, wrong=0.05):
    """Return labels of 30 %, 10 % and 50 % of the cases, and answers that are wrong in some."""
    generator = np.random.default_rng(seed)
    marks = generator.random((count, 3)) < (0.3, 0.1, 0.5)
    return marks, marks ^ (generator.random((count, 3)) < wrong)


def test_metrics_equal_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score, hamming_loss

    marks, answers = drawn(500)
    before, after = evidence(marks, answers, marks).cases.figures(np.arange(500))
    assert before["macro_f1"] == pytest.approx(f1_score(marks, answers, average="macro"), abs=1e-12)
    assert before["label_accuracy"] == pytest.approx(1 - hamming_loss(marks, answers), abs=1e-12)
    assert before["exact_match"] == pytest.approx(accuracy_score(marks, answers), abs=1e-12)
    assert set(after.values()) >= {1.0}


def test_a_faithful_candidate_passes_and_refuses_what_it_must():
    marks, answers = drawn(2000)
    gates = (
        gate("macro_f1", "retention", 0.95),
        gate("label_accuracy", "retention", 0.98),
        gate("auroc", "drop_at_most", 0.05, "class effusion"),
        gate("sensitivity", "retention", 0.95, "class edema"),
    )
    judged = judgement(Contract(gates, 0.95, "proof"), "c", evidence(marks, answers, answers))
    assert [result.verdict for result in judged.results] == ["PASS"] * 4
    assert {result.refused for result in judged.results} == {(PERMUTED, BROKEN)}


def test_one_label_is_judged_as_two_classes():
    marks, answers = drawn(2000)
    worse = answers.copy()
    worse[:, 1] = False
    found = evidence(marks, answers, worse)
    assert judge(gate("macro_f1", "retention", 0.9), found).changed == int((answers[:, 1]).sum())
    harmed = judge(gate("sensitivity", "retention", 0.95, "class mass"), found)
    assert (harmed.verdict, harmed.candidate, harmed.cases) == ("FAIL", 0.0, int(marks[:, 1].sum()))
    assert judge(gate("sensitivity", "retention", 0.9, "class edema"), found).verdict == "PASS"


def test_the_critical_label_is_meant_where_none_is_named():
    marks, answers = drawn(2000)
    found = evidence(marks, answers, answers, positive=2)
    result = judge(gate("kept", "at_least", 0.95, "class effusion"), found)
    assert (result.verdict, result.changed) == ("PASS", 0)
    assert judge(gate("sensitivity", "at_least", 0.8), found).cases == int(marks[:, 2].sum())
    assert "about one label" in judge(gate("sensitivity", "at_least", 0.8), evidence(marks, answers, answers)).reason
    assert "no label gout" in judge(gate("f1", "retention", 0.8, "class gout"), found).reason


def test_a_label_that_no_case_has_is_left_out_of_the_mean():
    marks, answers = drawn(200)
    marks[:, 1] = answers[:, 1] = False
    scores = evidence(marks, answers, answers).cases.scores("macro_f1", np.arange(200))
    assert scores.before < 1
    with pytest.raises(Unassessable, match="no case has any label"):
        evidence(marks & False, answers, answers).cases.scores("macro_f1", np.arange(200))


@pytest.mark.parametrize(("comparison", "threshold"), [("retention", 0.9), ("at_least", 0.7)])
def test_a_label_that_no_case_has_is_not_given_to_more_of_them_without_a_word(comparison, threshold):
    marks, answers = drawn(1000)
    marks[:, 2] = answers[:, 2] = False
    answers[:5, 2] = True
    everywhere = answers.copy()
    everywhere[:, 2] = True
    result = judge(gate("macro_f1", comparison, threshold), evidence(marks, answers, everywhere))
    assert (result.verdict, result.assessable) == ("INCONCLUSIVE", False)
    assert result.reason == "no case has effusion, which is left out here, and 1,000 are given it, by the original 5"
    by_chance = answers.copy()
    by_chance[5:9, 2] = True
    assert judge(gate("macro_f1", comparison, threshold), evidence(marks, answers, by_chance)).verdict == "PASS"


def test_a_constant_answer_gives_no_label_that_no_case_has():
    marks, answers = drawn(50)
    marks[:, 2] = False
    assert evidence(marks, answers, answers).cases.constant()[0].shown()[2].tolist() == [[1, 1, 0]] * 50


def test_outputs_are_one_number_a_label():
    marks, _ = drawn(4)
    wide, logits = np.zeros((4, 4)), np.array([[0.0, 20.0, -20.0]] * 4)
    with pytest.raises(StepError, match=r"X420.*4 numbers a case for 3 labels"):
        MultilabelAnswers.read(rows(marks), JudgedOutput("output", "logits", wide, wide))
    with pytest.raises(StepError, match=r"X420.*outside 0\.\.1"):
        MultilabelAnswers.read(rows(marks), JudgedOutput("output", "probabilities", logits, logits))
    read = MultilabelAnswers.read(rows(marks), JudgedOutput("output", "logits", logits, logits))
    assert read.one_label("mass")[1] == pytest.approx([1.0] * 4)


@pytest.mark.parametrize("count", [150, 600])
def test_a_mean_f1_at_the_threshold_passes_no_more_often_than_allowed(count):
    """At the threshold itself: labels are lost in whole cases, so many that 0.9 of the mean F1 is kept on average."""
    generator = np.random.default_rng(5)
    # What is lost of the F1 of a perfect original by dropping a share of the labels that are there: (1-s)*2/(2-s).
    share = 2 * (1 - 0.9) / (2 - 0.9)
    passed, draws = 0, 300
    for _ in range(draws):
        marks = generator.random((count, 3)) < 0.3
        lost = marks & ~(generator.random((count, 1)) < share)
        scores = evidence(marks, marks, lost).cases.scores("macro_f1", np.arange(count))
        passed += CaseClaims(scores, "retention", 0.95).proves(0.9)
    assert passed / draws <= 0.05 + 1.645 * np.sqrt(0.05 * 0.95 / draws)


def test_scores_of_a_case_lie_within_their_ends():
    marks, answers = drawn(300, seed=9, wrong=0.3)
    scores: CaseScores = evidence(marks, answers, ~answers).cases.scores("macro_f1", np.arange(300))
    for held in (scores.original, scores.candidate):
        assert scores.low - 1e-12 <= held.min()
        assert held.max() <= scores.high + 1e-12


def test_rows_without_any_label_say_nothing_of_a_constant_answer():
    marks = np.zeros((40, 3))
    assert compare_cases_with_constant(evidence(marks, marks, marks).cases) is None


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("said", [{}, {"y": AnswerComparison(measure="same_labels")}])
def test_agrees_where_every_label_is_decided_alike_and_not_where_the_surest_is(kind, said):
    """Scores that all rise keep their order: the largest is the same one, and two labels more are given."""
    old = np.array([[3.0, -1.0, -2.0], [0.2, -3.0, -3.0], [1.0, 2.0, -1.0]])
    new = np.array([[6.0, 2.0, 1.0], [0.1, -3.0, -3.0], [2.0, 1.0, -1.0]])
    if kind == "probabilities":
        old, new = (1 / (1 + np.exp(-values)) for values in (old, new))
    reading = Reading(task="multilabel_classification", kinds={"y": kind}, agreement=said)
    made = rows(old > 0)
    for shape in ((3, 3), (3, 3, 1)):
        both = [Outputs("", {"y": values.reshape(shape)}) for values in (old, new)]
        assert same_answers(reading, made, *both).tolist() == [False, True, True]
