"""What a candidate keeps on tuning rows is bounded as the contract bounds it, from counts alone."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge
from titrant.runtime.contract.statistics.proportions import Pairs, paired_ratio_lower_bound
from titrant.runtime.contract.statistics.units import effective_share
from titrant.runtime.contract.tuning_bound import counts_of, tuning_bound

ROUNDS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def recorded(evidence):
    """What validate.measure records, as it is read back."""
    return {"pairs": json.loads(json.dumps(counts_of(evidence)))}


@ROUNDS
@given(
    st.tuples(st.integers(20, 400), st.floats(0, 0.3), st.floats(0, 0.3), st.integers(0, 99)),
    st.sampled_from([0.9, 0.95, 0.99]),
)
def test_bounds_what_is_kept_as_the_gate_does(evidence, gate, drawn, confidence):
    cases, wrong, changed, seed = drawn
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, cases)
    original = np.where(generator.random(cases) < wrong, 1 - labels, labels)
    candidate = np.where(generator.random(cases) < changed, 1 - original, original)
    seen = evidence(labels, original, candidate, confidence=confidence)
    verdict = judge(gate("score_ratio", "accuracy", "retention", 0.95), seen)
    bound = tuning_bound(recorded(seen), 0.95, confidence)
    assert bound.lower == pytest.approx(verdict.lower)
    assert bound.kept == pytest.approx(verdict.estimate)
    assert bound.rows == cases


@ROUNDS
@given(st.integers(2, 6), st.sampled_from([0.9, 0.97]))
def test_counts_rows_of_one_unit_as_fewer_cases(evidence, size, retention):
    labels = np.tile([0, 1], 90)
    candidate = labels.copy()
    candidate[:6] = 1 - candidate[:6]
    alone = evidence(labels, labels, candidate)
    # Half of the rows are of units with several.
    units = np.where(np.arange(180) < 90, np.arange(180) // size, np.arange(180) + 1000)
    together = evidence(labels, labels, candidate, units=units)
    assert "units" not in recorded(alone)["pairs"]
    assert sum(int(rows) * count for rows, count in recorded(together)["pairs"]["units"].items()) == 180
    bound = tuning_bound(recorded(together), retention)
    assert bound.lower < tuning_bound(recorded(alone), retention).lower
    counts = Pairs(174, 6, 0, 0).times(effective_share(units, 1 - retention))
    assert bound.lower == pytest.approx(paired_ratio_lower_bound(counts, 0.95)[0])


def test_counts_equal_answers_where_there_are_no_labels(rows):
    alike = np.array([True] * 95 + [False] * 5)
    bound = tuning_bound(recorded(Evidence(rows(np.zeros(100)), None, None, alike)), 0.9)
    assert bound.kept == 0.95
    assert 0.89 < bound.lower < 0.95


def test_bounds_nothing_that_was_not_counted(evidence):
    assert tuning_bound({"retention": 0.99}, 0.95) is None
    none_right = evidence([1, 1], [0, 0], [1, 1])
    assert tuning_bound(recorded(none_right), 0.95) is None


def test_keeps_more_surely_what_was_seen_on_more_rows():
    few, many = ({"pairs": {"both": 90 * n, "lost": n, "gained": n, "neither": 8 * n}} for n in (2, 20))
    assert tuning_bound(few, 0.98).lower < 0.98 < tuning_bound(many, 0.98).lower
