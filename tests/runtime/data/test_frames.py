"""What readers and factories give becomes columns: gaps stay gaps, series in cells are arrays, indexes have names."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd  # noqa: TID253 - the tests write tables
import pytest
import torch  # noqa: TID253 - the tests give tensors

from titrant.runtime.data.columns import array_column, frame_columns
from titrant.runtime.data.readers import read_parquet
from titrant.runtime.serve.rows import columns_of
from titrant.schema.diagnostics.diagnostics import StepError

NAN = np.nan


@pytest.mark.parametrize(("values", "mask", "column"), [
    ([1.5, 2.5], [0, 1], [1.5, NAN]),
    ([1, 2, 3], [1, 0, 0], [NAN, 2.0, 3.0]),
    ([True, False], [0, 1], [1.0, NAN]),
    (["a", "b"], [1, 0], ["", "b"]),
    ([[1, 2], [3, 4]], [[0, 1], [0, 0]], [[1.0, NAN], [3.0, 4.0]]),
    ([1, 2], [0, 0], [1, 2]),
])  # fmt: skip
def test_takes_what_a_masked_array_hides_for_missing(values, mask, column):
    hidden = np.ma.masked_array(values, mask)
    np.testing.assert_array_equal(array_column(hidden, "m", "q"), np.array(column))
    if hidden.ndim == 2 and hidden.dtype.kind == "i":
        np.testing.assert_array_equal(columns_of(hidden, ("m",))["m"], np.array(column))


def test_keeps_the_width_of_masked_floats_and_rounds_no_masked_number():
    assert array_column(np.ma.masked_array(np.ones(2, np.float32), [0, 1]), "m", "q").dtype == np.float32
    with pytest.raises(StepError, match=r"X109: q: m has gaps or fractions and whole numbers beyond 2\^53"):
        array_column(np.ma.masked_array([2**60, 2], [0, 1]), "m", "q")
    assert array_column(np.ma.masked_array([2**60, 2], [1, 0]), "m", "q").tolist()[1] == 2


@pytest.mark.parametrize("cells", [
    [np.arange(3.0), np.ones(3)], [[0, 1, 2], (1, 1, 1)], [torch.arange(3), torch.ones(3).bfloat16()],
])  # fmt: skip
def test_stacks_arrays_that_stand_in_the_cells_of_a_frame(cells):
    series = pd.Series(list(cells), dtype=object)
    assert frame_columns(pd.DataFrame({"ecg": series}), "q")["ecg"].tolist() == [[0, 1, 2], [1, 1, 1]]
    assert array_column(series, "ecg", "q").shape == (2, 3)


@pytest.mark.parametrize(("cells", "words"), [
    ([[1, 2], [1, 2, 3]], "x holds rows of 2 to 3 values .cut or fill them to one length"),
    ([[1, 2], None], "x holds arrays, and none in 1 of 2 rows .leave these rows out"),
    ([["a"], ["b"]], r"x holds text of shape \(2, 1\)"),
])  # fmt: skip
def test_refuses_arrays_in_cells_that_are_no_array_of_numbers_together(cells, words):
    with pytest.raises(StepError, match=f"X109: q: {words}"):
        frame_columns(pd.DataFrame({"x": pd.Series(cells, dtype=object)}), "q")


def test_refuses_rows_of_different_lengths():
    with pytest.raises(StepError, match="X109: q: x holds rows of 1 to 2 values"):
        array_column([[1], [2, 3]], "x", "q")


def test_takes_tensors_that_have_a_gradient_or_a_type_that_numpy_does_not_know():
    assert array_column(torch.ones(2, 2, requires_grad=True), "x", "q").dtype == np.float32
    assert array_column(torch.full((2,), 1.5).bfloat16(), "x", "q").tolist() == [1.5, 1.5]
    several = [torch.ones(2, requires_grad=True), torch.zeros(2).bfloat16()]
    assert array_column(several, "x", "q").tolist() == [[1, 1], [0, 0]]
    with pytest.raises(StepError, match="X109: q: x holds rows of 1 to 2 values"):
        array_column([torch.ones(2), torch.ones(1)], "x", "q")


def test_reads_numbers_of_a_category_with_gaps():
    frame = pd.DataFrame({"stage": pd.Categorical([3, None, 1]), "sick": pd.Categorical([True, None, False])})
    columns = frame_columns(frame, "q")
    np.testing.assert_array_equal(columns["stage"], [3, NAN, 1])
    np.testing.assert_array_equal(columns["sick"], [1, NAN, 0])


def test_reads_decimals_days_and_times_as_a_warehouse_writes_them(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    day = datetime.date(2026, 2, 1)
    rows = {"price": [Decimal("1.25"), None], "day": [day, None], "at": [datetime.time(7, 30), None]}
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "a.parquet")
    columns = read_parquet(str(tmp_path / "a.parquet"))
    np.testing.assert_array_equal(columns["price"], [1.25, NAN])
    assert columns["day"].tolist() == ["2026-02-01", ""]
    assert columns["at"].tolist() == ["07:30:00", ""]
    far = pd.Series([datetime.datetime(9999, 1, 2, 3, 4), None], dtype=object)
    assert frame_columns(pd.DataFrame({"end": far}), "q")["end"].tolist() == ["9999-01-02T03:04:00", ""]


def test_rounds_no_whole_number_of_a_column_of_objects():
    whole = pd.DataFrame({"id": pd.Series([2**60 + 1, 5], dtype=object)})
    assert frame_columns(whole, "q")["id"].tolist() == [2**60 + 1, 5]
    for cells in ([2**60 + 1, 0.5], [Decimal(2**60 + 1), Decimal("0.5")], [2**70, 1]):
        with pytest.raises(StepError, match="X109: q: id has gaps or fractions and whole numbers"):
            frame_columns(pd.DataFrame({"id": pd.Series(cells, dtype=object)}), "q")


def test_reads_series_and_the_named_index_of_a_parquet_file(tmp_path):
    file = tmp_path / "ecg.parquet"
    index = pd.Index(["p1", "p2"], name="patient")
    pd.DataFrame({"leads": [[[1.0, 2.0], [3.0, 4.0]]] * 2, "y": [0, 1]}, index=index).to_parquet(file)
    columns = read_parquet(str(file))
    assert columns["patient"].tolist() == ["p1", "p2"]
    assert columns["leads"].shape == (2, 2, 2)
    served = pd.read_parquet(file)
    for rows in (served, served.iloc[0], [served.iloc[0].to_dict(), served.iloc[1].to_dict()]):
        assert columns_of(rows, ("leads",))["leads"][0].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    for other in ([7, 3], pd.RangeIndex(2, name="row"), pd.Index([7, 3], name="y")):
        pd.DataFrame({"y": [0, 1]}, index=other).to_parquet(file)
        assert read_parquet(str(file))["y"].tolist() == [0, 1]
        assert list(read_parquet(str(file))) == ["y"]


def test_names_a_column_that_stands_twice_in_a_parquet_file(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.table({"a": [1], "y": [0]}).append_column("a", pa.array([2]))
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(StepError, match=r"X109: a\.parquet has the column a twice"):
        read_parquet(str(tmp_path / "a.parquet"))
