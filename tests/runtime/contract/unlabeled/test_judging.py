"""Gates judged by rows of which only those need a label that both models decide otherwise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, Unlabeled
from titrant.runtime.contract.judge import judge, judgement
from titrant.runtime.contract.unlabeled.judging import judge_with_unlabeled
from titrant.runtime.values import Rows
from titrant.schema.gate import Contract, Gate, gate_test

CLASSES = ("benign", "malignant")


def gate_of(metric, comparison, threshold, where="all", **more):
    return Gate("g", "gates", metric, where, comparison, threshold, gate_test(metric, comparison), "here", **more)


RETENTION = gate_of("accuracy", "retention", 0.97)
DROP = gate_of("accuracy", "drop_at_most", 0.02)
KEPT = gate_of("kept", "at_least", 0.9)
SENSITIVITY = gate_of("sensitivity", "retention", 0.9)
SPECIFICITY = gate_of("specificity", "retention", 0.95)
AGREEMENT = gate_of("same_decision", "at_least", 0.97)
HELPED = (RETENTION, DROP, KEPT, SENSITIVITY, SPECIFICITY, AGREEMENT)


def answers(decisions):
    decisions = np.asarray(decisions, np.int64)
    return Answers(np.stack([1 - decisions, decisions], axis=1).astype(float), decisions)


def rows_of(labels, count, first=0, groups=None):
    return Rows(
        "evaluation", {}, labels, np.arange(count), np.arange(first, first + count, dtype=np.uint64), CLASSES, 1,
        {} if groups is None else {"sex": groups}, {} if groups is None else {"sex": ("f", "m")},
    )  # fmt: skip


def drawn(seed, count, change, right=0.9, positives=0.4):
    """Draw labels and both models' decisions of so many rows."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(count) < positives).astype(np.int64)
    original = np.where(generator.random(count) < right, labels, 1 - labels)
    candidate = np.where(generator.random(count) < change, 1 - original, original)
    return labels, original, candidate


def evidence_of(*, seed=0, labeled=300, unlabeled=2000, change=0.004, given="all", groups=False, right=0.9):
    """Make evidence of rows with labels and further ones, of which those that differ have a label: all or none."""
    labels, original, candidate = drawn(seed, labeled, change, right)
    truth, old, new = drawn(seed + 1, unlabeled, change, right)
    told = np.where((old != new) if given == "all" else False, truth, -1)
    sexes = np.arange(unlabeled) % 2 if groups else None
    further = Unlabeled(rows_of(None, unlabeled, labeled, sexes), answers(old), answers(new), told)
    rows = rows_of(labels, labeled, 0, np.arange(labeled) % 2 if groups else None)
    evidence = Evidence(rows, answers(original), answers(candidate), original == candidate, unlabeled=further)
    whole = np.concatenate([labels, truth]), np.concatenate([original, old]), np.concatenate([candidate, new])
    every = rows_of(whole[0], labeled + unlabeled)
    return evidence, Evidence(every, answers(whole[1]), answers(whole[2]), whole[1] == whole[2])


def worst(gate, result):
    return -result.upper if gate.comparison == "drop_at_most" else result.lower


def test_bounds_a_drop_as_if_every_row_had_a_label():
    evidence, every = evidence_of()
    partly, whole = judge_with_unlabeled(DROP, evidence), judge(DROP, every)
    assert (partly.estimate, partly.lower, partly.upper) == pytest.approx((whole.estimate, whole.lower, whole.upper))
    assert partly.verdict == whole.verdict == "PASS"


@pytest.mark.parametrize("gate", HELPED, ids=lambda gate: f"{gate.metric} {gate.comparison}")
def test_proves_what_the_rows_with_labels_alone_do_not(gate):
    evidence, _ = evidence_of(labeled=90, unlabeled=6000, change=0.002)
    alone = judge_with_unlabeled(gate, replace(evidence, unlabeled=None))
    assert alone == judge(gate, evidence)
    assert (alone.verdict, judge_with_unlabeled(gate, evidence).verdict) == ("INCONCLUSIVE", "PASS")


@pytest.mark.parametrize("gate", HELPED[:-1], ids=lambda gate: f"{gate.metric} {gate.comparison}")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("right", [0.9, 0.55])
def test_claims_no_more_than_labels_of_all_rows_would(gate, seed, right):
    evidence, every = evidence_of(seed=7 * seed, change=0.02, right=right)
    assert worst(gate, judge_with_unlabeled(gate, evidence)) <= worst(gate, judge(gate, every)) + 1e-9


