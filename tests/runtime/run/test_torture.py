"""Fifty kills at random instants, in one home: the run completes, to the same bytes, and no finished step ran twice.

Parent and worker are one forked process here, so that a kill costs a tenth of a second and hits both at once;
test_interruption.py kills them as the two processes that they are, and benchmarks/torture.py the shipped recipes.
"""

import importlib.util
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from titrant.runtime.store.home import open_home
from titrant.runtime.store.journal import read
from titrant.runtime.store.verify import verify_store

spec = importlib.util.spec_from_file_location("toy_crash_torture", Path(__file__).with_name("test_crash_points.py"))
crash = importlib.util.module_from_spec(spec)
sys.modules["toy_crash_torture"] = crash
spec.loader.exec_module(crash)


def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def finished(toy):
    """Count, over every run of the home, how often each key finished."""
    return Counter(
        event["key"]
        for folder in toy.home.runs.iterdir()
        if (folder / "journal.jsonl").exists()
        for event in read(folder / "journal.jsonl")
        if event["event"] == "finished"
    )


@pytest.mark.slow
def test_completes_after_fifty_kills_and_finishes_no_step_twice(toy, make_plan):
    levels = tuple(range(1, 6))
    plan = make_plan(levels)
    begun = time.monotonic()
    undisturbed = crash.run_here(toy, plan, open_home(toy.home.path.with_name("undisturbed")))
    longest = (time.monotonic() - begun) / 5
    instants, kills = random.Random(5), 0
    while kills < 50:
        child = fork(lambda plan=plan: crash.run_here(toy, plan))
        time.sleep(instants.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status):  # it was done: go on with more to do
            levels = (*levels, levels[-1] + 1)
            plan = make_plan(levels)
    assert verify_store(toy.home).intact
    toy.ran()
    record = crash.run_here(toy, plan)
    assert record.exit == 0
    assert max(finished(toy).values()) == 1
    assert crash.run_here(toy, plan).executed == 0
    if levels == tuple(range(1, 6)):
        assert crash.outputs(record) == crash.outputs(undisturbed)
    same = set(crash.outputs(record)) & set(crash.outputs(undisturbed)) - {"latency"}
    assert {name: crash.outputs(record)[name] for name in same} == {
        name: crash.outputs(undisturbed)[name] for name in same
    }
    assert list(toy.home.unfinished.glob("put-*")) == []


@pytest.mark.slow
def test_shares_one_home_between_four_runs_of_overlapping_plans(toy, make_plan):
    crash.warm(toy, make_plan((1,)))
    plans = [make_plan((1, 2, 3)), make_plan((2, 3, 4)), make_plan((1, 2, 3)), make_plan((3, 4))]
    children = [fork(lambda plan=plan: crash.run_here(toy, plan)) for plan in plans]
    for child in children:
        os.waitpid(child, 0)
    assert max(finished(toy).values()) == 1
    assert verify_store(toy.home).intact
    toy.ran()
    assert [crash.run_here(toy, plan).executed for plan in plans] == [0, 0, 0, 0]
    assert [crash.run_here(toy, plan).released for plan in plans] == [("c3",), ("c4",), ("c3",), ("c4",)]
