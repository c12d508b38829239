"""Bounds of percentiles."""

import numpy as np
import pytest
from scipy import stats  # noqa: TID253 - the independent computation

from titrant.runtime.contract.statistics.means import percentile_bounds


def test_needs_59_runs_to_bound_the_95th_percentile():
    assert percentile_bounds(list(range(58)), 0.95, 0.95)[1] is None
    assert percentile_bounds(list(range(59)), 0.95, 0.95)[1] == 58


def test_has_no_bounds_without_runs():
    assert percentile_bounds([], 0.5, 0.95) == (None, None)


@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize("runs", [59, 100, 333])
def test_holds_for_at_least_the_stated_share_of_samples(share, runs):
    lower, upper = percentile_bounds(list(range(runs)), share, 0.95)
    # Sample k (from 0) lies above the quantile when at most k of all lie below it.
    assert stats.binom.cdf(upper, runs, share) >= 0.95
    assert stats.binom.cdf(upper - 1, runs, share) < 0.95
    assert lower is None or stats.binom.sf(lower, runs, share) >= 0.95


def test_covers_the_median_of_a_skewed_time():
    samples = np.random.default_rng(0).lognormal(size=(800, 60))
    covered = [percentile_bounds(np.sort(row).tolist(), 0.5, 0.95)[1] >= 1.0 for row in samples]
    assert np.mean(covered) >= 0.95 - 0.02
