"""The ratio of two groups' proportions."""

import math

import numpy as np
import pytest
from scipy import optimize, stats  # noqa: TID253 - the independent computation

from titrant.runtime.contract.statistics.proportions import (
    BONFERRONI,
    GROUP_RATIO_EXACT,
    GroupShare,
    group_ratio_excess,
    group_ratio_lower_bound,
    group_ratio_statistic,
    group_ratio_upper_bound,
)


@pytest.mark.parametrize(("one", "other"), [((40, 50), (30, 60)), ((90, 100), (180, 200)), ((7, 30), (20, 40))])
@pytest.mark.parametrize("ratio", [0.6, 0.9, 1.1])
def test_agrees_with_a_numerical_maximum_of_the_constrained_likelihood(one, other, ratio):
    (x1, n1), (x2, n2) = one, other

    def loss(p):
        return -(stats.binom.logpmf(x1, n1, min(ratio * p, 1 - 1e-12)) + stats.binom.logpmf(x2, n2, p))

    p = optimize.minimize_scalar(loss, bounds=(1e-9, min(1, 1 / ratio) - 1e-9), method="bounded").x
    variance = ratio * p * (1 - ratio * p) / n1 + ratio**2 * p * (1 - p) / n2
    variance *= (n1 + n2) / (n1 + n2 - 1)
    expected = (x1 / n1 - ratio * x2 / n2) / math.sqrt(variance)
    assert group_ratio_statistic(GroupShare(x1, n1), GroupShare(x2, n2), ratio) == pytest.approx(expected, abs=1e-3)


def test_is_exact_where_a_group_has_few_wrong_cases():
    bound, method = group_ratio_lower_bound(GroupShare(50, 50), GroupShare(40, 50), 0.95)
    assert method == BONFERRONI
    assert bound == pytest.approx(0.025 ** (1 / 50) / stats.binomtest(40, 50).proportion_ci(0.95, "exact").high)
    bound, method = group_ratio_lower_bound(GroupShare(40, 50), GroupShare(50, 50), 0.95)
    assert method == GROUP_RATIO_EXACT
    assert bound == pytest.approx(stats.binomtest(40, 50).proportion_ci(0.9, "exact").low)


def test_gives_an_upper_bound_that_is_the_inverse_of_the_groups_exchanged():
    one, other = GroupShare(30, 50), GroupShare(44, 50)
    assert group_ratio_upper_bound(one, other, 0.95) == pytest.approx(1 / group_ratio_lower_bound(other, one, 0.95)[0])
    assert group_ratio_upper_bound(one, other, 0.95) < 0.85


@pytest.mark.parametrize(("n1", "n2"), [(50, 50), (60, 150)])
@pytest.mark.parametrize("second", [0.7, 0.9, 1.0])
def test_passes_falsely_at_most_at_alpha_give_or_take_half_a_point(n1, n2, second):
    ratio = 0.85
    chances = np.outer(stats.binom.pmf(range(n1 + 1), n1, ratio * second), stats.binom.pmf(range(n2 + 1), n2, second))
    rate = 0.0
    for i, j in np.argwhere(chances > 1e-7).tolist():
        if j and group_ratio_lower_bound(GroupShare(i, n1), GroupShare(j, n2), 0.95)[0] >= ratio:
            rate += chances[i, j]
    assert rate <= 0.053


@pytest.mark.parametrize(("n1", "n2"), [(300, 40), (40, 300), (200, 200)])
@pytest.mark.parametrize("ratio", [0.8, 0.95])
@pytest.mark.parametrize("second", [0.05, 0.5, 0.9])
def test_keeps_to_alpha_where_groups_differ_much_in_size(n1, n2, ratio, second):
    chances = np.outer(stats.binom.pmf(range(n1 + 1), n1, ratio * second), stats.binom.pmf(range(n2 + 1), n2, second))
    z = stats.norm.ppf(0.95)
    rate = 0.0
    for i, j in np.argwhere(chances > 1e-6).tolist():
        one, other = GroupShare(i, n1), GroupShare(j, n2)
        if i and j and one.value > ratio * other.value:
            few = one.wrong < 5 or other.wrong < 5
            passed = (
                group_ratio_lower_bound(one, other, 0.95)[0] >= ratio
                if few
                else group_ratio_excess(one, other, ratio, z) >= 0
            )
            rate += chances[i, j] * passed
    assert rate <= 0.0525


@pytest.mark.parametrize(
    ("one", "other"), [((5, 10), (0, 8)), ((0, 8), (5, 10)), ((0, 8), (0, 9)), ((20, 60), (0, 40))]
)
def test_bounds_the_ratio_where_a_group_has_none_right(one, other):
    lower, _ = group_ratio_lower_bound(GroupShare(*one), GroupShare(*other), 0.95)
    upper = group_ratio_upper_bound(GroupShare(*one), GroupShare(*other), 0.95)
    assert 0 <= lower < upper
