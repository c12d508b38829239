"""What rows of one unit are worth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.statistics.compared import compare_means
from titrant.runtime.contract.statistics.means import mean_upper_bound, refutes
from titrant.runtime.contract.statistics.units import bases, effective_share, unit_count

SIZES = st.lists(st.integers(1, 12), min_size=2, max_size=60)


def numbered(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def test_leaves_rows_alone_that_are_units_of_their_own():
    assert effective_share(np.arange(9), 0.02) == 1.0
    assert unit_count(np.arange(9)) == 9


@pytest.mark.parametrize("rows", [2, 5, 20])
def test_counts_the_rows_of_equal_units_as_one_case(rows):
    assert effective_share(np.repeat(np.arange(200), rows), 0.02) == pytest.approx(1 / rows)


@given(SIZES, st.floats(0.005, 0.5))
def test_reckons_with_at_most_as_many_cases_as_units_and_no_fewer_than_largest_ones(sizes, loss):
    units = numbered(sizes)
    share = effective_share(units, loss)
    assert 1 / max(sizes) - 1e-9 <= share <= len(sizes) / len(units) + 1e-9


@given(SIZES, st.floats(0.01, 0.3), st.integers(0, 2**32 - 1))
def test_finds_the_pattern_of_failing_units_that_is_seen_least(sizes, loss, seed):
    # No chances to fail with this loss leave everything whole more often than the factor says.
    units = numbered(sizes)
    cases = effective_share(units, loss) * len(units)
    generator = np.random.default_rng(seed)
    fails = generator.random(len(sizes)) ** generator.integers(1, 9) * np.array(sizes) ** generator.integers(0, 4)
    for _ in range(60):
        fails = np.minimum(1.0, fails * loss * len(units) / max(float(fails @ sizes), 1e-12))
    if float(fails @ sizes) >= loss * len(units) * (1 - 1e-9) and fails.max() < 1:
        assert np.log1p(-fails).sum() <= cases * math.log1p(-loss) + 1e-6


def test_is_hardly_moved_by_a_few_copies():
    sizes = np.ones(1000, int)
    sizes[:3] = 2
    assert effective_share(numbered(sizes), 0.02) > 0.9
    # The bound of .003 is three rows, as many as the copies are: that they fail first is reckoned with.
    values = np.zeros(sizes.sum())
    assert mean_upper_bound(values, numbered(sizes), 0.95) < 1.35 * mean_upper_bound(values, np.arange(1003), 0.95)


@given(SIZES)
def test_weighs_bets_so_that_no_pattern_has_an_expectation_above_one(sizes):
    stakes = np.array([1.0, 0.6, 0.1])
    weighed = bases(np.array(sizes), stakes)
    generator = np.random.default_rng(len(sizes))
    for _ in range(20):
        means = np.maximum(generator.normal(0, 1, len(sizes)) ** 3, -1.0)
        means = np.maximum(means - np.average(means, weights=sizes), -1.0)
        if np.average(means, weights=sizes) > 0:
            means -= np.average(means + 1, weights=sizes) * (1 - 1 / np.average(means + 1, weights=sizes))
        if np.average(means, weights=sizes) > 1e-9 or means.min() < -1:
            continue
        for stake, correction in zip(stakes, weighed.corrections, strict=True):
            with np.errstate(divide="ignore"):
                assert float(weighed.exponents @ np.log1p(stake * means)) <= correction + 1e-6


def test_keeps_its_promise_where_whole_units_fail_behind_scattered_flips():
    # 60 patients of 5 to 20 rows: one row in two hundred flips either way, one patient in twenty fails whole.
    generator = np.random.default_rng(7)
    wrong, runs = 0, 150
    for _ in range(runs):
        units = numbered(generator.integers(5, 21, 60))
        original = generator.random(len(units)) < 0.95
        candidate = original ^ (generator.random(len(units)) < 0.005)
        candidate &= ~(generator.random(60) < 0.05)[units]
        wrong += compare_means("retention", original, candidate, units, confidence=0.95).proves(0.95)
    assert wrong / runs <= 0.05


@settings(deadline=None, max_examples=30)
@given(SIZES, st.floats(0, 0.3), st.integers(0, 2**16), st.sampled_from(["retention", "drop_at_most", "at_least"]))
def test_never_proves_more_once_a_row_more_is_lost(sizes, rate, seed, comparison):
    generator = np.random.default_rng(seed)
    units = numbered(sizes)
    original = np.ones(len(units))
    candidate = (generator.random(len(units)) >= rate).astype(float)
    worse = candidate.copy()
    worse[generator.integers(len(units))] = 0.0
    sign = -1 if comparison == "drop_at_most" else 1
    side = 1 if comparison == "drop_at_most" else 0
    if not candidate.any() or not worse.any():
        return
    before, after = (
        compare_means(comparison, original, answers, units, confidence=0.95).bounds()[side]
        for answers in (candidate, worse)
    )
    assert sign * after <= sign * before + 1e-9


@settings(deadline=None, max_examples=30)
@given(SIZES, st.integers(0, 2**16))
def test_does_not_depend_on_the_order_of_rows_nor_on_the_names_of_units(sizes, seed):
    generator = np.random.default_rng(seed)
    units = numbered(sizes)
    values = generator.random(len(units)) < 0.1
    order = generator.permutation(len(units))
    names = generator.permutation(len(sizes)) * 7
    assert mean_upper_bound(values[order].astype(float), names[units[order]], 0.95) == pytest.approx(
        mean_upper_bound(values.astype(float), units, 0.95)
    )


def test_counts_more_evidence_as_more_units():
    units = numbered([3, 1, 4, 1, 5] * 20)
    values = np.zeros(len(units))
    bound = mean_upper_bound(values, units, 0.95)
    assert not refutes(values, units, 0.6 * bound, 0.95)
    assert refutes(values, units, 0.6 * bound, 0.95, times=2.0)
