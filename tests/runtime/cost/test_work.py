"""Operations without weights are priced by how many there are, by their bytes and by their FLOPs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import RunCost
from titrant.runtime.cost.forward import Speed, forward_seconds, work_seconds
from titrant.runtime.inspect.operation_work import OPERATION_KINDS
from titrant.schema.cost import FP32, Arithmetic
from titrant.schema.facts import ModelFacts
from titrant.schema.seen import OperationWork

SPEED = Speed(flops=1e9, int8=2e9, bytes=1e9, measured=True)
COST = RunCost(
    1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, operation_seconds=1e-6, work_passes={"exponential": 4.0, "product": 0.5},
    batched=0.25,
)  # fmt: skip


def model(**work):
    return ModelFacts("factory", "m", 0, 0, 0, (), (), (), 0, work=work)


def test_prices_rows_by_the_bytes_that_a_kind_moves():
    one = model(exponential=OperationWork(3, 1000, 1000))
    for batch in (1, 8, 32):
        assert work_seconds(one, SPEED, COST, batch) == pytest.approx(3e-6 + batch * 2000 * 4 / 1e9)


def test_prices_products_of_computed_arrays_by_their_flops():
    one = model(product=OperationWork(1, 100, 100, 5000))
    expected = 1e-6 + 200 * 0.5 / 1e9 + 5000 / (1e9 * 0.25)
    assert work_seconds(one, SPEED, COST, 1) == pytest.approx(expected)
    assert forward_seconds(one, SPEED, COST, 1) == pytest.approx(expected)


def test_takes_nothing_for_what_an_engine_does_without():
    assert work_seconds(model(clone=OperationWork(9, 10**6, 10**6)), SPEED, COST, 32) == 0.0


def test_takes_its_own_time_for_each_operation_that_moves_nothing():
    cost = replace(COST, work_passes={"view": 0.0})
    assert work_seconds(model(view=OperationWork(9, 10**6, 10**6)), SPEED, cost, 32) == pytest.approx(9e-6)


def test_lets_a_method_say_what_share_of_it_is_left():
    one = model(exponential=OperationWork(1, 10**6, 10**6))
    whole, half = (work_seconds(one, SPEED, COST, 1, how) - 1e-6 for how in (FP32, Arithmetic(work=0.5)))
    assert half == pytest.approx(whole / 2)
    assert Arithmetic(work=0.5).then(Arithmetic(work=0.5)).work == 0.25


@pytest.mark.parametrize("kind", [("onnxruntime", "onnx"), ("openvino", "ir"), ("torch", "torch")])
def test_every_engine_says_what_each_kind_takes_that_it_runs(kind):
    passes = backend.run_cost(*kind).work_passes
    assert set(passes) <= set(OPERATION_KINDS)
    assert {"elementwise", "exponential", "normalization", "copy", "reduction", "pooling", "product"} <= set(passes)


WORK = st.builds(OperationWork, st.integers(0, 50), *[st.integers(0, 10**7)] * 2, st.integers(0, 10**9))


@given(st.dictionaries(st.sampled_from(OPERATION_KINDS), WORK), st.integers(1, 64))
def test_more_rows_never_take_less_and_never_more_than_in_proportion(work, batch):
    one = model(**work)
    for kind in (("onnxruntime", "onnx"), ("torch", "torch")):
        cost = replace(backend.run_cost(*kind), call_seconds=0.0)
        single, many = (forward_seconds(one, SPEED, cost, size) for size in (1, batch))
        assert single <= many <= batch * single * (1 + 1e-9)
