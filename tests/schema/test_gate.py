"""A threshold reads exactly as strict as it is, and what is not assessable says so."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.schema.gate import (
    LESS_IS_BETTER,
    SMALLER_IS_BETTER,
    Contract,
    Gate,
    GateResult,
    guarding_comparison,
    kept_at_least,
    reason_words,
    threshold_words,
)
from titrant.schema.recipe.terms import Metric
from titrant.schema.recipe.validation import FreeGate

COMPARISONS = get_args(FreeGate.model_fields["comparison"].annotation)
SHARES = st.floats(0.01, 1)


def gate(comparison, threshold, unit=""):
    return Gate("g", "gates", "accuracy", "all", comparison, threshold, "exact_binomial", "level balanced", unit)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (gate("retention", 0.97), "≥ 0.97 of the original’s"),
        (gate("at_least", 0.9999999), "≥ 0.9999999"),
        (gate("ratio_at_least", 1.0), "≥ 1 as a ratio"),
        (gate("at_most", 0.005, "s"), "≤ 5 ms"),
        (gate("at_most", 2048, "B"), "≤ 2.0 KiB"),
        (gate("at_least", 1234567.0, "cases/s"), "≥ 1,234,567 cases/s"),
        (gate("at_least", 0.5, "cases/s"), "≥ 0.5 cases/s"),
        (gate("at_least", 5 / 49), "≥ about 0.102041"),
        (gate("at_least", 1 - 1 / 3e9), "≥ about 0.999999999667"),
    ],
)
def test_writes_the_threshold_with_its_unit_and_never_looser(asked, words):
    assert threshold_words(asked) == words


@pytest.mark.parametrize(("estimate", "words"), [(None, "not assessable: no labels"), (0.5, "no labels")])
def test_says_of_a_gate_without_an_estimate_that_it_is_not_assessable(estimate, words):
    result = GateResult("g", "INCONCLUSIVE", estimate, *[None] * 4, 0, None, None, "no labels", "none")
    assert reason_words(result) == words


def compared(metric, comparison, before, after):
    match comparison:
        case "retention":
            return before / after if metric in LESS_IS_BETTER else after / before
        case "drop_at_most":
            return before - after
        case "rise_at_most":
            return after - before
    return after


@given(st.sampled_from(get_args(Metric)), st.sampled_from(COMPARISONS), SHARES, SHARES, st.tuples(SHARES, SHARES))
def test_takes_the_comparison_that_no_worse_model_passes(metric, comparison, threshold, before, after):
    worse, better = sorted(after, reverse=metric in LESS_IS_BETTER)
    guarding = guarding_comparison(metric, comparison)
    assert guarding == guarding_comparison(metric, guarding)
    assert {guarding, comparison} in ({guarding}, {"at_least", "at_most"}, {"drop_at_most", "rise_at_most"})
    if metric in ("calibration_slope", "calibration_intercept"):  # neither side of 1 and 0 is better
        assert guarding == comparison
        return

    def passes(value):
        estimate = compared(metric, guarding, before, value)
        return estimate <= threshold if guarding in SMALLER_IS_BETTER else estimate >= threshold

    assert passes(better) or not passes(worse)


@pytest.mark.parametrize(("asked", "share"), [(0.95, 0.95), (0.0, None)])
def test_asks_for_no_share_to_be_kept_where_the_retention_is_0(asked, share):
    row = replace(gate("retention", asked), preset="retention")
    assert kept_at_least(Contract((row,), 0.95, "proof")) == share
