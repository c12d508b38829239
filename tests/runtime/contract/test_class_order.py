"""The order of the classes that fits a model's outputs best."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.output_kinds import compare_orders, order_line, order_words

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.integers(2, 6).flatmap(lambda count: st.permutations(range(count))),
    seed=st.integers(0, 99),
    wrong=st.sampled_from([0.0, 0.1, 0.3]),
)
def test_finds_the_order_that_a_model_was_trained_with(rows, order, seed, wrong):
    count, drawn = len(order), np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), 40)
    columns = np.argsort(order)[labels]  # column j is about class order[j]
    mistaken = drawn.random(len(labels)) < wrong
    columns = np.where(mistaken, drawn.integers(count, size=len(labels)), columns)
    found = compare_orders(np.eye(count)[columns], rows(labels, classes=NAMES[:count], positive=None))
    assert found.best == tuple(NAMES[index] for index in order)
    assert found.given == NAMES[:count]
    assert found.best_accuracy == pytest.approx((np.asarray(order)[columns] == labels).mean())
    assert found.given_accuracy == pytest.approx((columns == labels).mean())


def test_leaves_classes_where_they_are_that_no_row_tells_apart(rows):
    labels = np.array([0, 1] * 5)
    found = compare_orders(np.eye(4)[1 - labels], rows(labels, classes=NAMES[:4], positive=None))
    assert found.best == ("bee", "ant", "cat", "dog")
    assert (found.given_accuracy, found.best_accuracy) == (0.0, 1.0)


def test_writes_an_order_as_a_recipe_reads_it():
    assert order_line(("good", "no", "a: b")) == "data: {classes: [good, 'no', 'a: b']}"
    assert order_words(tuple("abcd"), 2) == "[a, b, …]"