def test_counts_what_waits_for_a_label_as_lost_and_says_what_labels_prove():
    evidence, _ = evidence_of(change=0.012, given="none")
    gate = gate_of("accuracy", "retention", 0.985)
    waiting = judge_with_unlabeled(gate, evidence)
    differ = evidence.unlabeled.original.decisions != evidence.unlabeled.candidate.decisions
    lost = np.where(differ, evidence.unlabeled.original.decisions, -1)
    all_lost = replace(evidence, unlabeled=replace(evidence.unlabeled, labels=lost))
    assert waiting.verdict == "INCONCLUSIVE"
    assert waiting.lower == judge_with_unlabeled(gate, all_lost).lower
    assert f"{differ.sum()} without a label, counted as lost" in waiting.reason
    (most,) = [int(word) for word in waiting.reason.partition("at most ")[2].split()[:1]]
    # As many lost as it says prove the gate, and one more does not.
    places = np.flatnonzero(differ)
    for count, verdict in ((most, "PASS"), (most + 1, "INCONCLUSIVE")):
        few = np.full(len(lost), -1)
        few[places] = 2  # neither model has these right
        few[places[:count]] = lost[places[:count]]
        told = replace(evidence, unlabeled=replace(evidence.unlabeled, labels=few))
        assert judge_with_unlabeled(gate, told).verdict == verdict


def test_says_where_no_label_proves_it():
    evidence, _ = evidence_of(unlabeled=120, given="none", change=0.05)
    assert (
        "no label of theirs proves it" in judge_with_unlabeled(gate_of("accuracy", "retention", 0.999), evidence).reason
    )


def test_needs_no_label_where_few_rows_differ():
    evidence, _ = evidence_of(unlabeled=20_000, change=0.001, given="none")
    result = judge_with_unlabeled(RETENTION, evidence)
    assert result.verdict == "PASS"
    assert "it is proven without their labels" in result.reason


# Labels come in one by one, in any order: what is proven before stays proven, so stopping early errs no more often. Nor
# does anything fail that further labels could save.
@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from(HELPED[:-1]), st.floats(0.002, 0.3), st.floats(0, 1), st.floats(0, 1))
def test_proves_and_refutes_no_less_with_more_labels(seed, gate, change, some, more):
    evidence, _ = evidence_of(seed=seed, labeled=120, unlabeled=400, change=change)
    order = np.random.default_rng(seed).random(400)
    results = []
    for share in sorted((some, more)):
        labels = np.where(order < share, evidence.unlabeled.labels, -1)
        told = replace(evidence, unlabeled=replace(evidence.unlabeled, labels=labels))
        results.append(judge_with_unlabeled(gate, told))
    fewer, most = results
    assert fewer.lower <= most.lower + 1e-12
    assert fewer.upper is None or most.upper <= fewer.upper + 1e-12


def test_does_not_make_up_for_a_lost_case_by_another_that_was_never_caught():
    evidence, _ = evidence_of(change=0.0, right=0.7)
    further = evidence.unlabeled
    truth, old, _ = drawn(1, 2000, 0.0, 0.7)
    caught, missed = (np.flatnonzero((truth == 1) & (old == decided)) for decided in (1, 0))
    lost, also_gained = old.copy(), old.copy()
    lost[caught[:20]] = also_gained[caught[:20]] = 0
    also_gained[missed[:20]] = 1
    bounds = [
        judge_with_unlabeled(
            KEPT,
            replace(
                evidence, unlabeled=replace(further, candidate=answers(new), labels=np.where(new != old, truth, -1))
            ),
        ).lower
        for new in (lost, also_gained)
    ]
    assert bounds[0] == bounds[1] < 1


# A label of a row that both decide alike was not chosen by chance: nothing is concluded from it.
@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from(HELPED))
def test_draws_nothing_from_labels_of_rows_that_are_decided_alike(seed, gate):
    evidence, _ = evidence_of(seed=seed, labeled=120, unlabeled=300, change=0.02)
    further = evidence.unlabeled
    alike = further.original.decisions == further.candidate.decisions
    random = np.random.default_rng(seed).integers(0, 2, 300)
    told = replace(evidence, unlabeled=replace(further, labels=np.where(alike, random, further.labels)))
    first, second = judge_with_unlabeled(gate, evidence), judge_with_unlabeled(gate, told)
    assert (first.verdict, first.lower, first.upper) == (second.verdict, second.lower, second.upper)


def test_fails_where_even_the_favourable_bound_misses():
    evidence, _ = evidence_of(change=0.2)
    assert judge_with_unlabeled(RETENTION, evidence).verdict == judge_with_unlabeled(DROP, evidence).verdict == "FAIL"
    evidence, _ = evidence_of(change=0.2, given="none")
    assert judge_with_unlabeled(RETENTION, evidence).verdict != "PASS"


@pytest.mark.parametrize(
    "gate",
    [
        gate_of("brier", "rise_at_most", 0.02), gate_of("auroc", "retention", 0.9), gate_of("f1", "retention", 0.9),
        gate_of("accuracy", "at_least", 0.5), gate_of("accuracy", "retention", 0.9, "class benign"),
        gate_of("accuracy", "rise_at_most", 0.5), gate_of("precision", "at_least", 0.5),
    ],
)  # fmt: skip
def test_judges_by_labeled_rows_alone_what_needs_every_label(gate):
    evidence, _ = evidence_of()
    assert judge_with_unlabeled(gate, evidence) == judge(gate, replace(evidence, unlabeled=None))


