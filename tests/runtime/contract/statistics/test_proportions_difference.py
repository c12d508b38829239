"""The difference of paired proportions."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats  # noqa: TID253 - the independent computation

from titrant.runtime.contract.statistics.proportions import (
    PAIRED_DIFFERENCE_EXACT,
    Pairs,
    paired_difference_lower_bound,
    paired_difference_statistic,
    paired_difference_upper_bound,
)

COUNTS = [Pairs(160, 3, 3, 5), Pairs(80, 9, 4, 7), Pairs(20, 5, 1, 0), Pairs(400, 1, 12, 30)]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("difference", [-0.1, -0.02, 0.03])
def test_agrees_with_a_numerical_maximum_of_the_constrained_likelihood(counts, difference):
    n, changed = counts.cases, counts.changed

    def loss(lost):
        same = 1 - 2 * lost - difference
        if lost <= 0 or lost + difference <= 0 or same <= 0:
            return np.inf
        terms = counts.lost * math.log(lost) + counts.gained * math.log(lost + difference)
        return -(terms + (n - changed) * math.log(same))

    low = max(0.0, -difference)
    best = optimize.minimize_scalar(
        loss, bounds=(low + 1e-12, (1 - difference) / 2), method="bounded", options={"xatol": 1e-13}
    )
    variance = n * (2 * best.x + difference - difference**2)
    expected = (counts.gained - counts.lost - n * difference) / math.sqrt(variance)
    assert paired_difference_statistic(counts, difference) == pytest.approx(expected, abs=1e-4)


def test_agrees_with_mcnemar_at_no_difference():
    assert paired_difference_statistic(Pairs(70, 9, 4, 20), 0.0) == pytest.approx((4 - 9) / math.sqrt(13))


def test_is_exact_under_five_changed_cases():
    bound, method = paired_difference_lower_bound(Pairs(90, 0, 0, 9), 0.95)
    assert method == PAIRED_DIFFERENCE_EXACT
    assert bound == pytest.approx(-(1 - 0.05 ** (1 / 99)))


def test_sees_the_same_from_either_side():
    assert paired_difference_upper_bound(Pairs(80, 9, 4, 7), 0.95)[0] == pytest.approx(
        -paired_difference_lower_bound(Pairs(80, 4, 9, 7), 0.95)[0]
    )


@pytest.mark.parametrize(("cases", "drop", "gained"), [(100, 0.03, 0.01), (200, 0.02, 0.005), (200, 0.05, 0.03)])
def test_passes_falsely_at_most_at_alpha_give_or_take_half_a_point(cases, drop, gained):
    lost = drop + gained
    rate = 0.0
    for out, won in itertools.product(range(40), range(30)):
        chance = stats.multinomial.pmf([cases - out - won, out, won], cases, [1 - lost - gained, lost, gained])
        if chance > 1e-9 and paired_difference_lower_bound(Pairs(cases - out - won, out, won, 0), 0.95)[0] >= -drop:
            rate += chance
    assert rate <= 0.055
