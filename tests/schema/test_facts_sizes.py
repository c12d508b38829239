"""What data take as titrant keeps them, counted by hand beside the facts."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from titrant.schema.facts import (
    Column,
    DataFacts,
    RoleFacts,
    TensorSpec,
    case_bytes,
    column_bytes,
    has_text,
    item_bytes,
    rows_bytes,
    spec_bytes,
    split_bytes,
    tables_bytes,
)

IMAGE, AGE = TensorSpec("image", ("batch", 3, 4, 5), "float32"), TensorSpec("age", ("batch",), "int64")
DATA = DataFacts(
    "d", 100, (Column("image", "uint8", (3, 4, 5)), Column("age", "float64"), Column("sick", "bool")), ("no", "yes"),
    "yes", (IMAGE, AGE), {"train": RoleFacts(60, 60), "evaluation": RoleFacts(30, 30, {}, {"sex": {}, "site": {}})},
)  # fmt: skip


def test_counts_a_case_as_the_model_takes_it():
    assert [spec_bytes(spec) for spec in DATA.inputs] == [3 * 4 * 5 * 4, 8]
    assert case_bytes(DATA) == 3 * 4 * 5 * 4 + 8


def test_counts_a_dtype_that_it_does_not_know_as_the_caller_asks():
    float8 = TensorSpec("x", ("batch", 10), "float8_e4m3fn")
    assert (spec_bytes(float8), spec_bytes(float8, unknown=0)) == (80, 0)


@pytest.mark.parametrize(
    ("dtype", "size"), [("bool", 1), ("float16", 2), ("uint16", 2), ("float32", 4), ("float64", 8), ("int64", 8)]
)
def test_knows_the_size_of_a_number(dtype, size):
    assert item_bytes(dtype) == np.dtype(dtype).itemsize == size


def test_counts_a_column_by_its_shape_and_text_by_a_guess():
    assert [column_bytes(column) for column in DATA.columns] == [60, 8, 1]
    assert has_text(DATA) is False
    noted = replace(DATA, columns=(*DATA.columns, Column("note", "text")))
    assert has_text(noted)
    assert column_bytes(noted.columns[-1]) == 10


def test_counts_what_stands_beside_the_inputs_of_a_role():
    """Ids, units and labels of eight bytes each, and one number for every subgroup that the role tells apart."""
    empty = rows_bytes(DATA, "nobody")
    per_case = case_bytes(DATA) + 3 * 8
    fewer = replace(DATA, roles={"train": RoleFacts(59, 59)})
    assert rows_bytes(DATA, "train") - rows_bytes(fewer, "train") == per_case
    assert rows_bytes(DATA, "evaluation") - empty == 30 * (per_case + 2 * 8)
    unlabeled = replace(DATA, classes=(), roles={"train": RoleFacts(60, 60)})
    assert rows_bytes(DATA, "train") - rows_bytes(unlabeled, "train") == pytest.approx(60 * 8, abs=200)


def test_comes_close_to_the_file_that_the_rows_make():
    arrays = {"image": np.zeros((60, 3, 4, 5), "f4"), "age": np.zeros(60, "i8")}
    arrays |= {name: np.zeros(60, "i8") for name in ("ids", "units", "labels")}
    assert rows_bytes(DATA, "train") == pytest.approx(len(save(arrays)), abs=500)


def test_counts_tables_and_the_place_of_every_row():
    assert tables_bytes(DATA) == pytest.approx(100 * 69, abs=600)
    assert tables_bytes(replace(DATA, rows=200)) - tables_bytes(DATA) == 100 * 69
    assert split_bytes(DATA) == pytest.approx(8 * (60 + 30 + 100), abs=600)
    assert split_bytes(replace(DATA, rows=200)) - split_bytes(DATA) == 800
