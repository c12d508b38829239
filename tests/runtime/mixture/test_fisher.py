"""Directions of the outputs: what a small change moves along them, squared, is the damage that it does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.reading import Reading
from titrant.runtime.mixture.damage import damage
from titrant.runtime.mixture.fisher import directions
from titrant.runtime.values import Outputs, Rows

ROWS = 400
READINGS = {
    "logits": Reading(task="multiclass_classification"),
    "probabilities": Reading(task="multiclass_classification", kinds={"y": "probabilities"}),
    "log_probabilities": Reading(task="multiclass_classification", kinds={"y": "log_probabilities"}),
    "unlabeled logits": Reading(task="unlabeled", kinds={"y": "logits"}),
    "values": Reading(task="unlabeled"),
}


def answered(kind, logits):
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return {"probabilities": shares, "log_probabilities": np.log(shares)}.get(kind, logits)


@given(st.sampled_from(sorted(READINGS)), st.integers(2, 12), st.integers(0, 9))
def test_gives_the_damage_of_a_small_change(kind, classes, seed):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(ROWS, classes))
    away = 0.03 * random.normal(size=(ROWS, classes))
    before, after = (answered(kind, values) for values in (logits, logits + away))
    numbers = np.arange(ROWS)
    names = tuple(str(place) for place in range(classes))
    rows = Rows("tuning", {}, numbers % classes, numbers, numbers.astype(np.uint64), names)
    drawn = directions(READINGS[kind], rows, np.random.default_rng(1), {"y": before})
    moved = [((direction["y"] * (after - before)).sum(axis=1) ** 2).mean() for direction in drawn]
    true = damage(READINGS[kind], rows, Outputs("tuning", {"y": before}), Outputs("tuning", {"y": after}))
    # The sum over up to four classes is exact to the second order, that under random signs is a sample.
    assert np.mean(moved) == pytest.approx(true, rel=0.1 if classes <= 4 and kind != "values" else 0.35)


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_reads_one_number_as_two_classes(kind):
    random = np.random.default_rng(4)
    logits, away = random.normal(size=(ROWS, 1)), 0.03 * random.normal(size=(ROWS, 1))
    before, after = (values if kind == "logits" else 1 / (1 + np.exp(-values)) for values in (logits, logits + away))
    numbers = np.arange(ROWS)
    rows = Rows("tuning", {}, numbers % 2, numbers, numbers.astype(np.uint64), ("no", "yes"), 1)
    reading = Reading(task="binary_classification", kinds={"y": kind})
    (direction,) = directions(reading, rows, np.random.default_rng(1), {"y": before})
    true = damage(reading, rows, Outputs("tuning", {"y": before}), Outputs("tuning", {"y": after}))
    assert ((direction["y"] * (after - before)) ** 2).mean() == pytest.approx(true, rel=0.1)


def test_weighs_positions_of_one_case_alike():
    random = np.random.default_rng(4)
    before = random.normal(size=(ROWS, 7, 3))
    after = before + 0.03 * random.normal(size=before.shape)
    numbers = np.arange(ROWS)
    rows = Rows("tuning", {}, None, numbers, numbers.astype(np.uint64))
    reading = READINGS["unlabeled logits"]
    drawn = directions(reading, rows, np.random.default_rng(1), {"y": before})
    moved = [((direction["y"] * (after - before)).sum(axis=(1, 2)) ** 2).mean() for direction in drawn]
    true = damage(reading, rows, Outputs("tuning", {"y": before}), Outputs("tuning", {"y": after}))
    assert np.mean(moved) == pytest.approx(true, rel=0.35)
