"""Statistics of arrays are those of their finite values, whatever the library, and warn of what looks wrong."""

import math
import statistics

import mlx.core as mx
import mlx.nn
import numpy as np
import pytest
import torch  # noqa: TID253 - arrays of the tests
from hypothesis import given, settings
from hypothesis import strategies as st

import titrant
from titrant.runtime.arrays import numpy_arrays, torch_arrays

NUMBERS = st.sampled_from([0.0, 1.0, -2.5, 7.0, 1e-40, math.nan, math.inf, -math.inf])
MAKE = {
    "torch": lambda values: torch.tensor(values, dtype=torch.float32),
    "numpy": lambda values: np.array(values, np.float32),
    "mlx": lambda values: mx.array(values, mx.float32),
}


def only(value):
    (described,) = titrant.debug.statistics(value).arrays.values()
    return described


@pytest.mark.parametrize("library", MAKE)
@settings(max_examples=40)
@given(values=st.lists(NUMBERS, min_size=1, max_size=9))
def test_measures_the_finite_values(library, values):
    with pytest.MonkeyPatch.context() as patch:
        for arrays in (torch_arrays, numpy_arrays):
            patch.setattr(arrays, "_PIECE", 3)  # so that pieces are added up
        found = only(MAKE[library](values))
    finite = [value for value in values if math.isfinite(value)]
    assert (found.nan, found.infinite) == (sum(map(math.isnan, values)), sum(map(math.isinf, values)))
    assert (found.count, found.zero) == (len(values), values.count(0.0))
    if not finite:
        assert (found.mean, found.minimum) == (None, None)
        return
    assert (found.minimum, found.maximum) == pytest.approx((min(finite), max(finite)), rel=1e-6, abs=1e-38)
    assert found.mean == pytest.approx(statistics.fmean(finite), abs=1e-6)
    assert found.deviation == pytest.approx(statistics.pstdev(finite), abs=1e-6)
    assert found.subnormal == values.count(1e-40)


@pytest.mark.parametrize(
    ("array", "dtype", "mean"),
    [
        (torch.arange(5), "int64", 2.0),
        (torch.tensor([True, False]), "bool", 0.5),
        (torch.tensor([1.0, 3.0], dtype=torch.bfloat16), "bfloat16", 2.0),
        (torch.tensor([1.0, 3.0]).to(torch.float8_e4m3fn), "float8_e4m3fn", 2.0),
        (torch.tensor([3 + 4j]), "complex64", 5.0),
        (torch.quantize_per_tensor(torch.tensor([1.0, 3.0]), 0.5, 0, torch.qint8), "qint8", 2.0),
        (torch.tensor([0.0, 0.0, 4.0, 4.0]).to_sparse(), "float32", 2.0),
        (np.array([1, 3], np.uint8), "uint8", 2.0),
        (np.array([True, False]), "bool", 0.5),
        (mx.array([1, 3]), "int32", 2.0),
        (mx.array([1.0, 3.0], mx.bfloat16), "bfloat16", 2.0),
        (mx.array([3 + 4j]), "complex64", 5.0),
        (np.float32(2.0), "float32", 2.0),
        (torch.ones(2, 3, requires_grad=True).t(), "float32", 1.0),
    ],
)
def test_reads_every_kind_of_number(array, dtype, mean):
    found = only(array)
    assert (found.dtype, found.mean, found.ok) == (dtype, mean, True)


FAR = np.concatenate([np.sin(np.arange(100_000)), [1e4]])


@pytest.mark.parametrize(
    ("array", "warning"),
    [
        (np.zeros(3), "all values are 0"),
        (np.full(3, 2.5), "all values are 2.5"),
        (np.r_[np.zeros(95), np.ones(5)], "95 % of the values are 0"),
        (np.array([1.0, math.nan]), "NaN: 1 of 2 values"),
        (np.array([1.0, math.inf]), "infinite: 1 of 2 values"),
        (
            np.array([1e-40, 1.0], np.float32),
            "subnormal: 1 of 2 values, which lose digits and slow some processors down",
        ),
        (np.array([7e4, 0.0]), "values reach 7e+04, and float16 holds 65,504"),
        (FAR, "one value lies 316 standard deviations from the mean"),
        (np.zeros(0), "it is empty"),
        (torch.zeros(2, device="meta"), "on the meta device there are no values"),
        (torch.nn.LazyLinear(2).weight, "it has no shape before the first forward pass"),
        (torch.empty(2, dtype=torch.int4), "torch converts no int4 to numbers"),
        (np.array(["a"]), "arrays of str32 hold no numbers"),
    ],
)
def test_warns_of_what_looks_wrong(array, warning):
    assert warning in only(array).warnings


@pytest.mark.parametrize("array", [np.arange(9.0), np.array([70_000, 1]), torch.randn(50), np.array([5.0])])
def test_warns_of_nothing_else(array):
    assert only(array).warnings == ()


def test_writes_a_table_with_the_warnings_below():
    report = titrant.debug.statistics({"x": np.zeros((2, 3), np.float32), "n": 3}, name="batch")
    assert str(report).splitlines() == [
        "name        shape  dtype    mean  std  min  max  NaN  infinite",
        "batch['x']  2×3    float32  0     0    0    0    0    0",
        "batch['x']: all values are 0",
    ]
    assert report.warnings == ("batch['x']: all values are 0",)


def test_describes_fractions_as_it_checks_them():
    report = titrant.debug.statistics({"loss": float("nan"), "n": 3})
    assert report.warnings == ("value['loss']: NaN: 1 of 1 values",)
    assert only(2.5).mean == 2.5


def test_names_the_parameters_of_a_module():
    assert list(titrant.debug.statistics(torch.nn.Linear(2, 2)).arrays) == ["weight", "bias"]
    assert list(titrant.debug.statistics(mlx.nn.Linear(2, 2), name="m").arrays) == ["m.weight", "m.bias"]
