"""The stored kinds of the data room: read back as they were, and written to the same bytes."""

import numpy as np
import pytest

from titrant.runtime.backends import kinds
from titrant.runtime.values import Fitted, Rows, RowSplit, Table, Tables, Transforms


def ragged():
    images = np.empty(2, dtype=object)
    images[0], images[1] = np.ones((3, 2, 2), np.float32), np.zeros((3, 4, 1), np.float32)
    return images


VALUES = {
    "tables": Tables(
        {
            "a/b": Table(
                {"é 1": np.array([1, 2]), "t": np.array(["x", "日本"]), "f": np.array([True, False]), "i": ragged()},
                {"1": "one"},
                ("a note",),
            ),
            "c": Table({"u": np.zeros((2, 3), np.uint8)}),
        }
    ),
    "split": RowSplit({"train": {"a/b": np.array([0, 2])}, "tuning": {}}, {"a/b": np.array([0, 1, 1])}, ("note",), 3),
    "rows": Rows(
        "train", {"x": np.ones((2, 3), np.float32)}, np.array([0, 1]), np.array([4, 5]),
        np.array([1, 2**64 - 1], np.uint64),
        ("n", "p"), 1, {"g": np.array([-1, 0])}, {"g": ("≥ 16",)},
    ),
    "transforms": Transforms(
        (Fitted("standardize", ("a",), {}, {"0.mean": np.array(1.5)}),
         Fitted("one_hot", ("s",), {}, {"0": np.array(["x", "y"])})),
        {"z": ("a", "s"), "b": ("i",)}, {"z": "float32", "b": "int64"}, ("n", "p"), None,
    ),
}  # fmt: skip


def same(one, other):
    if isinstance(one, np.ndarray):
        if one.dtype == object:
            return all(same(a, b) for a, b in zip(one, other, strict=True))
        return one.dtype == other.dtype and one.ravel().tolist() == other.ravel().tolist()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_reads_back_what_it_wrote_and_writes_the_same_bytes_again(tmp_path, kind):
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir()
    again.mkdir()
    kinds.save(kind, VALUES[kind], first)
    back = kinds.load(kind, first)
    assert same(VALUES[kind], back)
    kinds.save(kind, back, again)
    written = {path.name: path.read_bytes() for path in first.iterdir()}
    assert written == {path.name: path.read_bytes() for path in again.iterdir()}


def test_keeps_rows_without_labels(tmp_path):
    rows = Rows("evaluation", {"x": np.ones((0, 3), np.float32)}, None, np.empty(0, np.int64), np.empty(0, np.uint64))
    kinds.save("rows", rows, tmp_path)
    assert kinds.load("rows", tmp_path).labels is None
