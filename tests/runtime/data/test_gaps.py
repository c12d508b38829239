"""Missing and infinite values: refused with what mends them, read in served rows, and marked where they were filled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.data.gaps import check_gaps
from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.data.saved_transforms import load_transforms, save_transforms
from titrant.runtime.data.transforms import apply, fit
from titrant.runtime.operators.data.transform import wire
from titrant.runtime.values import Transforms
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError, TitrantError

NAN, INF = np.nan, np.inf


def fitted(columns, *steps):
    columns = {name: np.asarray(column) for name, column in columns.items()}
    inputs, dtypes, unstacked = wire(columns, ())
    return Transforms(fit([TransformStep(**step) for step in steps], columns), inputs, dtypes, unstacked=unstacked)


def refusal(columns, steps=(), marks=None):
    with pytest.raises(PreconditionError) as caught:
        check_gaps(columns.items(), [TransformStep(**step) for step in steps], marks or {})
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "X120"
    return f"{diagnostic.message}; {diagnostic.help}"


def test_names_the_column_the_count_and_the_text_that_was_read_as_missing():
    columns = {"a": [np.array([1.0, NAN]), np.array([NAN, 2.0, 3.0])]}
    message = refusal(columns, marks={"a": ("?",)})
    assert message.startswith("a has missing values in 2 of 5 rows (`?` is read as missing); add `- impute`")


@pytest.mark.parametrize("value", [INF, -INF])
def test_does_not_tell_a_recipe_that_imputes_to_impute(value):
    columns = {"a": [np.array([1.0, value])], "b": [np.array([1.0, NAN])]}
    message = refusal(columns, [{"name": "impute"}])
    assert message.startswith("a has infinite values in 1 of 2 rows")
    assert "missing: [inf, -inf]" in message
    assert "- impute" not in message


def test_asks_for_the_column_among_those_that_are_imputed():
    message = refusal({"a": [np.array([1.0, NAN])]}, [{"name": "impute", "columns": ["b"]}])
    assert "name a among the `columns` of `impute`" in message


def test_takes_what_is_filled_or_encoded():
    columns = {"a": [np.array([1.0, NAN])], "b": [np.array([1, 2])]}
    for step in ({"name": "impute"}, {"name": "impute", "columns": ["a"]}, {"name": "one_hot", "columns": ["a"]}):
        check_gaps(columns.items(), [TransformStep(**step)], {})


def test_leaves_gaps_to_a_model_that_was_trained_on_them(tmp_path):
    columns = {"a": [1.0, NAN, 3.0], "s": ["p", "", "q"], "n": [7, 8, 9]}
    transforms = fitted(columns, {"name": "impute", "strategy": "keep"}, {"name": "one_hot"})
    made = apply(transforms, {name: np.asarray(column) for name, column in columns.items()})["features"]
    np.testing.assert_array_equal(made, [[1, 1, 0, 7], [NAN, 0, 0, 8], [3, 0, 1, 9]])
    check_gaps([("a", [np.array([NAN])])], [TransformStep(name="impute", strategy="keep")], {})
    save_transforms(transforms, tmp_path)
    served = {"a": np.array([""]), "s": np.array(["q"]), "n": np.array([NAN])}
    np.testing.assert_array_equal(apply(load_transforms(tmp_path), served)["features"], [[NAN, 0, 1, NAN]])
    with pytest.raises(PreconditionError, match="X120: n has missing values in 1 of 1 rows"):
        apply(fitted(columns, {"name": "impute", "strategy": "keep", "columns": ["a"]}, {"name": "one_hot"}), served)


def test_marks_gaps_that_it_keeps_and_keeps_none_of_text():
    step = {"name": "impute", "strategy": "keep", "indicator": True}
    made = apply(fitted({"a": [1.0, NAN]}, step), {"a": np.array([NAN, 2.0])})["features"]
    np.testing.assert_array_equal(made, [[NAN, 1], [2, 0]])
    with pytest.raises(RecipeError, match="X122: impute: s is text, and only gaps of numbers are kept"):
        fitted({"s": ["a", ""]}, {"name": "impute", "strategy": "keep", "columns": ["s"]})


@pytest.mark.parametrize("empty", [np.array([""]), np.array([NAN]), np.array(["", ""])])
def test_fills_a_column_of_numbers_that_has_no_value_in_the_rows_served(empty):
    transforms = fitted({"a": [1.0, 3.0, NAN], "b": [1.0, 2.0, 3.0]}, {"name": "impute"}, {"name": "standardize"})
    made = apply(transforms, {"a": empty, "b": np.full(len(empty), 2.0)})
    assert made["features"].tolist() == [[0, 0]] * len(empty)


def test_fills_a_column_of_text_that_has_no_value_in_the_rows_served():
    columns = {"a": ["x", "x", "y"], "b": [1.0, 2.0, 3.0]}
    transforms = fitted(columns, {"name": "impute", "strategy": "most_frequent"}, {"name": "one_hot"})
    assert apply(transforms, {"a": np.array([""]), "b": np.array([1.0])})["features"].tolist() == [[1, 0, 1]]


def test_encodes_no_value_as_none_where_nothing_fills_it():
    transforms = fitted({"a": ["x", "y"], "b": [1.0, 2.0]}, {"name": "one_hot"})
    assert apply(transforms, {"a": np.array([""]), "b": np.array([1.0])})["features"].tolist() == [[0, 0, 1]]


def test_refuses_a_gap_that_nothing_fills_in_the_rows_served():
    with pytest.raises(PreconditionError, match="X120: a has missing values in 1 of 1 rows"):
        apply(fitted({"a": [1.0, 2.0]}), {"a": np.array([""])})


def test_marks_gaps_behind_their_columns(tmp_path):
    columns = {"a": [1.0, NAN, 3.0, 2.0], "b": [4.0, 4.0, 4.0, 4.0], "c": ["x", "", "y", "x"]}
    steps = ({"name": "impute", "indicator": True}, {"name": "one_hot"}, {"name": "standardize"})
    transforms = fitted(columns, *steps)
    made = apply(transforms, {name: np.asarray(column) for name, column in columns.items()})["features"]
    assert made[:, 1].tolist() == [0, 1, 0, 0]
    assert made[:, 2].tolist() == [0, 0, 0, 0]
    assert made[:, 3:].tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 0, 0]]
    save_transforms(transforms, tmp_path)
    served = apply(load_transforms(tmp_path), {"a": np.array([""]), "b": np.array([NAN]), "c": np.array([""])})
    assert served["features"].tolist() == [[0, 1, 0, 1, 0, 1]]


def test_marks_the_columns_that_are_named_whether_they_have_gaps_yet_or_not():
    transforms = fitted(
        {"a": [1.0, 2.0], "b": [1.0, NAN]}, {"name": "impute", "columns": ["a", "b"], "indicator": True}
    )
    assert transforms.steps[0].params["indicator"] == ["a", "b"]
    assert "indicator" not in fitted({"a": [1.0, 2.0]}, {"name": "impute", "indicator": True}).steps[0].params


def test_keeps_the_marks_of_the_first_that_filled():
    steps = [{"name": "impute", "indicator": True, "columns": ["a"]}] * 2
    made = apply(fitted({"a": [1.0, NAN], "b": [1.0, 1.0]}, *steps), {"a": np.array([1.0, NAN]), "b": np.ones(2)})
    assert made["features"].tolist() == [[1, 0, 1], [1, 1, 1]]


@given(
    gaps=st.lists(st.booleans(), min_size=2, max_size=9).filter(lambda gaps: not all(gaps)),
    strategy=st.sampled_from(["median", "mean", "most_frequent"]),
    places=st.data(),
)
def test_serves_any_single_row_as_it_was_fitted_on(gaps, strategy, places):
    column = np.where(gaps, NAN, np.arange(len(gaps), dtype=float))
    columns = {"a": column, "b": np.arange(len(gaps)) * 2.0}
    transforms = fitted(columns, {"name": "impute", "strategy": strategy, "indicator": True}, {"name": "standardize"})
    together = apply(transforms, columns)["features"]
    place = places.draw(st.integers(0, len(gaps) - 1))
    alone = np.array([""]) if gaps[place] else column[place : place + 1]
    made = apply(transforms, {"a": alone, "b": columns["b"][place : place + 1]})["features"]
    assert made.tolist() == together[place : place + 1].tolist()


def encode(values, rows, **step):
    column = np.array([f"v{place % values}" for place in range(rows)])
    return fitted({"id": column}, {"name": "one_hot", **step})


@pytest.mark.parametrize(("values", "rows"), [(600, 600), (301, 600), (21, 41)])
def test_refuses_to_encode_a_column_that_names_its_rows(values, rows):
    for step in ({}, {"columns": ["id"]}):
        with pytest.raises(RecipeError) as caught:
            encode(values, rows, **step)
        (diagnostic,) = caught.value.diagnostics
        assert (diagnostic.code, diagnostic.key) == ("X233", "data.transform.0.one_hot")
        assert f"{values:,} different values in {rows:,} rows" in diagnostic.message
        assert "data.inputs" in diagnostic.help


@pytest.mark.parametrize(("values", "rows"), [(300, 600), (20, 20), (2, 4), (1000, 5000)])
def test_encodes_a_column_of_groups(values, rows):
    assert len(encode(values, rows).steps[0].arrays["0"]) == values


def test_encodes_very_many_values_only_where_they_are_asked_for():
    with pytest.raises(RecipeError, match=r"X233.*one_hot: \{columns: \[id\]\}"):
        encode(1001, 5000)
    assert len(encode(1001, 5000, columns=["id"]).steps[0].arrays["0"]) == 1001


@pytest.mark.parametrize("step", [{"name": "standardize"}, {"name": "impute"}])
def test_says_what_keeps_a_column_from_being_numbers_and_shows_it_only_when_asked(step):
    column = np.array([*map(str, range(30)), "Jane", "n.d."])
    with pytest.raises(TitrantError) as caught:
        apply(fitted({"a": column}, step), {"a": column})
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message.endswith("a is text: 2 of 32 values are no numbers")
    assert "missing: […]" in diagnostic.help
    assert "one_hot" not in diagnostic.help
    assert diagnostic.said == "Jane, n.d."
    assert "Jane" not in repr(diagnostic)
    with pytest.raises(TitrantError, match="one_hot"):
        apply(fitted({"a": ["x", "y"]}), {"a": np.array(["x", "y"])})


@pytest.mark.parametrize("step", [{"name": "standardize"}, {"name": "impute"}])
def test_says_of_text_that_is_all_numbers_that_it_is(step):
    column = np.array(["1", "2.5"])
    with pytest.raises(TitrantError, match=r"a is text, and every value of it is a number \(give it as numbers"):
        apply(fitted({"a": column}, step), {"a": column})


def test_says_of_no_rows_of_text_how_to_encode_it():
    with pytest.raises(TitrantError, match=r"X121: a is text .*one_hot"):
        apply(fitted({"a": ["x", "y"]}), {"a": np.array([], "U1")})


def test_does_not_tell_to_impute_a_column_without_any_value():
    assert refusal({"a": [np.array([NAN]), np.array([NAN])]}) == (
        "a has no value in any of 2 rows; leave it out of `data.inputs`"
    )


@given(st.lists(st.sampled_from(["007", "A1", "x", "1", "0.5", "true", "1e3", "1.0"]), min_size=1))
def test_encodes_numbers_only_where_it_was_fitted_on_what_may_be_numbers(texts):
    transforms = fitted({"a": np.array([*texts, "1"])}, {"name": "one_hot"})
    numbers = {"a": np.array([1, 3])}
    if set(texts) <= {"1", "0.5", "true"}:
        assert apply(transforms, numbers)["features"].sum(axis=1).tolist() == [1, 0]
    else:
        with pytest.raises(TitrantError, match="X122: one_hot: a is numbers, and was text when it was fitted"):
            apply(transforms, numbers)
    assert apply(transforms, {"a": np.array([np.nan])})["features"].sum() == 0
