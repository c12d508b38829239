"""Calibration rows of another distribution are told, with the statistic; those of a random split are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.inspect.shift import shift_note, shifts
from titrant.runtime.values import Rows


def rows(role, **arrays):
    places = np.arange(len(next(iter(arrays.values()))))
    return Rows(role, arrays, None, places, places.astype(np.uint64))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    first=st.integers(1, 300),
    second=st.integers(1, 300),
    kind=st.sampled_from(["normal", "counts", "constant", "heavy", "images"]),
)
def test_says_nothing_of_a_random_split(seed, first, second, kind):
    generator = np.random.default_rng(seed)
    size = (first + second, *((1, 20, 20) if kind == "images" else (6,)))
    values = {
        "normal": lambda: generator.normal(size=size),
        "counts": lambda: generator.integers(0, 3, size=size),
        "constant": lambda: np.ones(size),
        "heavy": lambda: generator.standard_cauchy(size=size),
        "images": lambda: generator.random(size=size),
    }[kind]().astype(np.float32)
    assert shifts(rows("calibration", x=values[:first]), [rows("tuning", x=values[first:])], {}) == []


@pytest.mark.parametrize(
    ("change", "distance", "outside"),
    [(lambda x: x + 3, 0.8, 0.3), (lambda x: x * 10, 0.2, 0.5), (np.abs, 0.4, 0.0), (lambda x: x * 0, 0.4, 0.0)],
    ids=["moved", "wider", "one-sided", "constant"],
)
def test_names_the_column_with_its_distance_and_the_share_beyond_the_range(change, distance, outside):
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(200, 3)), generator.normal(size=(400, 3))
    second[:, 1] = change(second[:, 1])
    [shift] = shifts(rows("calibration", x=first), [rows("tuning", x=second)], {"x": ("age", "dose", "days")})
    assert shift.column == "dose"
    assert shift.distance >= distance
    assert shift.outside >= outside
    assert f"dose (Kolmogorov-Smirnov {shift.distance:.2f}, {shift.outside:.0%}" in shift_note([shift])


def test_compares_wide_inputs_by_each_row_s_mean_and_spread():
    generator = np.random.default_rng(0)
    dark = generator.random(size=(60, 1, 20, 20))
    found = shifts(rows("calibration", image=dark), [rows("tuning", image=dark[:50] * 0.5)], {})
    assert {shift.column for shift in found} == {"the mean of image", "the spread of image"}


def test_names_three_of_many_columns():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(200, 5))
    note = shift_note(shifts(rows("calibration", x=first), [rows("tuning", x=first + 5)], {}))
    assert "x[0]" in note
    assert " and 2 more: " in note
    assert shift_note([]) == ""
