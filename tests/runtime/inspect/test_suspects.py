"""Columns that give the label away, and numbers that stand for missing ones, are found; strong and odd ones are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.inspect.suspects import label_leaks, stand_ins
from titrant.runtime.values import Table, Tables

ROWS = 300
CHANCE = np.random.default_rng(0)
LABELS = CHANCE.integers(0, 2, ROWS)
NOISE = CHANCE.normal(size=ROWS)


def leaking(**columns):
    return [leak.column for leak in label_leaks({name: np.asarray(column) for name, column in columns.items()}, LABELS)]


def test_finds_the_label_under_another_name_and_form():
    texts = np.where(LABELS == 1, "J18", "Z00")
    away = np.where(LABELS == 1, NOISE + 20, NOISE)
    between = np.where(LABELS == 1, NOISE / 10, np.where(NOISE > 0, 5.0, -5.0))
    gone = np.where(LABELS == 1, np.nan, NOISE)
    assert leaking(number=LABELS * 3.0, text=texts, truth=LABELS == 1, away=-away, between=between, gone=gone) == [
        "away", "between", "gone", "number", "text", "truth"
    ]  # fmt: skip


def test_leaves_strong_columns_names_of_rows_and_chance_alone():
    names = np.array([f"patient {place}" for place in range(ROWS)])
    strong = NOISE + 2.5 * LABELS
    assert leaking(noise=NOISE, strong=strong, names=names, place=np.arange(ROWS), constant=np.ones(ROWS)) == []


def test_says_how_surely_and_on_how_many_rows():
    (leak,) = label_leaks({"a": LABELS * 2.0}, LABELS)
    assert (leak.column, leak.measure, leak.score, leak.rows) == ("a", "AUROC", 1.0, ROWS)


def test_looks_at_several_classes():
    labels = CHANCE.integers(0, 4, ROWS)
    found = label_leaks({"code": labels[:] * 7, "text": np.array(list("dcba"))[labels], "noise": NOISE}, labels)
    assert [(leak.column, leak.measure) for leak in found] == [
        ("code", "balanced accuracy"), ("text", "balanced accuracy")
    ]  # fmt: skip


@pytest.mark.parametrize("labels", [np.zeros(50, int), np.r_[np.zeros(50, int), np.ones(4, int)], np.empty(0, int)])
def test_says_nothing_of_too_few_rows(labels):
    assert label_leaks({"a": labels * 2.0}, labels) == ()


@given(share=st.floats(0, 0.5), seed=st.integers(0, 99))
def test_finds_a_copy_of_the_label_as_far_as_it_is_one(share, seed):
    chance = np.random.default_rng(seed)
    copied = np.where(chance.random(ROWS) < share, 1 - LABELS, LABELS)
    wrong = np.mean([(copied[value == LABELS] != value).mean() for value in (0, 1)])
    assert (leaking(copied=copied) == ["copied"]) == (1 - wrong >= 0.99)


def found(column, apart=()):
    return [(one.number, one.rows) for one in stand_ins(Tables({"source": Table({"a": np.asarray(column)})}), apart)]


def test_finds_numbers_far_from_all_others():
    assert found([1.5, 2, 3, 4, 5, -999, -999]) == [(-999, 2)]
    assert found([37, 41, 52, 90, 18, 999, 999, 999]) == [(999, 3)]
    assert found([1, 2, 3, 4, 5, -9, -9, np.nan]) == [(-9, 2)]


def test_takes_numbers_in_their_place_for_values():
    assert found(list(range(-1200, 1200, 3))) == []
    assert found([70, 80, 85, 92, 60, 99, 99]) == []
    assert found([-20, -3, 5, 8, -15, -9, -9]) == []
    assert found([1, 2, 3, 4, 5, -999]) == []
    assert found(["-999", "-999", "1", "2", "3", "4", "5"]) == []
    assert found([1.5, 2, 3, 4, 5, -999, -999], apart=("a",)) == []
