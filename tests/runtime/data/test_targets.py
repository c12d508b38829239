"""Labels that are no classes: the tokens that a language model is to give, and which rows belong together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.data.classes import NOT_JUDGED, targets_of
from titrant.schema.diagnostics.diagnostics import PreconditionError

LANGUAGE = "language_modeling"


def tokens(rows=4, length=5, seed=0):
    return np.random.default_rng(seed).integers(0, 50, (rows, length))


def made(inputs, label=None):
    return targets_of(LANGUAGE, inputs, "next" if label is not None else "", label, [] if label is None else [label])


def test_gives_the_next_token_of_the_input_and_none_at_the_end():
    given_tokens = tokens()
    targets = made({"tokens": given_tokens})
    np.testing.assert_array_equal(targets[:, :-1], given_tokens[:, 1:])
    assert (targets[:, -1] == NOT_JUDGED).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 9), st.integers(0, 2**16), st.booleans())
def test_judges_no_padding_on_either_side(rows, length, seed, left):
    given_tokens = tokens(rows, length, seed)
    counts = np.random.default_rng(seed).integers(2, length + 1, rows)
    mask = (np.arange(length) < counts[:, None]).astype(np.int64)
    mask = mask[:, ::-1] if left else mask
    targets = made({"input_ids": given_tokens, "attention_mask": mask, "token_type_ids": mask})
    np.testing.assert_array_equal((targets != NOT_JUDGED).sum(axis=1), counts - 1)
    where = targets != NOT_JUDGED
    np.testing.assert_array_equal(targets[:, :-1][where[:, :-1]], given_tokens[:, 1:][where[:, :-1]])


def test_takes_the_tokens_that_a_label_names():
    label = np.where(tokens() % 3 == 0, NOT_JUDGED, tokens(seed=1)).astype(np.float64)
    label[:, 0] = 7
    np.testing.assert_array_equal(made({"a": tokens(), "b": tokens(seed=2)}, label), label)


@pytest.mark.parametrize(
    ("inputs", "label", "code", "words"),
    [
        ({"x": np.zeros((4, 5), np.float32)}, None, "X653", "none of the inputs holds tokens"),
        ({"x": tokens()[:, 0]}, None, "X653", "x (4,) int64"),
        ({"attention_mask": tokens()}, None, "X653", "none of the inputs"),
        ({"encoder": tokens(), "decoder": tokens()}, None, "X653", "several of the inputs"),
        ({"x": tokens(), "attention_mask": np.ones((4, 4), int)}, None, "X654", "(4, 4)"),
        ({"x": tokens()[:, :1]}, None, "X655", "4 of 4 documents"),
        ({"x": tokens(), "attention_mask": np.array([[1] * 5] * 3 + [[0] * 5])}, None, "X655", "such as row 3"),
        ({"x": tokens()}, tokens(), "X654", "the input x itself"),
        ({"x": tokens()}, np.where(tokens() % 2, NOT_JUDGED, tokens()), "X654", "the input x itself"),
        ({"x": tokens()}, tokens(seed=1)[:, 0], "X654", "shape (4,)"),
        ({"x": tokens()}, tokens(seed=1) + 0.5, "X654", "no whole ones"),
        ({"x": tokens()}, np.where(tokens(seed=1) < 30, np.nan, 1.0), "X654", "no whole ones"),
        ({"x": tokens()}, np.array([["a"] * 5] * 4), "X654", "token numbers is needed"),
        ({"x": tokens()}, tokens(seed=1) - 60, "X654", "-100 is none"),
        ({"x": tokens()}, np.full((4, 5), NOT_JUDGED), "X655", "4 of 4 documents"),
    ],
)
def test_says_what_is_wrong_with_tokens(inputs, label, code, words):
    with pytest.raises(PreconditionError) as refused:
        made(inputs, label)
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.code == code
    assert words in diagnostic.message
    assert diagnostic.help


@pytest.mark.parametrize(
    "every", [np.array([3, 1, 3, 2]), np.array(["b", "a", "b", "c"], object), np.array([0.5, 0, 0.5, 1])]
)
def test_numbers_groups_alike_in_every_role(every):
    whole = targets_of("embedding", {}, "place", every, [every])
    part = targets_of("embedding", {}, "place", every[2:], [every])
    np.testing.assert_array_equal(whole[2:], part)
    assert whole[0] == whole[2]
    assert len(set(whole.tolist())) == 3


def test_takes_one_group_a_row_and_none_without_a_label():
    with pytest.raises(PreconditionError, match="one value a row"):
        targets_of("embedding", {}, "place", tokens(), [tokens()])
    with pytest.raises(PreconditionError, match="missing in 1 of 2 rows"):
        targets_of("embedding", {}, "place", np.array([1.0, np.nan]), [np.array([1.0, np.nan])])
    assert targets_of("embedding", {}, "", None, []) is None


@pytest.mark.parametrize(("task", "shape"), [("regression", (4,)), ("multilabel_classification", (4, 2))])
@pytest.mark.parametrize("gone", [np.nan, np.inf])
def test_says_of_labels_that_are_not_finite_to_leave_the_rows_out(task, shape, gone):
    label = np.ones(shape)
    label[1] = gone
    with pytest.raises(PreconditionError, match=r"X645.*no finite number in 1 of 4 rows") as caught:
        targets_of(task, {}, "y", label, [label])
    assert "leave these rows out" in caught.value.diagnostics[0].help
