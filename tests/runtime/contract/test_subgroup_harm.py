"""Corrections for many statements."""

import pytest

from titrant.runtime.contract.judge import adjusted, harm


def test_adjusts_as_holm_does():
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_keeps_one_p_value_as_it_is():
    assert adjusted([0.2]) == (0.2,)


def test_finds_harm_in_losses_and_none_in_nothing():
    assert harm(5, 0) == pytest.approx(1 / 32)
    assert harm(0, 0) == 1.0
    assert harm(3, 3) > 0.5
