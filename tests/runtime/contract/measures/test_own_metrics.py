"""A user's own metric: judged within its declared range, and never passed on numbers that are none."""

from dataclasses import replace

import numpy as np
import pytest

import titrant
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judgement
from titrant.runtime.contract.measures.judging import judge_every as judge
from titrant.runtime.contract.measures.own_metric import declaration
from titrant.runtime.contract.tasks.regression import RegressionAnswers
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.gate import Contract, Gate, criteria
from titrant.schema.recipe.own_metric import OwnMetric, own_test

COST, SHARE = OwnMetric("lower", 0.0, 5.0, "case"), OwnMetric("higher", 0.0, 1.0, "set")
RIGHT = OwnMetric("higher", 0.0, 1.0, "case")


@titrant.metric(better="lower", range=(0, 5), unit="case")
def cost(cases):
    missed = (cases.labels == cases.positive) & (cases.decisions != cases.positive)
    return np.where(missed, 5.0, cases.labels != cases.decisions)


@titrant.metric(better="higher", range=(0, 1), unit="case")
def right(cases):
    return [bool(one) for one in cases.labels == cases.decisions]


@titrant.metric(better="higher", range=(0, 1), unit="set")
def share(cases):
    return float((cases.labels == cases.decisions).mean())


@titrant.metric(better="higher", range=(0, 1), unit="set")
def best(cases):
    """A maximum never settles."""
    return float(cases.probabilities[:, 1].max() - 0.2 * (cases.labels != cases.decisions).max())


def bad(answer):
    return titrant.metric(better="higher", range=(0, 1), unit="case")(answer)


nan = bad(lambda cases: np.where(cases.labels == 1, np.nan, 1.0))
short = bad(lambda cases: np.ones(len(cases) - 1))
single = bad(lambda cases: 0.5)
outside = bad(lambda cases: 2.0 * (cases.labels == cases.decisions))
words = bad(lambda cases: ["good"] * len(cases))
relative = bad(lambda cases: cases.probabilities[:, 1] / max(cases.probabilities[:, 1].sum(), 1e-9))
writing = bad(lambda cases: cases.decisions.__setitem__(0, 1))
unsaid = None


@bad
def raising(cases):
    raise KeyError("patient 1234567")


@titrant.metric(better="higher", range=(0, 1), unit="set")
def small_groups(cases):
    if len(cases) < 300:
        raise ZeroDivisionError("patient 1234567")
    return float((cases.labels == cases.decisions).mean())


def judged_by(contract, candidate, evidence):
    return judgement(contract, candidate, evidence, judge)


def gate_of(name, own, comparison, threshold, where="all"):
    reference = f"{__name__}:{name}"
    return Gate("g", "gates", reference, where, comparison, threshold, own_test(own, comparison), "here", own=own)


def labels_of(cases, seed=0):
    return (np.random.default_rng(seed).random(cases) < 0.4).astype(np.int64)


def flipped(decisions, share_of, seed=1):
    return np.where(np.random.default_rng(seed).random(len(decisions)) < share_of, 1 - decisions, decisions)


def test_is_compared_as_a_mean_within_its_range(evidence):
    labels = labels_of(1000)
    old, new = flipped(labels, 0.1), flipped(flipped(labels, 0.1), 0.01, seed=2)
    result = judge(gate_of("cost", COST, "rise_at_most", 0.5), evidence(labels, old, new))
    values = [np.where((labels == 1) & (one == 0), 5.0, labels != one).mean() for one in (old, new)]
    assert (result.original, result.candidate) == pytest.approx(values, abs=1e-12)
    assert result.estimate == pytest.approx(values[1] - values[0], abs=1e-12)
    assert result.verdict == "PASS"
    assert result.lower <= result.estimate <= result.upper


