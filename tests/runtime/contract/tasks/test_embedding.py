"""Vectors beside vectors: cosines, neighbors and retrieval, ties among them, and answers that must be refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.case_answers import case_quality, compare_cases_with_constant
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge, judgement
from titrant.runtime.contract.tasks.cases import JudgedOutput
from titrant.runtime.contract.tasks.embedding import EmbeddingAnswers
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.gate import BROKEN, PERMUTED, Contract, Gate, gate_test


def vectors(count=400, width=12, groups=8, seed=0):
    """Return embeddings around a center for each group, and the groups."""
    generator = np.random.default_rng(seed)
    places = generator.integers(0, groups, count)
    centers = generator.normal(0, 2, (groups, width))
    return centers[places] + generator.normal(0, 1, (count, width)), places


def answers(old, new, groups=None):
    places = np.arange(len(old))
    rows = Rows("evaluation", {}, None, places, places.astype(np.uint64), targets=groups)
    judged = JudgedOutput("embedding", "embedding", np.asarray(old, np.float64), np.asarray(new, np.float64))
    return EmbeddingAnswers.read(rows, judged)


def evidence(old, new, groups=None):
    cases = answers(old, new, groups)
    return Evidence(cases.rows, None, None, np.ones(len(old), bool), cases=cases)


def figures(cases):
    return cases.figures(np.arange(len(cases.rows)))


def gate(metric, comparison, threshold):
    return Gate(
        f"{metric}.{comparison}", "gates", metric, "all", comparison, threshold, gate_test(metric, comparison), "here"
    )


def test_metrics_equal_scikit_learn():
    from sklearn.metrics.pairwise import cosine_similarity
    from sklearn.neighbors import NearestNeighbors

    old, groups = vectors()
    new = old + np.random.default_rng(1).normal(0, 0.8, old.shape)
    nearest = [
        NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(values).kneighbors(
            return_distance=False
        )[:, 0]
        for values in (old, new)
    ]  # fmt: skip
    before, after = figures(answers(old, new, groups))
    assert after["cosine"] == pytest.approx(np.diag(cosine_similarity(old, new)).mean(), rel=1e-9)
    assert after["neighbor"] == pytest.approx((nearest[0] == nearest[1]).mean(), rel=1e-9)
    assert before["recall_at_1"] == pytest.approx((groups[nearest[0]] == groups).mean(), rel=1e-9)
    assert after["recall_at_1"] == pytest.approx((groups[nearest[1]] == groups).mean(), rel=1e-9)
    assert (before["cosine"], before["neighbor"]) == (1.0, 1.0)


def test_a_row_without_another_of_its_group_does_not_count():
    old, _ = vectors(6)
    groups = np.array([0, 0, 1, 1, 2, 3])
    scores = answers(old, old, groups).scores("recall_at_1", np.arange(6))
    np.testing.assert_array_equal(scores.weights, [1, 1, 1, 1, 0, 0])
    with pytest.raises(Unassessable, match="no row has another one of its label"):
        answers(old, old, np.arange(6)).scores("recall_at_1", np.arange(6))


def test_retrieval_without_labels_is_not_assessable():
    old, _ = vectors(10)
    assert figures(answers(old, old))[1]["recall_at_1"] is None


@pytest.mark.parametrize("metric", ["neighbor", "recall_at_1"])
def test_two_rows_have_no_neighbor_to_choose(metric):
    old, _ = vectors(2)
    with pytest.raises(Unassessable, match="3 are needed"):
        answers(old, old, np.array([0, 0])).scores(metric, np.arange(2))


def test_equally_near_rows_are_shared_out():
    old = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.1], [0.0, 1.0]])
    new = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3], [0.0, 1.0]])
    kept = answers(old, new).scores("neighbor", np.arange(4)).candidate
    # The first row had two nearest ones and keeps one of them; the last as well.
    np.testing.assert_allclose(kept, [0.5, 0.0, 1.0, 0.5])


def test_a_model_that_answers_all_rows_alike_keeps_no_neighbor():
    old, groups = vectors(100)
    after = figures(answers(old, np.ones_like(old), groups))[1]
    assert after["neighbor"] == pytest.approx(1 / 99)
    assert after["recall_at_1"] == pytest.approx(((np.bincount(groups) - 1)[groups] / 99).mean())


def test_zeros_have_no_direction():
    old, _ = vectors(20)
    new = old.copy()
    new[:5] = 0
    scores = answers(old, new).scores("cosine", np.arange(20))
    np.testing.assert_array_equal(scores.candidate, [0.0] * 5 + [1.0] * 15)
    assert answers(new, new).scores("cosine", np.arange(20)).candidate.tolist() == [1.0] * 20


def test_another_width_is_refused():
    old, _ = vectors(10)
    with pytest.raises(StepError, match="has 11 numbers a case"):
        answers(old, old[:, 1:])


def test_a_faithful_candidate_passes_and_refuses_what_it_must():
    old, groups = vectors(1500)
    gates = (
        gate("neighbor", "at_least", 0.9), gate("cosine", "at_least", 0.97), gate("recall_at_1", "retention", 0.9)
    )  # fmt: skip
    judged = judgement(Contract(gates, 0.95, "proof"), "c", evidence(old, old + 1e-6, groups))
    assert [result.verdict for result in judged.results] == ["PASS"] * 3
    assert all(result.refused == (PERMUTED, BROKEN) for result in judged.results)


def test_embeddings_that_all_point_one_way_prove_nothing_by_their_cosine():
    old, groups = vectors(600)
    narrow = old + 50
    (result,) = judgement(
        Contract((gate("cosine", "at_least", 0.95),), 0.95, "evidence"), "c", evidence(narrow, narrow, groups)
    ).results
    assert result.verdict == "INCONCLUSIVE"
    assert "another order" in result.let_through


def test_a_candidate_that_is_worse_fails():
    old, _ = vectors(800)
    new = old + np.random.default_rng(1).normal(0, 2, old.shape)
    for metric in ("neighbor", "cosine"):
        assert judge(gate(metric, "at_least", 0.95), evidence(old, new)).verdict == "FAIL"


def test_the_best_constant_answer_finds_a_neighbor_by_chance():
    old, _ = vectors(50)
    compared = compare_cases_with_constant(answers(old, old))
    assert (compared.original, compared.constant) == (1.0, pytest.approx(1 / 49))
    alike = np.ones_like(old)
    assert compare_cases_with_constant(answers(alike, alike)).is_no_better
    assert answers(old[:2], old[:2]).constant() is None


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 60), st.integers(0, 2**16), st.floats(0, 4), st.booleans())
def test_scores_stay_in_their_range(count, seed, noise, twins):
    old, groups = vectors(count, seed=seed)
    if twins:
        old[count // 2 :] = old[: count - count // 2]
    new = old + np.random.default_rng(seed).normal(0, noise, old.shape)
    cases = answers(old, new, groups)
    for answer in (cases, cases.permuted(np.random.default_rng(seed).permutation(count)), cases.constant()[0]):
        for metric in ("cosine", "neighbor"):
            scores = answer.scores(metric, np.arange(count))
            assert (scores.low <= scores.candidate).all()
            assert (scores.candidate <= scores.high).all()
    itself = cases.permuted(np.arange(count)).scores("neighbor", np.arange(count))
    assert (itself.candidate == 1).all()
    worst = cases.broken(np.ones(count, bool))
    assert worst.scores("neighbor", np.arange(count)).candidate.sum() == 0


def test_two_tuning_rows_say_nothing_of_what_is_kept():
    old, _ = vectors(2)
    quality = case_quality(answers(old, old), 0.95)
    assert (quality["metric"], quality["retention"], quality["kept_at_least"]) == ("neighbor", None, None)
    assert quality["candidate"]["cosine"] == 1.0
