"""Rows of several sites: tests by stratum, areas within strata, small strata together, and who is harmed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata  # noqa: TID253 - the independent computation

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge as judge_pooled
from titrant.runtime.contract.measures.judging import judge_every
from titrant.runtime.contract.statistics.proportions import (
    Pairs,
    paired_difference_statistic,
    paired_ratio_statistic,
    score_lower,
)
from titrant.runtime.contract.statistics.strata import difference_statistic, joined, ratio_bounds, ratio_statistic
from titrant.runtime.values import Rows


def evidence_of(labels, old, new, strata, names=("A", "B", "C")):
    count = len(labels)
    rows = Rows(
        "evaluation", {}, np.asarray(labels, np.int64), np.arange(count), np.arange(count, dtype=np.uint64),
        ("well", "ill"), 1, {"strata": np.asarray(strata, np.int64)}, {"strata": names},
    )  # fmt: skip
    answers = [Answers(np.stack([1 - one, one], axis=1), (one >= 0.5).astype(np.int64), 0.5) for one in (old, new)]
    return Evidence(rows, *answers, answers[0].decisions == answers[1].decisions, stratified=True)


def drawn(cases, loss=(0.0, 0.0, 0.0), seed=0, gain=0.02):
    """Draw sites of which the original is right in 95, 85 and 70 %, and losses at each."""
    rng = np.random.default_rng(seed)
    strata = rng.choice(3, cases, p=[0.5, 0.35, 0.15])
    labels = (rng.random(cases) < 0.4).astype(np.int64)
    right = rng.random(cases) < np.array([0.95, 0.85, 0.7])[strata]
    lost = right & (rng.random(cases) < np.array(loss)[strata])
    gained = ~right & (rng.random(cases) < gain)
    old = np.where(right, labels, 1 - labels).astype(float)
    return labels, old, np.where(lost | gained, 1 - old, old), strata


@pytest.mark.parametrize("ratio", [0.9, 0.98, 1.0])
def test_one_stratum_is_the_test_without_strata(ratio):
    counts = Pairs(430, 12, 7, 51)
    assert ratio_statistic([counts], ratio) == pytest.approx(paired_ratio_statistic(counts, ratio), abs=1e-9)
    assert difference_statistic([counts], -0.03) == pytest.approx(paired_difference_statistic(counts, -0.03), abs=1e-9)
    assert ratio_bounds([counts], 0.95)[0] == pytest.approx(score_lower(counts, 0.95), abs=1e-9)


def test_a_gate_is_never_proven_by_strata_alone(gate):
    """The worse of both bounds decides."""
    found = evidence_of(*drawn(2000, (0.01, 0.02, 0.03)))
    for test, metric, comparison, threshold in (
        ("score_ratio", "accuracy", "retention", 0.95),
        ("paired_difference", "accuracy", "drop_at_most", 0.05),
        ("paired_difference", "sensitivity", "rise_at_most", 0.05),
    ):
        asked = gate(test, metric, comparison, threshold)
        by_stratum, pooled = judge_every(asked, found), judge_pooled(asked, found)
        assert by_stratum.estimate == pooled.estimate
        assert by_stratum.lower <= pooled.lower + 1e-12
        assert by_stratum.upper >= pooled.upper - 1e-12
        assert by_stratum.method.endswith("by stratum")
        plain = judge_every(asked, replace(found, stratified=False))
        assert plain == pooled


def test_names_a_site_that_is_harmed_where_all_together_are_kept(gate):
    asked = gate("score_ratio", "accuracy", "retention", 0.9)
    harmed = judge_every(asked, evidence_of(*drawn(3000, (0.002, 0.002, 0.25))))
    even = judge_every(asked, evidence_of(*drawn(3000, (0.005, 0.005, 0.005))))
    assert harmed.verdict == "PASS"
    assert "harmed in the stratum C (p = " in harmed.reason
    assert "A (p" not in harmed.reason
    assert "harmed" not in even.reason


def test_names_no_site_of_fewer_cases_than_the_report_shows(gate):
    asked = gate("score_ratio", "accuracy", "retention", 0.9)
    evidence = evidence_of(*drawn(3000, (0.002, 0.002, 0.25)))
    units = int((evidence.rows.subgroups["strata"] == 2).sum())
    assert "harmed in the stratum C" in judge_every(asked, replace(evidence, named_from=units)).reason
    assert "harmed" not in judge_every(asked, replace(evidence, named_from=units + 1)).reason


def auc(scores, positive):
    ranks = rankdata(scores)
    count, rest = positive.sum(), (~positive).sum()
    return (ranks[positive].sum() - count * (count + 1) / 2) / (count * rest)


def test_no_site_lends_its_order_to_another(gate):
    """Scores of one site, where more are ill, all lie higher; within each they tell nothing."""
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], 600)
    labels = (rng.random(1200) < np.where(strata == 1, 0.8, 0.2)).astype(np.int64)
    scores = np.where(strata == 1, 0.75, 0.25) + 0.1 * rng.random(1200)
    asked = gate("delong", "auroc", "at_least", 0.7)
    by_stratum = judge_every(asked, evidence_of(labels, scores, scores, strata))
    pooled = judge_pooled(asked, evidence_of(labels, scores, scores, strata))
    weights = [(labels[strata == site] == 1).sum() * (labels[strata == site] == 0).sum() for site in (0, 1)]
    within = [auc(scores[strata == site], labels[strata == site] == 1) for site in (0, 1)]
    assert by_stratum.candidate == pytest.approx(np.average(within, weights=weights), abs=1e-9)
    assert pooled.candidate > 0.7
    assert by_stratum.verdict == "FAIL"


def test_a_site_of_one_class_is_in_no_pair(gate):
    rng = np.random.default_rng(1)
    strata = np.repeat([0, 1, 2], 300)
    labels = np.where(strata == 2, 1, rng.random(900) < 0.5).astype(np.int64)
    scores = np.clip(0.3 * labels + 0.7 * rng.random(900), 0, 1)
    result = judge_every(gate("delong", "auroc", "retention", 0.9), evidence_of(labels, scores, scores, strata))
    assert (result.verdict, result.cases) == ("PASS", 600)
    assert "300 cases in strata with one class are in no pair" in result.reason


def test_strata_of_few_cases_are_judged_together():
    strata = np.array([0] * 100 + [1] * 50 + [2] * 20 + [3] * 5 + [-1] * 3)
    numbers = joined(strata, np.arange(len(strata)))
    assert [len(set(numbers[strata == name])) for name in (0, 1, 2, 3)] == [1, 1, 1, 1]
    assert len(set(numbers[strata >= 2]) | set(numbers[strata == -1])) == 1
    assert len(set(numbers)) == 3
    units = np.arange(len(strata)) // 4  # fewer units than rows: 25, 13 …
    assert len(set(joined(strata, units))) == 1


def test_a_gate_about_a_class_or_one_stratum_is_judged(gate):
    labels, old, new, strata = drawn(2000, (0.01, 0.01, 0.01))
    rng = np.random.default_rng(3)
    scores = [np.clip(0.6 * one + 0.4 * rng.random(2000), 0, 1) for one in (old, new)]
    found = evidence_of(labels, *scores, strata)
    for where in ("class ill", "subgroup strata.B"):
        for test, metric in (("score_ratio", "sensitivity"), ("delong", "auroc")):
            result = judge_every(gate(test, metric, "retention", 0.8, where=where), found)
            assert result.estimate is not None
            assert result.verdict in ("PASS", "INCONCLUSIVE")
