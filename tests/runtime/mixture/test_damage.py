"""Damage is 0 where nothing moved, grows with what moved, and does not depend on what is no answer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.reading import Reading
from titrant.runtime.mixture.damage import damage, divergence, rank_correlation, silenced, spread, spread_over
from titrant.runtime.values import Outputs, Rows


def outputs(**arrays):
    return Outputs("tuning", {name: np.asarray(array, np.float32) for name, array in arrays.items()})


def rows_of(count, classes=("no", "yes")):
    numbers = np.arange(count)
    return Rows("tuning", {}, numbers % len(classes), numbers, numbers.astype(np.uint64), classes, 1)


@given(st.integers(0, 9), st.sampled_from(["binary_classification", "multiclass_classification", "unlabeled"]))
def test_is_nothing_where_nothing_moved_and_grows_with_what_did(seed, task):
    random = np.random.default_rng(seed)
    before = random.normal(size=(20, 2))
    away = random.normal(size=(20, 2))
    reading = Reading(task=task)
    far = [damage(reading, rows_of(20), outputs(y=before), outputs(y=before + by * away)) for by in (0, 0.05, 0.2, 0.8)]
    assert far[0] == 0
    assert far == sorted(far)
    assert far[1] > 0


def test_is_the_divergence_of_the_class_probabilities():
    before, after = np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.25, 0.75], [0.9, 0.1]])
    expected = (0.5 * np.log(2) + 0.5 * np.log(2 / 3)) / 2
    assert divergence(before, after) == pytest.approx(expected)
    reading = Reading(task="multiclass_classification", kinds={"y": "probabilities"})
    assert damage(reading, rows_of(2), outputs(y=before), outputs(y=after)) == pytest.approx(expected, rel=1e-5)
    logits = Reading(task="unlabeled", kinds={"y": "logits"})
    moved = damage(logits, rows_of(2), outputs(y=np.log(before) + 3), outputs(y=np.log(after) - 5))
    assert moved == pytest.approx(expected, rel=1e-5)


def test_stays_finite_where_what_happens_is_called_impossible():
    assert 20 < divergence(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])) < 30


def test_adds_the_squared_errors_of_outputs_that_are_no_classes():
    reading = Reading(task="unlabeled")
    before = outputs(a=np.full((4, 3), 2.0), b=np.zeros(4))
    after = outputs(a=np.full((4, 3), 2.2), b=np.full(4, 0.1))
    assert damage(reading, rows_of(4), before, after) == pytest.approx(0.01 + 0.04, rel=1e-5)


def test_silences_a_model_by_its_mean_answer():
    assert silenced(outputs(y=[[0, 4], [2, 0]])).arrays["y"].tolist() == [[1, 2], [1, 2]]


@given(st.integers(0, 300), st.integers(1, 300))
def test_spreads_rows_evenly(count, wanted):
    places = spread(count, wanted)
    assert len(places) == min(count, wanted)
    assert (np.diff(places) > 0).all()
    assert places.size == 0 or (places[0] == 0 and count - places[-1] <= -(-count // wanted))


def test_correlates_ranks():
    assert rank_correlation([1, 2, 3, 9], [10, 20, 30, 31]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_spreads_rows_over_the_values_of_subgroups_alike():
    """One row in forty is of site b, and would be 5 of 200 at even distances."""
    sites, ages = (np.arange(2000) % 40 == 0).astype(np.int64), np.arange(2000) % 3 - 1
    rows = replace(rows_of(2000), subgroups={"site": sites, "age": ages})
    places = spread_over(rows, 200, ["site"])
    assert (len(places), sites[places].sum()) == (150, 50)
    both = spread_over(rows, 200, ["site", "age"])
    assert len(both) <= 200
    assert min(np.unique(ages[both], return_counts=True)[1]) >= 40
    assert min(np.unique(sites[both], return_counts=True)[1]) >= 40
    assert spread_over(rows, 200, []).tolist() == spread(2000, 200).tolist()
