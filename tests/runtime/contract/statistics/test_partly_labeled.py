"""Bounds of what changes where rows that two models decide alike have no label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.statistics.partly_labeled import Changes, Denominator, net_bounds, ratio_bounds
from titrant.runtime.contract.statistics.proportions import Pairs, binomial_lower_bound


def changes(rows, lost, gained, waiting=0, units=None):
    places = np.arange(rows)
    within = (places >= lost) & (places < lost + gained)
    return Changes(places < lost, within, places if units is None else units, waiting)


# Around five changes the bound turns from exact to a score test, and the turn must not take a proof away.
@settings(max_examples=100)
@given(st.sampled_from([60, 150, 400, 3000]), st.integers(0, 8), st.integers(0, 8), st.integers(1, 8), st.data())
def test_bounds_no_less_the_more_labels_there_are(rows, lost, gained, waiting, data):
    before = changes(rows, lost + waiting, gained, waiting).bounds(0.95, 0.02)[0]
    known = data.draw(st.integers(0, waiting))
    won = data.draw(st.integers(0, known))
    gone = data.draw(st.integers(0, known - won))
    after = changes(rows, lost + gone + waiting - known, gained + won, waiting - known).bounds(0.95, 0.02)[0]
    assert before <= after + 1e-12


def test_takes_the_exact_bound_where_labels_may_still_lead_to_it():
    assert net_bounds(Pairs(0, 0, 4, 146), 0.95)[0] < net_bounds(Pairs(0, 1, 4, 145), 0.95)[0]
    assert changes(150, 1, 4, waiting=1).bounds(0.95, 0.02)[0] == net_bounds(Pairs(0, 0, 4, 146), 0.95)[0]
    assert changes(150, 1, 4).bounds(0.95, 0.02)[0] == net_bounds(Pairs(0, 1, 4, 145), 0.95)[0]


def test_bounds_the_denominator_by_two_exact_bounds():
    base, inside = np.arange(1000) < 400, np.arange(100) < 90
    over = Denominator(base, np.arange(1000), inside, np.arange(100))
    assert over.estimate == pytest.approx(0.36)
    expected = binomial_lower_bound(400, 1000, 0.9975) * binomial_lower_bound(90, 100, 0.9975)
    assert over.lower(0.005) == pytest.approx(expected)
    assert over.lower(0.005) < over.estimate < over.upper(0.005) <= 1


def test_knows_nothing_of_a_denominator_without_a_label():
    over = Denominator(np.ones(50, bool), np.arange(50), np.empty(0, bool), np.empty(0, np.int64))
    assert (over.lower(0.005), over.estimate) == (0.0, 0.0)
    lower, _ = ratio_bounds(changes(50, 1, 0), changes(50, 1, 0), over, 0.95, 0.9)
    assert lower == -np.inf


def test_counts_units_that_may_fail_whole():
    patients = np.arange(1000) // 10
    alone, together = changes(1000, 2, 2), changes(1000, 2, 2, units=patients)
    assert together.bounds(0.95, 0.02)[0] < alone.bounds(0.95, 0.02)[0]
    labels = np.arange(300) % 10 < 9
    rows = Denominator(np.ones(300, bool), np.arange(300), labels, np.arange(300))
    people = Denominator(np.ones(300, bool), np.arange(300) // 10, labels, np.arange(300) // 10)
    assert people.lower(0.005) < rows.lower(0.005)
