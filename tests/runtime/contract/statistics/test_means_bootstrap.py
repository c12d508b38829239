"""Bounds by resampling."""

import numpy as np
import pytest

from titrant.runtime.contract.statistics.means import bootstrap_bounds


def test_bounds_a_mean_about_as_widely_as_its_standard_error():
    values = np.random.default_rng(0).normal(0, 1, 400)
    low, high = bootstrap_bounds(
        lambda i: values[i].mean(), values.mean(), np.arange(400), 0.95, np.random.default_rng(1)
    )
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.645 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.645 * error, abs=0.2 * error)


def test_resamples_whole_units():
    values = np.repeat(np.random.default_rng(0).normal(0, 1, 100), 9)
    units = np.repeat(np.arange(100), 9)
    alone = bootstrap_bounds(lambda i: values[i].mean(), values.mean(), np.arange(900), 0.95, np.random.default_rng(1))
    whole = bootstrap_bounds(lambda i: values[i].mean(), values.mean(), units, 0.95, np.random.default_rng(1))
    assert whole[1] - whole[0] > 2.5 * (alone[1] - alone[0])


def test_has_no_bounds_when_a_resample_leaves_the_metric_undefined():
    assert bootstrap_bounds(lambda i: None, 0.5, np.arange(5), 0.95, np.random.default_rng(0)) is None
