"""A threshold reads exactly as strict as it is, and what is not assessable says so."""

import pytest

from titrant.schema.gate import Gate, GateResult, reason_words, threshold_words


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
    ],
)
def test_writes_the_threshold_with_its_unit_and_never_looser(asked, words):
    assert threshold_words(asked) == words


@pytest.mark.parametrize(("estimate", "words"), [(None, "not assessable: no labels"), (0.5, "no labels")])
def test_says_of_a_gate_without_an_estimate_that_it_is_not_assessable(estimate, words):
    result = GateResult("g", "INCONCLUSIVE", estimate, *[None] * 4, 0, None, None, "no labels", "none")
    assert reason_words(result) == words
