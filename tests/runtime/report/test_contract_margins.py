"""Margins: which gate comes closest to breaking."""

import pytest

from titrant.runtime.report.contract import margin, weakest
from titrant.schema.gate import Gate, GateResult


def judged(comparison, threshold, lower, upper, unit=""):
    gate = Gate("g", "gates", "accuracy", "all", comparison, threshold, "test", "here", unit)
    estimate = None if lower is None else (lower + upper) / 2
    return margin(gate, GateResult("g", "PASS", estimate, lower, upper, None, None, 100, None, None, "why", ""))


@pytest.mark.parametrize(
    ("comparison", "threshold", "lower", "upper", "left"),
    [
        ("retention", 0.97, 0.985, 1.0, 0.5),
        ("at_least", 0.9, 0.8, 0.95, -1.0),
        ("rise_at_most", 0.02, -0.01, 0.01, 0.5),
        ("at_most", 200.0, 50.0, 50.0, 0.75),
        ("drop_at_most", 0.0, -0.2, -0.1, 0.1),
    ],
)
def test_is_the_share_of_the_allowance_that_the_bound_leaves(comparison, threshold, lower, upper, left):
    assert judged(comparison, threshold, lower, upper).left == pytest.approx(left)


def test_reads_the_bound_that_decides():
    assert "lower bound 0.9850" in judged("retention", 0.97, 0.985, 1.0).sentence
    assert "upper bound 0.0100" in judged("rise_at_most", 0.02, -0.01, 0.01).sentence


def test_never_rounds_a_miss_into_a_hit():
    assert "lower bound 0.96998 against ≥ 0.97" in judged("at_least", 0.97, 0.96998, 1.0).sentence
    assert "just above 5 ms against ≤ 5 ms" in judged("at_most", 5e-3, 5.0001e-3, 5.0001e-3, "s").sentence


def test_puts_what_cannot_be_assessed_first():
    wide, missing = judged("at_least", 0.9, 0.1, 0.95), judged("at_least", 0.9, None, None)
    assert weakest([wide, missing]) is missing
    assert weakest([judged("at_least", 0.9, 0.95, 1.0), wide]) is wide
    assert weakest([]) is None


def test_says_what_kept_a_gate_from_being_assessed():
    assert judged("at_least", 0.9, None, None).sentence == "accuracy: not assessable, why"
