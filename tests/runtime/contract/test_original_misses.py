"""A gate that the original itself misses says so, whatever the metric; a gate against the original never does."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge
from titrant.runtime.contract.verdict import meets, original_misses
from titrant.schema.gate import Gate, gate_test

specification = importlib.util.spec_from_file_location("pieces", Path(__file__).with_name("conftest.py"))
pieces = importlib.util.module_from_spec(specification)
specification.loader.exec_module(pieces)

LABELS = np.array([0, 1] * 60)
GROUPS = ("f",) * 60 + ("m",) * 60
PAIR = "subgroup sex.f / sex.m"
ABSOLUTE = (
    *((metric, "all", "at_least") for metric in ("accuracy", "sensitivity", "specificity", "precision")),
    *((metric, "all", "at_least") for metric in ("f1", "balanced_accuracy", "auroc")),
    ("brier", "all", "at_most"),
    ("sensitivity", PAIR, "ratio_at_least"),
    ("accuracy", PAIR, "ratio_at_least"),
)
RELATIVE = (
    ("accuracy", "all", "retention"),
    ("sensitivity", "all", "drop_at_most"),
    ("brier", "all", "rise_at_most"),
    ("kept", "all", "at_least"),
    ("same_decision", "all", "at_least"),
)


def flipped(places):
    decisions = np.array(LABELS)
    decisions[list(places)] = 1 - decisions[list(places)]
    return decisions


def judged(asked, threshold, wrong, changed):
    metric, where, comparison = asked
    old = pieces.make_answers(flipped(wrong))
    new = pieces.make_answers(flipped(set(wrong) ^ set(changed)))
    evidence = Evidence(pieces.make_rows(LABELS, groups=GROUPS), old, new, old.decisions == new.decisions)
    gate = Gate("g", "gates", metric, where, comparison, threshold, gate_test(metric, comparison), "here")
    return gate, judge(gate, evidence)


places = st.sets(st.integers(0, len(LABELS) - 1), max_size=60)


@given(st.sampled_from(ABSOLUTE), st.floats(0.05, 0.99), places, places)
def test_says_so_of_what_the_original_is_on_the_wrong_side_of(asked, threshold, wrong, changed):
    gate, result = judged(asked, threshold, wrong, changed)
    missed = result.original is not None and not meets(gate, result.original) and result.verdict != "PASS"
    assert original_misses(gate, result) == missed
    assert ("the original itself misses this gate" in result.reason) == missed
    if not changed and result.assessable and not meets(gate, result.estimate):
        assert missed, "a candidate that changes nothing is blamed"


@given(st.sampled_from(RELATIVE), st.floats(0.05, 0.99), places, places)
def test_never_says_so_of_what_changed_against_the_original(asked, threshold, wrong, changed):
    gate, result = judged(asked, threshold, wrong, changed)
    assert not original_misses(gate, result)
    assert "original itself" not in result.reason


def test_says_nothing_of_it_where_the_original_is_asked_itself_or_the_gate_is_kept():
    gate, result = judged(("accuracy", "all", "at_least"), 0.9, range(40), ())
    assert original_misses(gate, result)
    assert not original_misses(replace(gate, preset="baseline"), result)
    assert not original_misses(gate, replace(result, verdict="PASS"))