def test_looks_at_the_rows_of_a_subgroup_alone():
    evidence, _ = evidence_of(groups=True)
    women = gate_of("accuracy", "retention", 0.9, "subgroup sex.f")
    before = judge_with_unlabeled(women, evidence)
    assert "of 1,000 cases without labels" in before.reason
    further = evidence.unlabeled
    men = further.rows.subgroups["sex"] == 1
    spoiled = np.where(men, 1 - further.original.decisions, further.candidate.decisions)
    changed = replace(evidence, unlabeled=replace(further, candidate=answers(spoiled)))
    assert judge_with_unlabeled(women, changed) == before
    assert judge_with_unlabeled(RETENTION, changed).verdict != "PASS"


@pytest.mark.parametrize(("least", "verdict"), [(231, "INCONCLUSIVE"), (200, "PASS")])
def test_concludes_nothing_of_a_group_under_min_cases(least, verdict):
    evidence, _ = evidence_of(labeled=60, unlabeled=400, change=0.001, groups=True)
    gate = gate_of("accuracy", "retention", 0.5, "subgroup sex.f", min_cases=least)
    result = judge_with_unlabeled(gate, evidence)
    assert result.verdict == verdict
    assert ("min_cases" in result.reason) == (verdict == "INCONCLUSIVE")


# What is said of many rows must not tell of few: neither of those of a value, nor of what is left of the others.
@pytest.mark.parametrize("few", [1, 4, 60])
def test_leaves_out_a_subgroup_of_which_a_value_has_few_further_rows(few):
    evidence, _ = evidence_of(groups=True)
    further = evidence.unlabeled
    groups = np.where(np.arange(len(further.rows)) < few, 1, 0)
    small = replace(evidence, unlabeled=replace(further, rows=replace(further.rows, subgroups={"sex": groups})))
    for value in ("f", "m"):
        gate = gate_of("accuracy", "retention", 0.9, f"subgroup sex.{value}")
        assert judge_with_unlabeled(gate, small) == judge(gate, small)
    assert "cases without labels" in judge_with_unlabeled(RETENTION, small).reason


def test_counts_the_labeled_cases_alone_as_cases():
    evidence, _ = evidence_of()
    assert judge_with_unlabeled(RETENTION, evidence).cases == 300


def test_counts_rows_of_one_person_as_one_case():
    evidence, _ = evidence_of(change=0.001)
    alone = judge_with_unlabeled(DROP, evidence)
    rows, further = evidence.rows, evidence.unlabeled
    people = replace(
        evidence,
        rows=replace(rows, units=np.arange(len(rows)) // 10),
        unlabeled=replace(further, rows=replace(further.rows, units=np.arange(len(further.rows)) // 10)),
    )
    assert judge_with_unlabeled(DROP, people).upper > alone.upper
    assert judge_with_unlabeled(RETENTION, people).lower < judge_with_unlabeled(RETENTION, evidence).lower


def test_allows_no_loss_only_where_every_number_of_every_row_is_the_same():
    same = evidence_of(change=0.0)[0]
    whole = gate_of("accuracy", "retention", 1.0)
    assert judge_with_unlabeled(whole, same).verdict == "PASS"
    further = same.unlabeled
    moved = further.candidate.probabilities.copy()
    moved[5] = [0.4, 0.6] if further.candidate.decisions[5] else [0.6, 0.4]
    other = replace(same, unlabeled=replace(further, candidate=Answers(moved, further.candidate.decisions)))
    assert judge_with_unlabeled(whole, other).verdict == "INCONCLUSIVE"


def test_puts_gates_to_answers_that_are_broken_on_all_rows():
    evidence, _ = evidence_of(labeled=200, unlabeled=20_000, change=0.001)
    contract = Contract((RETENTION, DROP, KEPT, SENSITIVITY, SPECIFICITY, AGREEMENT), 0.95, "proof")
    contract = replace(contract, gates=tuple(replace(gate, id=str(place)) for place, gate in enumerate(contract.gates)))
    judged = judgement(contract, "c", evidence, judge_with_unlabeled)
    assert [result.verdict for result in judged.results] == ["PASS"] * 6
    assert all(result.refused == ("permuted", "broken") for result in judged.results)
    assert judged.released


@pytest.mark.parametrize("gate", [RETENTION, DROP, KEPT])
def test_judges_by_labeled_rows_alone_in_open_looks_where_labels_are_needed(gate):
    evidence, _ = evidence_of(labeled=3000)
    evidence = replace(evidence, always_valid=True)
    result = judge_with_unlabeled(gate, evidence)
    assert result == judge(gate, evidence)
    assert result.p_value is not None


def test_counts_rows_without_labels_by_bets_in_open_looks_where_no_label_is_needed():
    evidence, every = (replace(found, always_valid=True) for found in evidence_of(labeled=300, change=0.001))
    gate = gate_of("same_decision", "at_least", 0.99)
    result = judge_with_unlabeled(gate, evidence)
    assert (result.verdict, result.cases) == ("PASS", 2300)
    assert result.p_value is not None
    assert result.p_value < judge(gate, replace(evidence, unlabeled=None)).p_value
    assert result.p_value == judge(gate, every).p_value
