"""When two answers without labels count as the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.agreement import compare
from titrant.runtime.contract.answers import same_answers
from titrant.runtime.contract.reading import AnswerComparison, Reading
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics.diagnostics import StepError

MEASURES = ("same_class", "cosine", "neighbor", "relative", "absolute")
ROWS = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)


def alike(measure, expected, given, tolerance=None):
    return compare(AnswerComparison(measure=measure, tolerance=tolerance), expected, given)


def test_takes_a_small_turn_for_the_same_where_its_length_differs_by_more():
    """What int8 does to an embedding: a relative error of 2 % and a cosine of .9998."""
    noisy = ROWS + 0.02 * np.linalg.norm(ROWS, axis=1, keepdims=True) / 4 * np.sign(ROWS)
    assert not alike("relative", ROWS, noisy, 0.01).any()
    assert alike("cosine", ROWS, noisy, 0.99).all()
    assert alike("cosine", ROWS, 3 * ROWS, 0.999).all()


def test_finds_the_neighbor_that_a_search_would_return():
    moved = ROWS.copy()
    moved[0] = ROWS[1] + 1e-3
    same = alike("neighbor", ROWS, moved)
    assert not same[0]
    assert same.mean() > 0.8


def test_counts_an_answer_of_nothing_as_the_same_as_nothing_alone():
    zeros = np.zeros((3, 4), np.float32)
    assert alike("cosine", zeros, zeros, 0.99).all()
    assert not alike("cosine", zeros, zeros + 1, 0.99).any()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(MEASURES),
    st.sampled_from([(7, 3), (5, 2, 4), (4, 2, 3, 3)]),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 2**16),
)
def test_agrees_with_itself_in_any_shape_and_not_with_another_order(measure, shape, dtype, seed):
    values = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    tolerance = {"cosine": 0.99, "relative": 0.01, "absolute": 0.01}.get(measure)
    assert alike(measure, values, values.copy(), tolerance).all()
    if measure in ("cosine", "relative", "absolute"):
        assert not alike(measure, values, -values - 1, tolerance).any()


@pytest.mark.parametrize(
    ("kind", "classes", "measure"),
    [("values", True, "relative"), ("embedding", True, "cosine"), ("logits", True, "same_class"),
     ("probabilities", True, "same_class"), ("logits", False, "relative")],
)  # fmt: skip
def test_compares_by_the_kind_of_an_output_where_nothing_is_said(kind, classes, measure):
    assert Reading(task="unlabeled", kinds={"y": kind}).comparison("y", classes=classes).measure == measure


def test_changes_no_parameters_where_nothing_is_said():
    assert "agreement" not in Reading(task="unlabeled").model_dump(mode="json")
    said = Reading(task="unlabeled", agreement={"y": AnswerComparison(measure="cosine", tolerance=0.9)})
    assert Reading.model_validate_json(said.model_dump_json()) == said


def test_refuses_the_largest_of_one_number():
    values = np.array([[0.1], [0.9]])
    rows = Rows("evaluation", {"x": values}, None, np.arange(2), np.arange(2, dtype=np.uint64), ("a", "b"), 1)
    reading = Reading(task="unlabeled", agreement={"y": AnswerComparison(measure="same_class")})
    with pytest.raises(StepError, match="X420: the output 'y' has one number"):
        same_answers(reading, rows, Outputs("", {"y": values}), Outputs("", {"y": 1 - values}))
