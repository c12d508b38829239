"""Turns: runs off the clock before each on it, and no collection of garbage meanwhile."""

import gc
import time
from types import SimpleNamespace

import pytest

from titrant.runtime.machine import turns
from titrant.runtime.machine.turns import Runs, no_garbage, percentiles, time_turn


@pytest.mark.parametrize(("seconds", "off"), [(0.0001, 3), (0.0009, 3), (0.0015, 2), (0.002, 1), (0.5, 1)])
def test_runs_off_the_clock_for_two_milliseconds_and_once_on_it(monkeypatch, seconds, off):
    clock = SimpleNamespace(now=0.0, calls=0)

    def work():
        clock.now += seconds
        clock.calls += 1

    timer = SimpleNamespace(perf_counter=lambda: clock.now, process_time=lambda: clock.now)
    monkeypatch.setattr(turns, "time", timer)
    runs = Runs()
    time_turn(work, runs, 3)
    assert clock.calls == off + 1
    assert runs.wall == runs.cpu == pytest.approx([seconds])


def test_tells_a_run_that_waits_by_itself_from_one_that_computes():
    waiting, computing = Runs(), Runs()
    for _ in range(3):
        time_turn(lambda: time.sleep(1e-4), waiting)
        time_turn(lambda: sum(range(100)), computing)
    assert (waiting.waits, computing.waits, Runs().waits) == (True, False, False)


def test_collects_garbage_again_afterwards_and_leaves_it_off_where_it_was_off():
    with no_garbage():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with no_garbage():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_gives_quantiles_in_any_order_of_runs():
    assert percentiles([3.0, 1.0, 2.0], (0.0, 0.5, 1.0)) == (1.0, 2.0, 3.0)
