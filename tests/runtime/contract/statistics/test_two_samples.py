"""The ratio and the mean of two samples' shares are proven only where every point of the claim is refuted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.statistics import two_samples
from titrant.runtime.contract.statistics.two_samples import (
    mean_bounds,
    mean_log_wealth,
    ratio_bounds,
    ratio_log_wealth,
    sample,
)


def of(good, count):
    return sample(np.arange(count) < good, np.arange(count))


def at_points(first, second, pairs):
    """Add up both samples' wealth at points of a claim's border, without cells."""
    claims = np.array(pairs)
    wealth = two_samples._log_wealths
    return wealth(first, claims[:, 0]) + wealth(second, claims[:, 1])


shares = st.tuples(st.integers(20, 400), st.floats(0.3, 1.0)).map(
    lambda drawn: of(round(drawn[0] * drawn[1]), drawn[0])
)


@settings(max_examples=40)
@given(shares, shares, st.floats(0.5, 1.2))
def test_wins_at_no_point_of_the_border_less_than_it_says(first, second, ratio):
    places = np.linspace(0.001, 1, 700)
    points = at_points(first.good, second.bad, [(ratio * place, 1 - place) for place in places])
    least = ratio_log_wealth(first, second, ratio)
    assert least <= points.min() + 1e-9
    assert least >= points.min() - 0.2 * (1 + abs(points.min()))
    mean = min(ratio, 0.95)
    low, high = max(0.0, 2 * mean - 1), min(1.0, 2 * mean)
    pairs = [(one, 2 * mean - one) for one in np.linspace(low + 1e-3, high - 1e-3, 700)]
    assert mean_log_wealth(first, second, mean) <= at_points(first.good, second.good, pairs).min() + 1e-9


@pytest.mark.parametrize(("good", "other"), [(270, 270), (300, 300), (270, 300), (0, 300)])
def test_bounds_lie_around_the_estimate_and_prove_what_the_wealth_proves(good, other):
    first, second = of(good, 300), of(other, 300)
    due = -np.log(0.05)
    for threshold in (0.7, 0.85, 0.9, 1.0):
        lower, upper = ratio_bounds(first, second, threshold, 0.95)
        assert lower <= first.share / second.share <= upper
        assert (lower >= threshold) == (ratio_log_wealth(first, second, threshold) >= due)
        below, above = mean_bounds(first, second, threshold, 0.95)
        assert below <= (first.share + second.share) / 2 <= above
        assert (below >= threshold) == (mean_log_wealth(first, second, threshold) >= due)


def test_passes_groups_at_the_margin_in_one_of_twenty_growing_sets_at_most():
    """Ten looks at growing groups whose ratio is just what is forbidden; the seed is fixed."""
    rng, runs, wrong = np.random.default_rng(3), 100, 0
    for _ in range(runs):
        first, second = rng.random(600) < 0.9 * 0.8, rng.random(600) < 0.9
        wrong += any(
            ratio_log_wealth(sample(first[:n], np.arange(n)), sample(second[:n], np.arange(n)), 0.8) >= -np.log(0.05)
            for n in range(60, 601, 60)
        )
    assert wrong <= 0.05 * runs + 3 * (0.05 * 0.95 * runs) ** 0.5
