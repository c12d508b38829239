"""Sizes and times in text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.schema.values.units import (
    counted,
    format_size,
    format_time,
    parse_size,
    parse_time,
    write_size,
    write_time,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1 B", 1),
        ("12 GiB", 12 * 2**30),
        ("200 KiB", 204_800),
        ("200 KB", 200_000),
        ("1.5MiB", 1_572_864),
        ("3 kB", 3000),
        ("0.001 KB", 1),
    ],
)
def test_reads_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250 ms", 0.25), ("1.1 ms", 0.0011), ("5us", 5e-6), ("5 \u03bcs", 5e-6), ("2 min", 120.0), ("1.5 h", 5400.0)],
)
def test_reads_times_to_the_nearest_number(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("200", "has no unit"),
        ("200 kib", "did you mean `200 KiB`"),
        ("200 parsecs", "the units are"),
        ("big", "written like"),
        ("-3 KiB", "written like"),
        ("0 KiB", "less than one byte"),
        ("0.6 B", "less than one byte"),
        ("0.0005 MiB", "less than a thousandth of its unit; write `524 B`"),
        ("1,5 GiB", "the decimal sign is a point: write `1.5 GiB`"),
        ("", "written like"),
        ("9" * 30 + " B", "written like"),
    ],
)
def test_says_what_is_wrong_with_a_size(text, words):
    with pytest.raises(ValueError, match=words):
        parse_size(text)


@pytest.mark.parametrize(("count", "text"), [(0, "0 steps"), (1, "1 step"), (1200, "1,200 steps")])
def test_writes_a_count_with_the_singular_for_one_and_else_the_plural(count, text):
    assert counted(count, "step") == text
    assert counted(count, "child", "children") == text.replace("steps", "children").replace("step", "child")


@given(st.integers(1, 10**18 - 1))
def test_writes_sizes_that_read_the_same(size):
    assert parse_size(write_size(size)) == size


@given(st.floats(1e-9, 1e9))
def test_writes_times_that_read_the_same(seconds):
    assert parse_time(write_time(seconds)) == seconds


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (11878, "11.6 KiB"), (3 * 2**30, "3.0 GiB"), (-2048, "-2.0 KiB")]
)
def test_shows_sizes(size, text):
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0012, "1.2 ms"),
        (0.0123, "12.3 ms"),
        (12.52, "12.5 s"),
        (4.2e-7, "420 ns"),
        (125, "2 min 5 s"),
        (7265, "2 h 1 min"),
    ],
)
def test_shows_times(seconds, text):
    assert format_time(seconds) == text


@given(st.floats(0, 1e7))
def test_shows_any_time_in_few_letters(seconds):
    assert len(format_time(seconds)) <= 14
    assert math.isfinite(seconds)
