"""Turns: a run off the clock before each on it, and no collection of garbage meanwhile."""

import gc
import time

from titrant.runtime.machine.turns import Runs, no_garbage, percentiles, time_turn


def test_runs_once_off_the_clock_and_once_on_it():
    calls, runs = [], Runs()
    time_turn(lambda: calls.append(len(runs.wall)), runs)
    assert calls == [0, 0]
    assert len(runs.wall) == len(runs.cpu) == 1
    assert runs.wall[0] > 0


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
