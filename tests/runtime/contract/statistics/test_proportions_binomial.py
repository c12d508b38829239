"""Exact bounds of a proportion."""

import pytest
from scipy import stats  # noqa: TID253 - the independent computation

from titrant.runtime.contract.statistics.proportions import binomial_lower_bound, binomial_upper_bound


@pytest.mark.parametrize(("count", "cases"), [(63, 63), (60, 63), (1, 20), (0, 10), (150, 171)])
def test_agrees_with_scipys_exact_interval(count, cases):
    expected = stats.binomtest(count, cases).proportion_ci(0.90, method="exact")
    assert binomial_lower_bound(count, cases, 0.95) == pytest.approx(expected.low)
    assert binomial_upper_bound(count, cases, 0.95) == pytest.approx(expected.high)


def test_proves_a_share_with_no_loss_from_as_many_cases_as_the_design_says():
    assert binomial_lower_bound(148, 148, 0.95) < 0.98 <= binomial_lower_bound(149, 149, 0.95)
    assert binomial_lower_bound(298, 298, 0.95) < 0.99 <= binomial_lower_bound(299, 299, 0.95)


def test_bounds_fractions_of_cases_between_the_whole_ones():
    assert (
        binomial_lower_bound(50, 50, 0.95) < binomial_lower_bound(50.5, 50.5, 0.95) < binomial_lower_bound(51, 51, 0.95)
    )
