"""What the candidate left alone blocks nothing: groups under min_cases, and gates that allow no loss."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge
from titrant.schema.gate import Gate, gate_test

specification = importlib.util.spec_from_file_location("pieces", Path(__file__).with_name("conftest.py"))
pieces = importlib.util.module_from_spec(specification)
specification.loader.exec_module(pieces)

LARGE, SMALL = 400, 12
GROUPS = ("large",) * LARGE + ("small",) * SMALL


def gates(metric, threshold=0.8):
    """The rows that a bias preset makes of two groups: both ordered pairs, and the change within each."""
    for pair in ("large / sex.small", "small / sex.large"):
        yield Gate(
            pair, "bias", metric, f"subgroup sex.{pair}", "ratio_at_least", threshold, "group_ratio", "x", min_cases=50
        )
    for name in ("large", "small"):
        yield Gate(
            name, "bias", metric, f"subgroup sex.{name}", "retention", threshold, "score_ratio", "x", min_cases=50
        )


def verdicts(labels, original, candidate, metric, units=None):
    rows = pieces.make_rows(labels, groups=GROUPS, units=units)
    old, new = pieces.make_answers(original), pieces.make_answers(candidate)
    evidence = Evidence(rows, old, new, old.decisions == new.decisions)
    return {gate.id: judge(gate, evidence) for gate in gates(metric)}


bits = st.integers(0, 1)


@given(
    metric=st.sampled_from(("accuracy", "sensitivity", "specificity")),
    small=st.lists(st.tuples(bits, bits), min_size=SMALL, max_size=SMALL),
    wrong=st.integers(0, 60),
    changed=st.integers(0, SMALL),
    per_unit=st.sampled_from((1, 4)),
)
def test_blocks_nothing_that_the_candidate_left_alone(metric, small, wrong, changed, per_unit):
    labels = np.array([place % 2 for place in range(LARGE)] + [label for label, _ in small])
    original = np.array(labels)
    original[:wrong] = 1 - original[:wrong]
    original[LARGE:] = [answer for _, answer in small]
    units = np.arange(LARGE + SMALL) // per_unit
    for result in verdicts(labels, original, original, metric, units).values():
        assert result.verdict == "PASS", result.reason
    candidate = np.array(original)
    counted = {"accuracy": labels >= 0, "sensitivity": labels == 1, "specificity": labels == 0}[metric]
    flipped = (LARGE + np.flatnonzero(counted[LARGE:]))[:changed]
    candidate[flipped] = 1 - candidate[flipped]
    if len(flipped):
        results = verdicts(labels, original, candidate, metric, units)
        assert all(results[name].verdict == "INCONCLUSIVE" for name in results if name != "large")


@pytest.mark.parametrize(("lost", "verdict"), [(4, "PASS"), (160, "FAIL")])
def test_judges_a_pair_by_the_change_in_the_group_that_is_large_enough(lost, verdict):
    labels = np.ones(LARGE + SMALL, int)
    candidate = np.array(labels)
    candidate[:lost] = 0
    results = verdicts(labels, labels, candidate, "sensitivity")
    assert results["small"].verdict == "PASS"
    assert results["large / sex.small"].verdict == results["large"].verdict == verdict
    assert results["large / sex.small"].estimate == pytest.approx(1 - lost / LARGE)
    assert results["small / sex.large"].estimate == pytest.approx(1 / (1 - lost / LARGE))


def test_fails_a_pair_whose_large_group_alone_got_better():
    labels = np.ones(LARGE + SMALL, int)
    original = np.array(labels)
    original[:200] = 0
    result = verdicts(labels, original, labels, "sensitivity")["small / sex.large"]
    assert (result.verdict, result.estimate) == ("FAIL", 0.5)


def test_says_how_few_there_are_and_that_none_changed():
    labels = np.ones(LARGE + SMALL, int)
    result = verdicts(labels, labels, labels, "sensitivity")["small"]
    assert (result.verdict, result.estimate, result.cases, result.changed) == ("PASS", 1.0, 12, 0)
    assert result.reason == (
        "cases that count: 12 in sex.small, under 50 (min_cases), and none of their answers changed: the ratio is "
        "kept whole; at least 0.8 is needed"
    )


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold"),
    [
        ("accuracy", "retention", 1.0), ("f1", "drop_at_most", 0.0), ("auroc", "retention", 1.0),
        ("brier", "rise_at_most", 0.0), ("agreement", "at_least", 1.0), ("kept", "at_least", 1.0),
    ],
)  # fmt: skip
def test_passes_a_gate_that_allows_no_loss_by_bit_identical_answers_alone(evidence, metric, comparison, threshold):
    labels = np.arange(300) % 2
    original = np.where(np.arange(300) % 10 == 0, 1 - labels, labels)
    gate = Gate("g", "gates", metric, "all", comparison, threshold, gate_test(metric, comparison), "x")
    found = evidence(labels, original, original)
    assert judge(gate, found).verdict == "PASS"
    assert "bit for bit" in judge(gate, found).reason
    # One number off in its last bit, one case fewer than prove .99, or a gate that allows a little: nothing is counted.
    moved = found.candidate.probabilities.copy()
    moved[7] = np.nextafter(moved[7], 0.0)
    assert judge(gate, replace(found, candidate=replace(found.candidate, probabilities=moved))).verdict != "PASS"
    assert judge(gate, evidence(labels[:298], original[:298], original[:298])).verdict == "INCONCLUSIVE"
    allowed = replace(gate, threshold=0.001 if threshold == 0 else 0.999)
    assert judge(allowed, found).verdict == "INCONCLUSIVE"
