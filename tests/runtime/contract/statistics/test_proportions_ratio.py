"""The ratio of paired proportions."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy import optimize, special, stats  # noqa: TID253 - the independent computation

from titrant.runtime.contract.statistics import proportions
from titrant.runtime.contract.statistics.proportions import (
    PAIRED_RATIO_EXACT,
    PAIRED_RATIO_SCORE,
    Pairs,
    paired_ratio_lower_bound,
    paired_ratio_statistic,
    paired_ratio_upper_bound,
    score_lower,
)

Z = NormalDist().inv_cdf(0.95)
COUNTS = [
    Pairs(165, 2, 2, 2), Pairs(160, 3, 3, 5), Pairs(80, 9, 4, 7), Pairs(400, 1, 12, 30),
    Pairs(20, 5, 1, 0), Pairs(1500, 20, 22, 100), Pairs(10, 6, 9, 0),
]  # fmt: skip


def by_optimizing(counts: Pairs, ratio: float) -> float:
    """The score statistic from a numerical maximum of the likelihood under H0 and the variance of its definition."""
    n = counts.cases

    low, high = 1 / (1 + ratio), min(1.0, 1 / ratio)

    def cells(free):
        # Free numbers → the share that either has right, and the original's part of it between its limits under H0.
        either, part = special.expit(free)
        original = either * (low + (high - low) * part)
        return np.array([(1 + ratio) * original - either, either - ratio * original, either - original, 1 - either])

    def loss(free):
        seen = np.array([counts.both, counts.lost, counts.gained, counts.neither])
        return -np.sum(seen * np.log(np.maximum(cells(free), 1e-300)))

    options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 9000, "maxfev": 9000}
    starts = [(2.0, part) for part in (-2.0, 0.0, 2.0, 5.0)]
    found = [optimize.minimize(loss, start, method="Nelder-Mead", options=options) for start in starts]
    best = min(found, key=lambda one: one.fun)
    both, lost, gained, _ = cells(best.x)
    original, candidate = both + lost, both + gained
    variance = candidate + ratio**2 * original - 2 * ratio * both - (candidate - ratio * original) ** 2
    return (counts.both + counts.gained - ratio * (counts.both + counts.lost)) / math.sqrt(n * variance)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("ratio", [0.9, 0.97, 1.05])
def test_agrees_with_a_numerical_maximum_of_the_constrained_likelihood(counts, ratio):
    assert paired_ratio_statistic(counts, ratio) == pytest.approx(by_optimizing(counts, ratio), abs=2e-4)


def test_agrees_with_mcnemar_at_a_ratio_of_one():
    assert paired_ratio_statistic(Pairs(70, 9, 4, 20), 1.0) == pytest.approx((4 - 9) / math.sqrt(13))


def test_does_not_depend_on_the_cases_that_neither_has_right():
    assert paired_ratio_statistic(Pairs(80, 9, 4, 0), 0.9) == pytest.approx(
        paired_ratio_statistic(Pairs(80, 9, 4, 900), 0.9)
    )


@pytest.mark.parametrize("counts", [one for one in COUNTS if one.changed >= 5 and one.gained])
def test_bounds_at_the_ratio_that_the_test_just_rejects(counts):
    lower, method = paired_ratio_lower_bound(counts, 0.95)
    assert method == PAIRED_RATIO_SCORE
    assert paired_ratio_statistic(counts, lower) == pytest.approx(Z, abs=1e-6)
    assert paired_ratio_statistic(counts, paired_ratio_upper_bound(counts, 0.95)) == pytest.approx(-Z, abs=1e-6)


def test_is_exact_under_five_changed_cases():
    bound, method = paired_ratio_lower_bound(Pairs(165, 2, 2, 2), 0.95)
    assert method == PAIRED_RATIO_EXACT
    assert stats.binom.cdf(2, 169, 1 - bound) == pytest.approx(0.05)


def test_is_exact_where_nothing_was_gained():
    bound, method = paired_ratio_lower_bound(Pairs(100, 8, 0, 3), 0.95)
    assert method == PAIRED_RATIO_EXACT
    assert bound == pytest.approx(proportions.binomial_lower_bound(100, 108, 0.95))
    assert bound < score_lower(Pairs(100, 8, 0, 3), 0.95) + 0.01


def test_never_bounds_above_the_estimate():
    for both, lost, gained in itertools.product((5, 40, 300), range(7), range(7)):
        counts = Pairs(both, lost, gained, 3)
        estimate = (both + gained) / (both + lost)
        assert (
            paired_ratio_lower_bound(counts, 0.95)[0]
            <= estimate + 1e-9
            <= paired_ratio_upper_bound(counts, 0.95) + 2e-9
        )


def test_calls_nothing_a_miss_that_an_exact_test_would_not():
    # 9 of 171 lost: the score test would refute a retention of .97, the binomial (p = .077) does not.
    assert stats.binom.sf(8, 171, 0.03) > 0.05
    assert paired_ratio_upper_bound(Pairs(162, 9, 0, 0), 0.95) > 0.97
    assert paired_ratio_upper_bound(Pairs(160, 11, 0, 0), 0.95) < 0.97


def false_pass_rate(cases: int, ratio: float, gained: float) -> float:
    """The exact probability of PASS when the true ratio is the threshold, over all outcomes that matter."""
    lost = 1 - ratio * (1 - gained)
    both = 1 - lost - gained
    most = [min(cases, int(cases * p + 8 * math.sqrt(cases * p) + 9)) for p in (lost, gained)]
    rate = 0.0
    for out, won in itertools.product(range(most[0] + 1), range(most[1] + 1)):
        if out + won > cases:
            continue
        chance = stats.multinomial.pmf([cases - out - won, out, won], cases, [both, lost, gained])
        if chance > 1e-9 and paired_ratio_lower_bound(Pairs(cases - out - won, out, won, 0), 0.95)[0] >= ratio:
            rate += chance
    return rate


@pytest.mark.parametrize(
    ("cases", "ratio", "gained"), [(100, 0.97, 0.0), (100, 0.95, 0.01), (300, 0.98, 0.005), (300, 0.99, 0.0)]
)
def test_passes_falsely_at_most_at_alpha_give_or_take_half_a_point(cases, ratio, gained):
    assert false_pass_rate(cases, ratio, gained) <= 0.055


@pytest.mark.slow
@pytest.mark.parametrize("cases", [60, 171, 600, 2000])
@pytest.mark.parametrize("ratio", [0.9, 0.95, 0.97, 0.99, 0.999])
@pytest.mark.parametrize(
    # What is right and gained together cannot pass 1.
    ("right", "gained"),
    [*itertools.product([0.8], [0.0, 0.002, 0.01, 0.04]), *itertools.product([0.97], [0.0, 0.002, 0.01])],
)
def test_passes_falsely_at_most_at_alpha_in_simulation(cases, ratio, right, gained):
    # p_candidate = ratio · p_original exactly: the boundary of the null hypothesis.
    lost = right * (1 - ratio) + gained
    both = right - lost
    runs = 4000
    drawn = np.random.default_rng(7).multinomial(cases, [both, lost, gained, 1 - right - gained], runs)
    outcomes, times = np.unique(drawn, axis=0, return_counts=True)
    passed = sum(
        int(count)
        for (a, b, c, d), count in zip(outcomes.tolist(), times, strict=True)
        # No bound is above its estimate: see `test_never_bounds_above_the_estimate`.
        if a + b and a + c >= ratio * (a + b) and paired_ratio_lower_bound(Pairs(a, b, c, d), 0.95)[0] >= ratio
    )
    # Half a point for the approximation at small numbers, three standard errors for the simulation.
    assert passed / runs <= 0.055 + 3 * math.sqrt(0.05 * 0.95 / runs)
