"""Numbers in words."""

import pytest

from titrant.runtime.report.record_view import fraction, listed, metric_with_cases, quantity


@pytest.mark.parametrize(
    ("value", "against", "text"),
    [
        (0.5, None, "0.5000"),
        (1.0, None, "1.0000"),
        (0.99998, None, "0.99998"),
        (0.00001, None, "0.00001"),
        (0.94999, 0.95, "0.94999"),
        (0.95, 0.95, "0.9500"),
        (-0.0011, None, "−0.0011"),
        (-0.0, None, "0.0000"),
        (None, None, "–"),
    ],
)
def test_writes_fractions_that_cannot_be_mistaken(value, against, text):
    assert fraction(value, against) == text


def test_writes_quantities_in_their_unit():
    assert [quantity(0.0012, "s"), quantity(2048, "B"), quantity(12345.6, "cases/s")] == [
        "1.2 ms",
        "2.0 KiB",
        "12,346 cases/s",
    ]


def test_counts_cases_only_where_the_metric_counts_them():
    assert metric_with_cases("accuracy", 166 / 171, 171) == "0.9708 (166/171)"
    assert metric_with_cases("auroc", 0.75, 4) == "0.7500 (n = 4)"
    assert metric_with_cases("accuracy", 0.7512, 4) == "0.7512 (n = 4)"


def test_joins_names_as_a_sentence_does():
    assert [listed([]), listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
