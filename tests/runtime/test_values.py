"""A value that is kept is the value that loading gives: also in how its arrays lie in memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from titrant.runtime.backends import kinds
from titrant.runtime.values import Outputs, Rows, Table, Tables, laid_out


def odd(shape):
    """Return an array whose strides are not those of its shape, as slicing, transposing and new axes leave them."""
    return np.arange(2 * np.prod(shape), dtype=np.float32).reshape((*shape[::-1], 2))[..., 0].T


@given(arrays.arrays(np.float32, arrays.array_shapes(max_dims=4, max_side=4)), st.randoms(use_true_random=False))
def test_changes_no_number(array, random):
    axes = random.sample(range(array.ndim), array.ndim)
    found = laid_out(array.transpose(axes))
    np.testing.assert_array_equal(found, array.transpose(axes))
    assert found.strides == np.zeros(found.shape, np.float32).strides


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("tables", Tables({"source": Table({"x": odd((5, 1, 4)), "y": odd((5,)), "name": np.array(list("abcde"))})})),
        ("rows", Rows("train", {"x": odd((5, 1, 4))}, np.arange(5), np.arange(5), np.arange(5, dtype=np.uint64))),
        ("outputs", Outputs("tuning", {"scores": odd((5, 1, 2))})),
    ],
    ids=["tables", "rows", "outputs"],
)
def test_keeps_a_value_as_it_would_be_loaded(tmp_path, kind, value):
    kinds.save(kind, value, tmp_path)
    kept, loaded = kinds.as_loaded(kind, value), kinds.load(kind, tmp_path)
    for mine, theirs in zip(found_in(kept), found_in(loaded), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.strides == theirs.strides


def test_lays_out_images_of_several_sizes():
    images = np.empty(2, dtype=object)
    images[:] = [odd((3, 4)), odd((1, 2))]
    for before, after in zip(images, laid_out(images), strict=True):
        np.testing.assert_array_equal(before, after)
        assert after.strides == np.zeros(after.shape, np.float32).strides


def found_in(value):
    """List the arrays of a value."""
    if isinstance(value, np.ndarray):
        return [value]
    items = value.values() if isinstance(value, dict) else vars(value).values() if hasattr(value, "__dict__") else ()
    return [array for item in items for array in found_in(item)]
