"""Figures of what was timed: intervals that hold, ratios of the same rounds, and settings that time nothing."""

import os

import numpy as np
import pytest

from titrant.runtime.instruments.measure.figures import (
    BenchSettings,
    batch_times,
    bounded_percentile,
    checked_settings,
)
from titrant.runtime.machine.turns import Runs
from titrant.schema.diagnostics.diagnostics import RecipeError

CPU = {"a": "cpu", "b": "cpu"}


def test_bounds_a_percentile_by_order_statistics_alone():
    figure = bounded_percentile([float(n) for n in range(100, 0, -1)], 0.5)
    assert (figure.lower, figure.estimate, figure.upper) == (40.0, 50.5, 61.0)


def test_leaves_open_what_the_runs_are_too_few_for():
    assert bounded_percentile([1.0] * 100, 0.99).upper is None
    assert bounded_percentile([1.0] * 100, 0.95).upper == 1.0
    assert bounded_percentile([1.0] * 500, 0.99).upper == 1.0


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_holds_the_true_percentile_as_often_as_it_says(share):
    generator = np.random.default_rng(0)
    true = float(np.log(1 / (1 - share)))  # of an exponential
    held = 0
    for _ in range(400):
        figure = bounded_percentile(generator.exponential(size=120).tolist(), share)
        held += figure.lower <= true <= (np.inf if figure.upper is None else figure.upper)
    assert held / 400 > 0.94


def test_compares_with_the_first_run_for_run():
    slow = np.random.default_rng(1).uniform(1, 3, 80)  # a machine that drifts
    runs = {"a": Runs(slow.tolist(), slow.tolist()), "b": Runs((slow / 2).tolist(), (slow / 2).tolist())}
    times = batch_times(4, runs, 1, CPU)
    assert times["a"].against_first is None
    speed = times["b"].against_first
    assert (speed.factor, speed.verdict, speed.clock) == (pytest.approx(2), "better", "wall")
    assert times["b"].cases_per_second.estimate == pytest.approx(4 / times["b"].p50.estimate)
    assert times["b"].cases_per_second.lower == pytest.approx(4 / times["b"].p50.upper)


def test_tells_no_cpu_time_of_several_threads_or_a_device():
    runs = {"a": Runs([1.0] * 9, [1.0] * 9)}
    assert batch_times(1, runs, 1, CPU).popitem()[1].cpu_p50.estimate == 1.0
    assert batch_times(1, runs, 2, CPU).popitem()[1].cpu_p50 is None
    assert batch_times(1, runs, 1, {"a": "cuda:0"}).popitem()[1].cpu_p50 is None


def test_lets_the_wall_clock_decide_where_a_model_waits_by_itself():
    asleep = Runs([0.020] * 20, [0.001] * 20, pauses=[1] * 20)
    quick = Runs([0.010] * 20, [0.009] * 20, pauses=[0] * 20)
    times = batch_times(1, {"asleep": asleep, "quick": quick}, 1, {"asleep": "cpu", "quick": "cpu"})
    assert times["asleep"].computing == pytest.approx(0.05)
    assert (times["asleep"].waiting, times["asleep"].cpu_p50, times["quick"].computing) == (None, None, None)
    speed = times["quick"].against_first
    assert (speed.factor, speed.clock, speed.verdict) == (pytest.approx(2), "wall", "better")


@pytest.mark.parametrize(
    ("settings", "batches", "says"),
    [
        (BenchSettings(iterations=0), None, "iterations is 0"),
        (BenchSettings(warmup=-1), None, "warmup is -1"),
        (BenchSettings(threads=0), None, "threads is 0"),
        (BenchSettings(threads=99_999), None, f"threads is 99,999, and this machine has {os.cpu_count()} cores"),
        (BenchSettings(iterations=2.5), None, "iterations is 2.5"),
        (BenchSettings(iterations=True), None, "iterations is True"),
        (BenchSettings(), (1, 0), "batch is 0"),
        (BenchSettings(), (), "no batch size is given"),
    ],
)
def test_refuses_numbers_that_time_nothing(settings, batches, says):
    with pytest.raises(RecipeError) as caught:
        checked_settings(settings, batches)
    assert (caught.value.diagnostics[0].code, caught.value.diagnostics[0].message) == ("X671", says)
