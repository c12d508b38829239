"""Rows that belong to one unit."""

import numpy as np
import pytest

from titrant.runtime.contract.statistics.proportions import shrink


def test_leaves_rows_alone_that_are_units_of_their_own():
    assert shrink(np.zeros(9), np.zeros(9, bool), np.arange(9), 0.95) == 1.0


def test_counts_four_equal_rows_of_a_unit_as_one_case():
    wrong = np.repeat(np.arange(200) % 10 == 0, 4)
    factor = shrink(wrong - wrong.mean(), wrong, np.repeat(np.arange(200), 4), 0.95)
    assert factor == pytest.approx(0.25, rel=0.03)


def test_takes_rows_to_move_together_where_too_few_changed_to_tell():
    changed = np.zeros(400, bool)
    changed[0] = True
    assert shrink(changed - changed.mean(), changed, np.repeat(np.arange(100), 4), 0.95) == pytest.approx(0.25)


def test_never_makes_more_of_rows_than_there_are():
    # One row of each unit is wrong, exactly: less varied than independent rows.
    wrong = np.tile([True, False], 50)
    assert shrink(wrong - 0.5, wrong, np.repeat(np.arange(50), 2), 0.95) <= 1.0


def test_is_close_to_one_when_rows_of_a_unit_are_independent():
    wrong = np.random.default_rng(0).random(3000) < 0.2
    assert shrink(wrong - wrong.mean(), wrong, np.repeat(np.arange(1000), 3), 0.95) > 0.9
