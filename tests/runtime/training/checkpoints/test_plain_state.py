"""States come back from tensors and JSON bit for bit, and what only a pickle could hold is refused by its place."""

import json
from collections import Counter

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from hypothesis import given, settings
from hypothesis import strategies as st
from same_states import same

from titrant.runtime.training.checkpoints.plain_state import Taken, put_together
from titrant.schema.diagnostics.diagnostics import StepError

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
TENSORS = st.builds(
    lambda shape, dtype, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(9).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(DTYPES),
    st.integers(0, 9),
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
KEYS = st.text(max_size=3) | st.integers(-2, 2)
STATES = st.recursive(
    PLAIN | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
        | st.dictionaries(st.integers(0, 9), st.integers(1, 3), max_size=2).map(Counter)
    ),
    max_leaves=8,
)


def back(state, **how):
    taken = Taken(state, **how)
    return put_together(json.loads(json.dumps(taken.json, allow_nan=False)), taken.tensors.__getitem__)


@settings(max_examples=50)
@given(STATES)
def test_gives_back_what_it_took(state):
    assert same(back({"state": state}), {"state": state})


def test_keeps_the_order_of_dimensions_in_memory():
    last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert back({"a": last})["a"].stride() == last.stride()
    assert torch.equal(back({"a": last})["a"], last)


def test_lets_parts_of_one_memory_be_tensors_of_their_own():
    whole = torch.arange(6.0)
    given_back = back({"a": whole, "b": whole[2:4], "c": whole.expand(2, 6)})
    assert [value.tolist() for value in given_back.values()] == [
        whole.tolist(), [2.0, 3.0], [whole.tolist(), whole.tolist()],
    ]  # fmt: skip


def test_writes_tied_tensors_once():
    tied = torch.randn(50)
    assert len(Taken({"a": tied, "b": tied}).tensors) == 1


def test_copies_where_that_is_asked_for():
    weight = torch.zeros(3)
    taken = Taken({"a": weight}, copied=True)
    weight += 1
    assert taken.tensors["a"].tolist() == [0, 0, 0]


def test_takes_arrays_and_numbers_of_numpy():
    array = np.arange(6, dtype=np.uint32).reshape(2, 3)[:, ::2]
    given_back = back({"a": array, "b": np.float64(0.1), "c": np.int64(3)})
    assert given_back["a"].dtype == np.uint32
    assert np.array_equal(given_back["a"], array)
    assert given_back["b"] == 0.1
    assert given_back["c"] == 3


@pytest.mark.parametrize(
    "value", [object(), len, torch.zeros(2, 2).to_sparse(), torch.zeros(2, device="meta"), b"bytes", 1j]
)
def test_refuses_what_only_a_pickle_could_hold(value):
    with pytest.raises(StepError) as caught:
        Taken({"custom": {"config": [1, value]}})
    assert caught.value.diagnostics[0].code == "X534"
    assert "custom.config.1" in caught.value.diagnostics[0].message
