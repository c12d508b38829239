"""Columns are found by the name that they have, and what keeps a name from being one is said."""

import numpy as np
import pandas as pd  # noqa: TID253 - the tests write tables
import pytest

from titrant.runtime.data.columns import find
from titrant.runtime.data.readers import read_parquet
from titrant.runtime.operators.data.transform import DataTransformParams, transform
from titrant.runtime.values import RowSplit, Table, Tables
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError

COLUMNS = {"gro\u0308ße": np.zeros(1), "Alter": np.zeros(1)}


def test_tells_a_name_in_another_unicode_form_from_one_that_is_not_there():
    with pytest.raises(RecipeError, match="in this Unicode form, and has one that looks the same"):
        find(COLUMNS, "größe", "the data", "data.label")
    with pytest.raises(RecipeError, match=r"no column `alter` \(did you mean `Alter`\?\)"):
        find(COLUMNS, "alter", "the data", "data.label")


@pytest.mark.parametrize("kind", ["Int64", "UInt64"])
def test_refuses_whole_numbers_of_a_parquet_file_that_would_be_rounded(tmp_path, kind):
    pd.DataFrame({"id": pd.array([2**53 + 1, None], kind)}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(StepError, match=r"X109: a\.parquet: id has gaps and whole numbers beyond"):
        read_parquet(str(tmp_path / "a.parquet"))
    pd.DataFrame({"id": pd.array([2**53 + 1, 5], kind), "b": pd.array([7, None], kind)}).to_parquet(
        tmp_path / "b.parquet"
    )
    columns = read_parquet(str(tmp_path / "b.parquet"))
    assert columns["id"].tolist() == [2**53 + 1, 5]
    assert np.isnan(columns["b"][1])


def test_reads_texts_of_a_parquet_file_as_they_are(tmp_path):
    frame = pd.DataFrame({"label": ["NA", "None", "null", None], "code": ["007", "12", "", None]})
    frame.to_parquet(tmp_path / "a.parquet")
    columns = read_parquet(str(tmp_path / "a.parquet"))
    assert columns["label"].tolist() == ["NA", "None", "null", ""]
    assert columns["code"].tolist() == ["007", "12", "", ""]


def test_says_that_a_column_is_text_in_one_source_only():
    tables = Tables({"a": Table({"zip": np.array(["007"])}), "b": Table({"zip": np.array([8])})})
    rows = RowSplit({"train": {"a": np.arange(1), "b": np.arange(1)}}, {"a": np.zeros(1, int), "b": np.zeros(1, int)})
    with pytest.raises(StepError, match="X102: zip is text in one source and numbers in another"):
        transform(DataTransformParams(task="unlabeled"), tables, rows)
