"""Rows as a caller has them: a frame, columns, one row, a list of rows; None, NaN and NA are missing in each."""

import json

import numpy as np
import pandas as pd  # noqa: TID253 - callers have frames
import pytest

from titrant.runtime.serve.rows import columns_of
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
