"""Rows as a caller has them: a frame, columns, one row, a list of rows; None, NaN and NA are missing in each."""

import json

import numpy as np
import pandas as pd  # noqa: TID253 - callers have frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.serve.rows import columns_of, refuse_ignored
from titrant.schema.diagnostics.diagnostics import StepError

ROW = {"a": 0.5, "b": "x"}


@pytest.mark.parametrize(
    "rows", [ROW, [ROW], pd.DataFrame([ROW]), pd.Series(ROW), {"a": [0.5], "b": ["x"]}, ({**ROW},)]
)
def test_takes_one_row_in_every_form(rows):
    columns = columns_of(rows, ("a", "b"))
    assert {name: column.tolist() for name, column in columns.items()} == {"a": [0.5], "b": ["x"]}


@pytest.mark.parametrize("gap", [None, np.nan, float("nan"), pd.NA, json.loads("null")])
def test_takes_every_way_to_write_a_gap_for_one(gap):
    for rows in ({"a": gap}, [{"a": gap}], {"a": [gap]}, pd.DataFrame({"a": [gap]}), pd.Series({"a": gap})):
        column = columns_of(rows, ("a",))["a"]
        assert column.tolist() == [""] or np.isnan(column.astype(float)).all()
    for rows in ({"a": [0.5, gap]}, [{"a": 0.5}, {"a": gap}], pd.DataFrame({"a": [0.5, gap]})):
        column = columns_of(rows, ("a",))["a"]
        assert column.dtype == np.float64
        assert column[0] == 0.5
        assert np.isnan(column[1])


def test_takes_truth_values_and_whole_numbers():
    columns = columns_of({"a": True, "b": 3, "c": np.float32(2)}, ("a", "b", "c"))
    assert [column.tolist() for column in columns.values()] == [[True], [3], [2.0]]


def test_refuses_rows_of_different_columns():
    with pytest.raises(StepError, match="X342: row 2 names other columns than row 1: 1, and 2 in row 1"):
        columns_of([ROW, {"a": 0.5}], ("a", "b"))


def test_refuses_columns_and_values_side_by_side():
    with pytest.raises(StepError, match="X342: the columns differ in length: 0, 1 rows"):
        columns_of({"a": 0.5, "b": ["x"]}, ("a", "b"))


@pytest.mark.parametrize("kind", [list, tuple])
def test_asks_for_the_names_of_arrays_of_different_shapes(kind):
    with pytest.raises(StepError, match=f"X342: a {kind.__name__} of arrays of different shapes"):
        columns_of(kind([np.zeros((4, 6)), np.zeros((4, 3))]), ("emb", "tab"))


@given(st.integers(1, 5), st.sampled_from([16000, 0.5, True]), st.booleans())
def test_refuses_what_the_answers_would_not_heed(rows, value, other):
    wrong = np.array([value] * rows)
    wrong[-1] = value if not other else not value
    columns = {"rate": wrong, "h": np.zeros((1, rows, 3))}
    if other:
        with pytest.raises(StepError, match=f"X342: rate was {value} where this model was judged"):
            refuse_ignored(columns, {"rate": value}, ["h"])
    else:
        refuse_ignored(columns, {"rate": value}, ["h"])
    columns = {"h": np.zeros((1, rows, 3))}
    columns["h"][0, -1, 2] = 1e-9
    with pytest.raises(StepError, match="X342: h is recurrent state, which is zero at the start of each row"):
        refuse_ignored(columns, {"rate": value}, ["h"])


def test_takes_what_is_not_fixed_as_it_is():
    refuse_ignored({"a": np.array(["x"]), "b": np.array([1.0])}, {}, [])
    with pytest.raises(StepError, match="X342: rate was 8"):
        refuse_ignored({"rate": np.array(["8"])}, {"rate": 8}, [])
