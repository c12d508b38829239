"""Inputs of what is timed: shapes as people write them, what a model says, data, and the same numbers every time."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.instruments.measure.inputs import (
    BATCH,
    InputShape,
    drawn,
    given_shapes,
    merged,
    parse_shape,
    read_arrays,
    repeated,
)
from titrant.schema.diagnostics.diagnostics import RecipeError

NAMES = st.sampled_from(["x", "input_ids", "a.b", "größe", "1"])
SIZES = st.lists(st.integers(1, 999), min_size=1, max_size=5)


def wrong(call):
    with pytest.raises(RecipeError) as caught:
        call()
    return caught.value.diagnostics[0]


@given(NAMES, SIZES, st.sampled_from(["", "float32", "int64", "bool"]), st.integers(1, 99_999))
def test_reads_a_shape_as_it_is_written(name, sizes, dtype, below):
    written = f"{name}={','.join(map(str, sizes))}"
    written += f":{dtype}:{below}" if dtype else ""
    assert parse_shape(written) == InputShape(name, tuple(sizes), dtype, below if dtype else 2)


@given(st.text(max_size=12))
def test_reads_or_refuses_any_text(text):
    shape = None
    with contextlib.suppress(RecipeError):
        shape = parse_shape(text)
    assert shape is None or all(size == BATCH or size > 0 for size in shape.sizes)
    assert shape is None or shape.sizes


@pytest.mark.parametrize("text", ["", "0,3", "-1,3", "3.5", "x=", "1,3:float33", "1,3:int64:0", "1,,:", "a=b=1"])
def test_refuses_what_is_no_shape(text):
    assert wrong(lambda: parse_shape(text)).code == "X673"


def test_takes_a_shape_of_one_input_whatever_it_is_called():
    specs = (("image", (BATCH, 3, 8, 8), "float32"),)
    assert merged((parse_shape("5,3,8,8"),), specs) == (InputShape("image", (5, 3, 8, 8), "float32"),)


def test_takes_dtypes_and_closed_sizes_from_the_model():
    specs = (("ids", (BATCH, "length"), "int64"), ("scale", (BATCH,), "float16"))
    shapes = merged((parse_shape("ids=1,7::50"),), specs)
    assert shapes == (InputShape("ids", (1, 7), "int64", 50), InputShape("scale", (BATCH,), "float16"))


@pytest.mark.parametrize(
    ("written", "specs", "says"),
    [
        ([], (("ids", (BATCH, "length"), "int64"),), "leaves length open"),
        ([], (("text", (BATCH,), "object"),), "no such values are drawn"),
        ([], (), "nothing says what the model takes"),
        (["1,3"], (("x", (BATCH, 3, 4), "float32"),), "2 sizes are given for x (batch, 3, 4)"),
        (["y=1,3"], (("x", (BATCH, 3), "float32"),), "no input y: it takes x"),
        (["1,3"], (("x", (BATCH, 3), "float32"), ("y", (BATCH,), "int64")), "write NAME=SIZES for each"),
        (["x=1,3", "x=1,4"], (), "two shapes are of one input"),
        (["x=1,3", "y=2,3"], (), "x (1, 3) and y (2, 3) have batches of other sizes: a run has one"),
        (["1,5"], (("x", (BATCH, 3), "float32"),), "(1, 5) is given for x, and the model takes (batch, 3)"),
    ],
)
def test_says_which_size_or_name_is_missing(written, specs, says):
    diagnostic = wrong(lambda: merged(tuple(map(parse_shape, written)), specs))
    assert diagnostic.code == "X673"
    assert says in diagnostic.message


def test_draws_the_same_numbers_for_a_seed_and_whole_ones_below_the_limit():
    shapes = (InputShape("ids", (1, 50), "int64", 7), InputShape("mask", (1, 50), "bool"), InputShape("x", (1, 2)))
    once, again, other = (drawn(shapes, seed)(4) for seed in (1, 1, 2))
    assert all((once[name] == again[name]).all() for name in once)
    assert (once["x"] != other["x"]).any()
    assert set(once["ids"].ravel()) == set(range(7))
    assert {name: (array.shape, str(array.dtype)) for name, array in once.items()} == {
        "ids": ((4, 50), "int64"),
        "mask": ((4, 50), "bool"),
        "x": ((4, 2), "float32"),
    }


def test_draws_one_number_for_a_whole_batch():
    made = drawn((InputShape("rate", (), "int64", 100),), 0)(5)["rate"]
    assert made.shape == (5,)
    assert len(set(made)) == 1


def test_begins_anew_where_data_have_fewer_rows_than_a_batch():
    rows = np.arange(6).reshape(3, 2)
    made = repeated({"x": rows, "scale": 2.0})(7)
    assert made["x"][:, 0].tolist() == [0, 2, 4, 0, 2, 4, 0]
    assert made["scale"] == 2.0


def test_refuses_shapes_of_python_that_are_none():
    assert given_shapes((BATCH, 3), "float32") == (InputShape("", (BATCH, 3), "float32"),)
    for shape in ((), "3,4", (1, 0), (1, True), (1.5, 2)):
        assert wrong(lambda shape=shape: given_shapes(shape, "")).code == "X673"


def test_reads_arrays_and_refuses_what_holds_none(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros((3, 2)), b=np.zeros(3))
    assert set(read_arrays(tmp_path / "two.npz")) == {"a", "b"}
    (tmp_path / "no.npz").write_text("x")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "one.npy", np.float32(1))
    assert wrong(lambda: read_arrays(tmp_path / "gone.npz")).code == "X702"
    for name in ("no.npz", "objects.npy", "one.npy"):
        assert wrong(lambda name=name: read_arrays(tmp_path / name)).code == "X673"
