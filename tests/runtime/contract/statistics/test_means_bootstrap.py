"""Bounds by resampling."""

import numpy as np
import pytest

from titrant.runtime.contract.statistics.means import bootstrap_bounds, resampled_counts


def test_bounds_a_share_about_as_widely_as_its_standard_error():
    drawn = resampled_counts(np.array([300, 100]), np.random.default_rng(1))
    assert (drawn.sum(axis=1) == 400).all()
    low, high = bootstrap_bounds(drawn[:, 0] / 400, 0.75, 0.95)
    error = np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - 1.645 * error, abs=0.2 * error)
    assert high == pytest.approx(0.75 + 1.645 * error, abs=0.2 * error)


def test_takes_the_wider_of_the_percentile_bound_and_the_basic_one():
    low, high = bootstrap_bounds(np.linspace(0, 1, 2000) ** 3, 0.5, 0.95)
    assert low == pytest.approx(0.05**3, abs=1e-3)
    assert high == pytest.approx(2 * 0.5 - 0.05**3, abs=1e-3)


def test_has_no_bounds_when_a_resample_leaves_the_metric_undefined():
    assert bootstrap_bounds(np.array([0.5, np.nan]), 0.5, 0.95) is None
