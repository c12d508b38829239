"""The betting bound of a mean."""

import math

import numpy as np
import pytest
from scipy import stats  # noqa: TID253 - the independent computation

from titrant.runtime.contract.statistics.means import mean_lower_bound, mean_upper_bound, refutes


def test_proves_a_rise_of_two_hundredths_from_160_unchanged_cases():
    assert mean_upper_bound(np.zeros(160), np.arange(160), 0.95) <= 0.02
    assert mean_upper_bound(np.zeros(155), np.arange(155), 0.95) > 0.02


def test_is_not_fooled_by_tiny_changes_of_every_case():
    # A t interval would prove a rise below 1e-7 from thirty cases; the rare large change was just not seen.
    values = np.random.default_rng(1).normal(0, 1e-7, 30)
    assert mean_upper_bound(values, np.arange(30), 0.95) > 0.09


def test_lies_above_the_mean_and_mirrors_the_lower_bound():
    values = np.random.default_rng(2).uniform(-1, 1, 200)
    units = np.arange(200)
    assert mean_lower_bound(values, units, 0.95) < values.mean() < mean_upper_bound(values, units, 0.95)
    assert mean_lower_bound(values, units, 0.95) == pytest.approx(-mean_upper_bound(-values, units, 0.95))


def test_does_not_depend_on_the_order_of_the_cases():
    values = np.random.default_rng(3).normal(0, 0.1, 90)
    units = np.arange(90)
    assert mean_upper_bound(values[::-1], units, 0.95) == pytest.approx(mean_upper_bound(values, units, 0.95))


@pytest.mark.parametrize(("cases", "mean"), [(100, 0.05), (171, 0.02), (400, 0.02)])
def test_refutes_a_true_claim_at_most_at_alpha(cases, mean):
    # The worst case: each case changes by 0 or by 1.
    units = np.arange(cases)
    rate = 0.0
    for ones in range(cases + 1):
        if not refutes(np.r_[np.ones(ones), np.zeros(cases - ones)], units, mean, 0.95):
            break
        rate += stats.binom.pmf(ones, cases, mean)
    assert rate <= 0.05


def test_counts_a_units_rows_as_one_thing():
    values, alone = np.zeros(160), np.arange(160)
    assert mean_upper_bound(values, alone // 4, 0.95) > 3 * mean_upper_bound(values, alone, 0.95)


def test_keeps_its_promise_when_rows_of_a_unit_change_together():
    # 40 units of 4 rows; all rows of a unit get worse by 1 with probability .06.
    generator = np.random.default_rng(4)
    units = np.repeat(np.arange(40), 4)
    runs = 400
    wrong = sum(
        refutes(np.repeat(generator.random(40) < 0.06, 4).astype(float), units, 0.06, 0.95) for _ in range(runs)
    )
    assert wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
