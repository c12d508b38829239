"""What a candidate keeps on tuning rows is bounded as the contract bounds it, from counts alone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge
from titrant.runtime.contract.statistics.proportions import Pairs, paired_ratio_lower_bound
from titrant.runtime.contract.statistics.tuning_bound import counts_of, tuning_bound
from titrant.runtime.contract.statistics.units import effective_share
from titrant.runtime.values import Rows
from titrant.schema.gate import Gate

ROUNDS = settings(max_examples=40, deadline=None)


def rows_of(labels):
    numbers = np.arange(len(labels))
    return Rows("evaluation", {}, labels, numbers, numbers.astype(np.uint64), ("benign", "malignant"), 1)


def recorded(original, candidate, units=None):
    """What validate.measure records, as it is read back."""
    units = np.arange(len(original)) if units is None else units
    return {"pairs": json.loads(json.dumps(counts_of(original, candidate, units)))}


@ROUNDS
@given(
    st.tuples(st.integers(20, 400), st.floats(0, 0.3), st.floats(0, 0.3), st.integers(0, 99)),
    st.sampled_from([0.9, 0.95, 0.99]),
)
def test_bounds_what_is_kept_as_the_gate_does(drawn, confidence):
    cases, wrong, changed, seed = drawn
    generator = np.random.default_rng(seed)
    rows = rows_of(generator.integers(0, 2, cases))
    original = np.where(generator.random(cases) < wrong, 1 - rows.labels, rows.labels)
    candidate = np.where(generator.random(cases) < changed, 1 - original, original)
    before, after = (Answers(np.eye(2)[decisions], decisions) for decisions in (original, candidate))
    gate = Gate("g", "retention", "accuracy", "all", "retention", 0.95, "score_ratio", "here")
    verdict = judge(gate, Evidence(rows, before, after, original == candidate, confidence=confidence))
    bound = tuning_bound(recorded(original == rows.labels, candidate == rows.labels), 0.95, confidence)
    assert bound.lower == pytest.approx(verdict.lower)
    assert bound.kept == pytest.approx(verdict.estimate)
    assert bound.rows == cases


@ROUNDS
@given(st.integers(2, 6), st.sampled_from([0.9, 0.97]))
def test_counts_rows_of_one_unit_as_fewer_cases(size, retention):
    original, candidate = np.ones(180, bool), np.arange(180) >= 6
    # Half of the rows are of units with several.
    units = np.where(np.arange(180) < 90, np.arange(180) // size, np.arange(180) + 1000)
    together, alone = recorded(original, candidate, units), recorded(original, candidate)
    assert "units" not in alone["pairs"]
    assert sum(int(rows) * count for rows, count in together["pairs"]["units"].items()) == 180
    bound = tuning_bound(together, retention)
    assert bound.lower < tuning_bound(alone, retention).lower
    counts = Pairs(174, 6, 0, 0).times(effective_share(units, 1 - retention))
    assert bound.lower == pytest.approx(paired_ratio_lower_bound(counts, 0.95)[0])


def test_bounds_nothing_that_was_not_counted():
    assert tuning_bound({"retention": 0.99}, 0.95) is None
    assert tuning_bound(recorded(np.zeros(2, bool), np.ones(2, bool)), 0.95) is None


def test_keeps_more_surely_what_was_seen_on_more_rows():
    few, many = ({"pairs": {"both": 90 * n, "lost": n, "gained": n, "neither": 8 * n}} for n in (2, 20))
    assert tuning_bound(few, 0.98).lower < 0.98 < tuning_bound(many, 0.98).lower
