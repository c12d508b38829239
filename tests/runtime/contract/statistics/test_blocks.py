"""Runs in blocks that lie apart in time."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.statistics.blocks import DEPENDENCE_LEVEL, block_percentile_bounds, spells
from titrant.schema.cases import blocks_for_percentile


def test_gives_the_exact_chance_of_so_few_runs():
    # Three slow of eight, all beside each other: six of the 56 orders.
    seconds = np.array([1, 1, 1, 2, 2, 2, 1, 1.0]) + np.arange(8) * 1e-6
    slow = [order for order in itertools.combinations(range(8), 3) if order[2] - order[0] == 2]
    assert len(slow) == 6
    half = np.array([1, 1, 2, 2, 2, 2, 1, 1.0]) + np.arange(8) * 1e-6
    assert spells(half, [1] * 8) == pytest.approx(2 * 5 / 70)  # four of eight in one run
    assert spells(seconds, [1] * 8) <= 1.0


def test_finds_spells_and_leaves_independent_runs_alone():
    generator = np.random.default_rng(0)
    quiet = generator.lognormal(0, 0.03, 80)
    assert spells(quiet, [1] * 80) > DEPENDENCE_LEVEL
    slowed = quiet.copy()
    slowed[20:28] *= 1.5
    assert spells(slowed, [1] * 80) <= DEPENDENCE_LEVEL
    drifting = quiet * np.linspace(1, 1.5, 80)
    assert spells(drifting, [1] * 80) <= DEPENDENCE_LEVEL


def test_refuses_independent_runs_no_more_often_than_it_says():
    generator = np.random.default_rng(1)
    refused = sum(spells(generator.lognormal(0, 0.1, 70), [1] * 70) <= DEPENDENCE_LEVEL for _ in range(1000))
    assert refused / 1000 <= DEPENDENCE_LEVEL + 3 * (DEPENDENCE_LEVEL / 1000) ** 0.5


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_needs_as_many_blocks_as_the_plan_says(share):
    blocks = blocks_for_percentile(share)
    samples = np.random.default_rng(2).random(5 * blocks)
    assert block_percentile_bounds(samples, [5] * blocks, share, 0.95)[1] is not None
    assert block_percentile_bounds(samples[5:], [5] * (blocks - 1), share, 0.95)[1] is None


def test_takes_a_block_for_one_thing_however_many_runs_it_has():
    quiet = np.random.default_rng(3).random(70)
    one = block_percentile_bounds(quiet, [1] * 70, 0.5, 0.95)
    repeated = block_percentile_bounds(np.repeat(quiet, 6), [6] * 70, 0.5, 0.95)
    assert repeated == one


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 4), st.sampled_from([0.5, 0.9]), st.floats(0.1, 10))
def test_bounds_contain_the_sample_quantile_and_scale_with_the_clock(seed, runs, share, scale):
    samples = np.random.default_rng(seed).lognormal(0, 0.3, 80 * runs)
    lower, upper = block_percentile_bounds(samples, [runs] * 80, share, 0.95)
    middle = float(np.quantile(samples, share, method="inverted_cdf"))
    assert lower <= middle <= upper
    scaled = block_percentile_bounds(samples * scale, [runs] * 80, share, 0.95)
    assert scaled == pytest.approx((lower * scale, upper * scale))