def test_needs_no_more_than_its_range_says(evidence):
    """What may rise by 5 a case takes five times the cases of what may rise by 1."""
    labels = labels_of(4000)
    for name, own, comparison in (("cost", COST, "rise_at_most"), ("right", RIGHT, "drop_at_most")):
        for threshold in (0.02, 0.1):
            needed = judge(gate_of(name, own, comparison, threshold), evidence(labels[:20], labels[:20], labels[:20]))
            few, many = (
                judge(gate_of(name, own, comparison, threshold), evidence(*[labels[:cases]] * 3))
                for cases in (needed.needed_cases - 1, needed.needed_cases)
            )
            assert (few.verdict, many.verdict) == ("INCONCLUSIVE", "PASS")


def test_retention_of_what_is_better_small_is_original_over_candidate(evidence):
    labels = labels_of(4000)
    old = flipped(labels, 0.2)
    result = judge(gate_of("cost", COST, "retention", 0.8), evidence(labels, old, flipped(old, 0.002)))
    assert result.estimate == pytest.approx(result.original / result.candidate, abs=1e-12)
    worse = judge(gate_of("cost", COST, "retention", 0.8), evidence(labels, old, flipped(labels, 0.4)))
    assert (result.verdict, worse.verdict) == ("PASS", "FAIL")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nan", "answers NaN or infinity for some cases"),
        ("short", "answers with 199 for 200 cases"),
        ("single", "answers with one number for 200 cases"),
        ("outside", "declares a range of 0 to 1, and lies above it for some cases"),
        ("words", "are no numbers"),
        ("relative", "depends on which other cases there are: declare it with unit='set'"),
        ("raising", "raised KeyError (test_own_metrics.py:"),
        ("writing", "raised ValueError"),
    ],
)
@pytest.mark.parametrize("where", ["all", "subgroup sex.F"])
def test_what_is_no_number_for_each_case_is_never_passed(evidence, name, says, where):
    labels = labels_of(200)
    found = evidence(labels, labels, labels, groups=["FM"[place % 2] for place in range(200)])
    contract = Contract((gate_of(name, RIGHT, "drop_at_most", 1.0, where),), 0.95, "evidence")
    judged = judged_by(contract, "c", found)
    (result,) = judged.results
    assert (result.verdict, result.estimate, judged.released) == ("INCONCLUSIVE", None, False)
    assert says in result.reason
    assert "1234567" not in result.reason


def test_raising_on_one_subgroup_leaves_the_other_rows_as_they_are(evidence):
    rng = np.random.default_rng(0)
    labels = labels_of(1000)
    old, new = flipped(labels, 0.2), flipped(labels, 0.2, seed=5)
    found = evidence(labels, old, new, groups=["few" if one < 0.2 else "many" for one in rng.random(1000)])
    asked = gate_of("small_groups", SHARE, "retention", 0.7)
    whole, few, many = (
        judge(replace(asked, slice=where), found) for where in ("all", "subgroup sex.few", "subgroup sex.many")
    )
    assert (whole.verdict, many.verdict) == ("PASS", "PASS")
    assert few.verdict == "INCONCLUSIVE"
    assert "raised ZeroDivisionError (test_own_metrics.py:" in few.reason


