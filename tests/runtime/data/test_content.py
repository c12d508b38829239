"""Row hashes: the same content gives the same hash, whatever its dtype or the order of columns."""

import numpy as np
import pytest

from titrant.runtime.data import content
from titrant.runtime.data.content import at_common_precision, number_hashes, row_hashes, row_names, salted_order


def test_takes_equal_numbers_of_any_dtype_as_equal():
    hashes = [
        row_hashes({"a": np.array([0, 1]).astype(dtype)}) for dtype in ("int64", "uint8", "float32", "float64", "bool")
    ]
    assert all(np.array_equal(hashes[0], other) for other in hashes)
    assert row_hashes({"a": np.array([-0.0])}) == row_hashes({"a": np.array([0.0])})
    quiet, payload = np.array([0x7FF8000000000000, 0x7FF8000000000001], dtype=np.uint64).view(np.float64)
    assert row_hashes({"a": np.array([quiet])}) == row_hashes({"a": np.array([payload])})


def test_tells_columns_places_and_large_numbers_apart():
    column, other = np.array([1.0, 2.0]), np.array([2.0, 1.0])
    assert not np.array_equal(row_hashes({"a": column, "b": other}), row_hashes({"a": other, "b": column}))
    assert len(set(row_hashes({"a": np.array([[1, 2], [2, 1], [1, 1]])}).tolist())) == 3
    assert len(set(row_hashes({"a": np.array([2**53, 2**53 + 1])}).tolist())) == 2
    mixed = row_hashes({"a": np.array([5, 2**60])})
    assert mixed[0] == row_hashes({"a": np.array([5])})[0]


@pytest.mark.parametrize("short", ["float32", "float16"])
def test_takes_rows_for_the_same_that_one_file_holds_in_shorter_floats(short):
    drawn = np.random.default_rng(0)
    whole = {"a": drawn.normal(size=20), "b": drawn.normal(size=(20, 3)), "n": np.arange(20), "t": np.array(["x"] * 20)}
    kept = {**whole, "a": whole["a"].astype(short), "b": whole["b"].astype(short)}
    assert not np.isin(row_hashes(whole), row_hashes(kept)).any()
    first, second = (row_hashes(columns) for columns in at_common_precision([whole, kept]))
    assert np.array_equal(first, second)
    alone = at_common_precision([whole, whole])
    assert all(columns[name] is whole[name] for columns in alone for name in whole)


def test_knows_what_stands_in_rows_under_other_names_in_one_array_and_in_shorter_floats():
    drawn = np.random.default_rng(0)
    array, words = drawn.normal(size=(30, 3)), np.array([f"w{place}" for place in range(30)])
    apart = [array[:, 0], array[:, 1:], words]
    assert np.array_equal(number_hashes(apart), number_hashes([array.astype(np.float32), words]))
    assert not np.isin(number_hashes([array[:, ::-1], words]), number_hashes(apart)).any()
    assert not np.isin(number_hashes([array, words[::-1]]), number_hashes(apart)).any()


def test_does_not_depend_on_the_order_of_columns_or_rows():
    a, b = np.arange(5.0), np.array(list("vwxyz"))
    first = row_hashes({"a": a, "b": b})
    assert np.array_equal(first, row_hashes({"b": b, "a": a}))
    assert np.array_equal(first[::-1], row_hashes({"a": a[::-1], "b": b[::-1]}))


def test_gives_another_order_for_another_seed():
    hashes = row_hashes({"a": np.arange(50)})
    assert not np.array_equal(np.argsort(salted_order(hashes, 1)), np.argsort(salted_order(hashes, 2)))


def test_is_the_same_in_every_process():
    # A change here gives every recipe another split.
    assert row_hashes({"a": np.array([1.5, 2.0]), "b": np.array(["x", "y"])}).tolist() == [
        9725380885405758909,
        2948223113383631923,
    ]


def test_names_a_row_so_that_trying_what_may_stand_in_it_finds_nothing():
    """Whoever tries all patient numbers has their content hashes; without the key they match no name."""
    numbers = np.arange(1000, dtype=np.int64)
    hashes = row_hashes({"patient": numbers})
    names = row_names(hashes, b"k" * 32)
    assert len(set(names)) == 1000
    assert names == row_names(hashes, b"k" * 32)
    assert not set(names) & set(row_names(hashes, b"l" * 32))
    assert not any(f"{value:016x}" in name for value, name in zip(hashes.tolist(), names, strict=True))
    assert all(len(name) == 32 for name in names)


def test_does_not_depend_on_how_many_numbers_are_hashed_at_once(monkeypatch):
    columns = {"x": np.random.default_rng(0).normal(size=(9, 2, 5)), "y": np.arange(9)}
    whole = row_hashes(columns)
    for numbers in (1, 3, 20, 1000):
        monkeypatch.setattr(content, "_CHUNK", numbers)
        assert row_hashes(columns).tolist() == whole.tolist()
