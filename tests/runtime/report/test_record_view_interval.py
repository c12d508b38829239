"""The picture of a gate: better is always right, and everything stays inside."""

import re

import pytest

from titrant.runtime.report.record_view import EDGE, THRESHOLD, WIDTH, interval_svg
from titrant.schema.gate import Gate, GateResult


def drawn(comparison, threshold, estimate, lower, upper):
    gate = Gate("g", "gates", "accuracy", "all", comparison, threshold, "test", "here")
    svg = interval_svg(gate, GateResult("g", "PASS", estimate, lower, upper, None, None, 9, None, None, "", ""))
    dot = float(re.search(r'cx="([\d.]+)"', svg)[1])
    caps = [float(x) for x in re.findall(r'class="cap" x1="([\d.]+)"', svg)]
    return dot, caps


@pytest.mark.parametrize(("comparison", "estimate"), [("at_least", 0.95), ("at_most", 0.85), ("rise_at_most", 0.85)])
def test_puts_the_better_side_to_the_right(comparison, estimate):
    dot, caps = drawn(comparison, 0.9, estimate, estimate - 0.02, estimate + 0.02)
    assert dot > THRESHOLD
    assert caps[0] < dot < caps[1]


def test_puts_a_miss_to_the_left_and_an_interval_across_the_line():
    assert drawn("at_least", 0.9, 0.8, 0.7, 0.85)[0] < THRESHOLD
    caps = drawn("at_least", 0.9, 0.91, 0.8, 0.99)[1]
    assert caps[0] < THRESHOLD < caps[1]


@pytest.mark.parametrize("upper", [1e-12, 0.5, 1e9])
def test_keeps_everything_inside(upper):
    dot, caps = drawn("at_most", 0.0, upper / 2, -upper, upper)
    assert all(EDGE - 0.1 <= x <= WIDTH - EDGE + 0.1 for x in (dot, *caps))


def test_draws_nothing_where_nothing_is_known():
    gate = Gate("g", "bias", "accuracy", "all", "at_least", 0.9, "not_assessable", "here")
    result = GateResult("g", "INCONCLUSIVE", None, None, None, None, None, 0, None, None, "", "")
    assert interval_svg(gate, result) == ""
