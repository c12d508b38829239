"""Margins: which gate comes closest to breaking."""

import copy

import pytest

from titrant.runtime.report.contract import margin, weakest
from titrant.runtime.report.page import page
from titrant.runtime.report.record_view import read_record
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


def test_takes_what_asks_for_a_whole_for_the_weakest_only_where_it_is_missed(records):
    made = copy.deepcopy(records.released())
    asked = made["plan"]["contract"]["gates"]
    asked.append(asked[0] | {"id": "executed", "preset": "executed", "test": "read_back", "threshold": 1.0})
    judged = next(one for one in made["run"]["candidates"] if one["status"] == "released")["judgement"]
    whole = {"gate": "executed", "verdict": "PASS", "estimate": 1.0, "lower": 1.0, "upper": 1.0}
    before = page(read_record(made)).stories[0].contract.weakest.gate
    judged["results"].append(judged["results"][0] | whole)
    assert page(read_record(made)).stories[0].contract.weakest.gate == before
    judged["results"][-1] |= {"verdict": "FAIL", "estimate": 0.9, "lower": 0.9, "upper": 0.9}
    assert page(read_record(made)).stories[0].contract.weakest.gate == "executed"


def test_says_what_kept_a_gate_from_being_assessed():
    assert judged("at_least", 0.9, None, None).sentence == "accuracy: not assessable, why"