def test_one_number_for_all_cases_is_bounded_by_resampling_where_that_can_be_relied_on(evidence):
    labels = labels_of(1500)
    old, new = flipped(labels, 0.2), flipped(labels, 0.2, seed=5)
    asked = gate_of("share", SHARE, "retention", 0.9)
    result = judge(asked, evidence(labels, old, new))
    assert result.verdict == "PASS"
    assert result.lower < result.estimate < result.upper
    for found, says in (
        (evidence(labels, old, old), "of a class 0 decisions are changed"),
        (evidence(labels, old, new, units=np.arange(1500) // 2), "several rows belong to one unit"),
    ):
        refused = judge(asked, found)
        assert (refused.verdict, refused.lower) == ("INCONCLUSIVE", None)
        assert says in refused.reason
    maximum = judge(gate_of("best", SHARE, "retention", 0.9), evidence(labels, old, new, seed=3))
    assert maximum.verdict == "INCONCLUSIVE"


def test_a_metric_of_all_cases_is_bounded_at_half_the_error(evidence):
    labels = labels_of(1500)
    old, new = flipped(labels, 0.2), flipped(labels, 0.2, seed=5)
    result = judge(gate_of("share", SHARE, "drop_at_most", 0.1), evidence(labels, old, new))
    deviation = ((old == labels).astype(int) - (new == labels)).std() / np.sqrt(1500)
    # Of a mean the bound at half of .05 lies 1.96 standard deviations off, and 1.64 at .05.
    assert (result.upper - result.estimate) / deviation == pytest.approx(1.96, abs=0.15)


def test_is_put_to_answers_in_another_order(evidence):
    labels = labels_of(1000)
    (kept,) = judged_by(
        Contract((gate_of("cost", COST, "rise_at_most", 0.5),), 0.95, "proof"), "c", evidence(labels, labels, labels)
    ).results
    assert (kept.verdict, kept.refused) == ("PASS", ("permuted",))
    (blind,) = judged_by(
        Contract((gate_of("cost", COST, "rise_at_most", 5.0),), 0.95, "proof"), "c", evidence(labels, labels, labels)
    ).results
    assert blind.verdict == "INCONCLUSIVE"
    assert "would also pass" in blind.reason


@titrant.metric(better="lower", range=(0, 100), unit="case")
def overshoot(cases):
    return np.clip(cases.numbers - cases.labels, 0, 100).mean(axis=1)


@titrant.metric(better="lower", range=(0, 100), unit="set")
def largest(cases):
    return np.clip(np.abs(cases.numbers - cases.labels), 0, 100).max()


def test_is_called_with_numbers_where_the_task_has_numbers():
    rng = np.random.default_rng(0)
    targets = rng.normal(50, 10, 800)
    old = targets[:, None] + rng.normal(0, 1, (800, 1))
    rows = Rows("evaluation", {}, None, np.arange(800), np.arange(800, dtype=np.uint64), targets=targets)
    for shift, verdict in ((0.0, "PASS"), (20.0, "FAIL")):
        cases = RegressionAnswers(rows, old, old + shift)
        found = Evidence(rows, None, None, np.ones(800, bool), cases=cases)
        asked = gate_of("overshoot", OwnMetric("lower", 0.0, 100.0, "case"), "rise_at_most", 2.0)
        (result,) = judged_by(Contract((asked,), 0.95, "proof"), "c", found).results
        assert result.verdict == verdict
        assert result.original == pytest.approx(np.clip(old[:, 0] - targets, 0, None).mean(), abs=1e-12)
    refused = judge(gate_of("largest", OwnMetric("lower", 0.0, 100.0, "set"), "rise_at_most", 5.0), found)
    assert "numbers change everywhere" in refused.reason


def test_a_declaration_that_is_not_the_planned_one_ends_the_step(evidence):
    labels = labels_of(100)
    other = replace(gate_of("cost", COST, "rise_at_most", 0.5), own=replace(COST, high=6.0))
    with pytest.raises(StepError) as caught:
        judge(other, evidence(labels, labels, labels))
    assert caught.value.diagnostics[0].code == "X620"
    with pytest.raises(StepError) as caught:
        judge(gate_of("unsaid", COST, "rise_at_most", 0.5), evidence(labels, labels, labels))
    assert caught.value.diagnostics[0].code == "X620"


def test_says_what_a_declaration_lacks():
    assert declaration(cost) == COST
    for better, ends, unit in (("more", (0, 1), "case"), ("lower", (1, 1), "case"), ("lower", (0, 1), "row")):
        with pytest.raises(ValueError, match="and it is"):
            titrant.metric(better=better, range=ends, unit=unit)


def test_a_step_is_told_what_is_declared_and_a_gate_without_it_has_the_parameters_that_it_had():
    from titrant.runtime.operators.validate.contract import GateParams

    asked = gate_of("cost", COST, "rise_at_most", 0.5)
    params = GateParams(**criteria(asked))
    assert params.gate().own == COST
    plain = Gate("g", "gates", "accuracy", "all", "retention", 0.9, "score_ratio", "here")
    assert "own" not in criteria(plain)
    assert "own" not in GateParams(**criteria(plain)).model_dump()
