"""Two models timed in turns: the interval of their ratio, which clock decides, and when nothing is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.statistics.paired_runs import (
    Margins,
    PairedRatio,
    TimedRuns,
    compare_runs,
    paired_ratio,
    timed_runs,
    untold,
    waiting_of,
)


def runs(wall, cpu=None, threads=1):
    cpu = wall if cpu is None else cpu
    return TimedRuns(tuple(wall), tuple(cpu) if threads == 1 else (), waiting_of(wall, cpu, threads))


def test_pairs_by_round_so_that_a_slow_spell_leaves_the_ratio_as_it_is():
    spell = [1.0] * 40 + [30.0] * 40
    ratio = paired_ratio([2e-3 * common for common in spell], [5e-3 * common for common in spell])
    assert [ratio.estimate, ratio.lower, ratio.upper] == pytest.approx([2.5] * 3)


def test_covers_the_true_ratio_in_about_nineteen_of_twenty_timings():
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        common = generator.lognormal(0, 1, 59)
        mine, theirs = (common * generator.lognormal(mean, 0.2, 59) for mean in (0, np.log(1.5)))
        ratio = paired_ratio(mine.tolist(), theirs.tolist())
        hits += ratio.lower <= 1.5 <= ratio.upper
    assert 0.92 <= hits / 400 <= 0.99


@given(st.lists(st.tuples(st.floats(1e-6, 1e2), st.floats(1e-6, 1e2)), min_size=1, max_size=80))
def test_is_the_other_way_round_for_the_other_model(pairs):
    mine, theirs = zip(*pairs, strict=True)
    ratio, back = paired_ratio(mine, theirs), paired_ratio(theirs, mine)
    assert ratio.lower <= ratio.estimate <= ratio.upper
    assert ratio.estimate == pytest.approx(1 / back.estimate)
    assert ratio.lower == pytest.approx(1 / back.upper)
    assert ratio.upper == pytest.approx(1 / back.lower)
    opposite = {"better": "worse", "worse": "better"}
    verdicts = compare_runs(runs(mine), runs(theirs)).verdict, compare_runs(runs(theirs), runs(mine)).verdict
    assert verdicts[1] == opposite.get(verdicts[0], verdicts[0])


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (PairedRatio(1.5, 1.4, 1.6), "better"),
        (PairedRatio(1.2, 1.01, 1.6), "better"),
        (PairedRatio(1.08, 1.05, 1.2), "alike"),
        (PairedRatio(1.0, 0.9, 1.15), "alike"),
        (PairedRatio(1.15, 0.99, 1.19), "alike"),
        (PairedRatio(1.0, 0.5, 1.1), "unknown"),
        (PairedRatio(1.3, 0.9, 1.9), "unknown"),
        (PairedRatio(0.95, 0.9, 0.99), "alike"),
        (PairedRatio(0.5, 0.4, 0.6), "worse"),
    ],
)
def test_counts_a_gap_only_above_a_tenth_and_above_its_interval(ratio, verdict):
    assert ratio.verdict == verdict


def test_counts_by_the_margins_that_it_is_asked_for_and_the_other_way_round_by_theirs_turned():
    margins = Margins(0.03, slower=0.1, faster=0.5)
    for ratio, verdict in (
        ((1.05, 1.01, 1.1), "better"),
        ((0.95, 0.9, 0.99), "worse"),
        ((1.02, 1.01, 1.03), "alike"),
        ((1.2, 0.92, 1.45), "alike"),
        ((0.97, 0.85, 1.02), "unknown"),
        ((1.3, 0.95, 1.6), "unknown"),
    ):
        estimate, lower, upper = ratio
        assert PairedRatio(*ratio, margins).verdict == verdict
        back = PairedRatio(1 / estimate, 1 / upper, 1 / lower, margins.turned()).verdict
        assert back == {"better": "worse", "worse": "better"}.get(verdict, verdict)


def test_small_margins_make_no_contradiction_of_two_clocks_that_differ_by_little():
    """Wall time of a busy machine is off by some hundredths: it contradicts where it shows a gap worth a headline."""
    cpu, margins = [1.0] * 60, Margins(0.03)
    waited = [9.0 * (place % 3 == 0) for place in range(60)]
    slower = runs([1.05 + wait for wait in waited], cpu)
    compared = compare_runs(slower, runs([1.0 + wait for wait in waited], cpu), margins)
    assert (compared.verdict, compared.clock, compared.busy) == ("alike", "cpu", True)
    much = runs([1.3 + wait for wait in waited], cpu)
    assert compare_runs(much, runs([1.0 + wait for wait in waited], cpu), margins).verdict == "unknown"


def test_lets_wall_time_decide_on_a_quiet_machine():
    # CPU time of an engine that hands work on is no measure; nothing waits much.
    compared = compare_runs(runs([1.0] * 60, [0.95] * 60), runs([2.0] * 60, [1.9] * 60))
    assert (compared.verdict, compared.clock, compared.busy, compared.ratio.estimate) == ("better", "wall", False, 2.0)


def test_lets_cpu_time_decide_where_runs_were_kept_waiting():
    """Both models lose 10 in most rounds: wall time says that they are alike."""
    mine, theirs = runs([11.0] * 40 + [1.0] * 20, [1.0] * 60), runs([12.0] * 40 + [2.0] * 20, [2.0] * 60)
    assert paired_ratio(mine.wall, theirs.wall).verdict == "alike"
    compared = compare_runs(mine, theirs)
    assert (compared.verdict, compared.clock, compared.busy, compared.ratio.estimate) == ("better", "cpu", True, 2.0)


def test_lets_cpu_time_decide_where_wall_time_tells_nothing():
    mine = runs([1.0, 9.0, 1.0] * 20, [1.0] * 60)
    theirs = runs([2.0, 2.0, 11.0] * 20, [2.0] * 60)
    assert compare_runs(mine, theirs).verdict == "better"
    half = TimedRuns((1.0,) * 31 + (40.0,) * 29, (1.0,) * 60, waiting=1.0)
    steady = runs([2.0] * 60)
    assert paired_ratio(half.wall, steady.wall).verdict == "unknown"
    compared = compare_runs(half, steady)
    assert (compared.verdict, compared.clock, compared.busy) == ("better", "cpu", False)


@given(st.integers(1, 60), st.floats(1.3, 100.0))
def test_calls_a_machine_busy_where_a_run_in_four_waited(waiting, times):
    wall = [1.0 + (times - 1) * (place < waiting) for place in range(60)]
    assert runs(wall, [1.0] * 60).busy == (waiting >= 15)


def test_tells_nothing_where_the_two_clocks_contradict_each_other():
    # An engine that sleeps takes long and computes little.
    sleeps, computes = runs([9.0] * 60, [0.1] * 60), runs([2.0] * 60)
    assert compare_runs(sleeps, computes).verdict == "unknown"
    assert compare_runs(computes, sleeps).verdict == "unknown"


def test_takes_no_tie_from_runs_that_waited_where_cpu_time_is_no_measure():
    """With several threads wall time alone is left; what is added to both models hides a gap."""
    cpu = [4.0] * 20 + [2.0] * 40
    waited = [1.0 + 9.0 * (place >= 20) for place in range(60)]
    mine, theirs = runs(waited, cpu, threads=4), runs([run + 0.5 for run in waited], cpu, threads=4)
    assert mine.busy
    assert paired_ratio(mine.wall, theirs.wall).verdict == "alike"
    assert compare_runs(mine, theirs).verdict == "unknown"
    assert compare_runs(mine, runs([3 * run for run in waited], cpu, threads=4)).verdict == "better"


@given(st.integers(2, 16), st.floats(0.1, 1.0), st.lists(st.floats(1e-5, 1e-1), min_size=10, max_size=60))
def test_calls_threads_that_help_each_other_poorly_no_busy_machine(threads, efficiency, wall):
    cpu = [run * threads * efficiency for run in wall]
    assert waiting_of(wall, cpu, threads) == pytest.approx(1.0)


def test_knows_of_no_waiting_where_the_clock_is_too_coarse():
    assert waiting_of([1e-5] * 10, [0.0] * 9 + [0.01], 1) is None
    assert waiting_of([1e-5], [], 1) is None


def test_pairs_the_rounds_that_both_have_and_nothing_without_any():
    ratio = paired_ratio([1.0] * 8 + [9.0] * 40, [2.0] * 8)
    assert (ratio.estimate, ratio.lower, ratio.upper) == (2.0, 2.0, 2.0)
    assert paired_ratio([], []) is None
    assert compare_runs(TimedRuns(), TimedRuns()) is None


@pytest.mark.parametrize("clock", ["wall", "cpu"])
def test_shows_no_verdict_of_fewer_rounds_than_have_an_interval(clock):
    timed = [runs([time] * 5, [time] * 5 if clock == "cpu" else None) for time in (1.0, 2.0)]
    few = compare_runs(timed[0], timed[1])
    assert (few.verdict, few.shown, few.interval) == ("better", "unknown", None)
    enough = compare_runs(TimedRuns((1.0,) * 6), TimedRuns((2.0,) * 6))
    assert (enough.shown, enough.interval) == ("better", (2.0, 2.0))


def test_leaves_out_the_sorted_samples_of_an_earlier_version():
    assert timed_runs({"p50": 1.0, "samples": [1.0, 2.0]}) == TimedRuns()
    assert timed_runs({"samples": [2.0, 1.0], "cpu": [], "waiting": None}) == TimedRuns((2.0, 1.0))


def test_says_whether_the_slowest_runs_waited_for_the_machine():
    assert runs([1.0] * 57 + [40.0] * 3, [1.0] * 60).tail_waited
    assert not runs([1.0] * 57 + [40.0] * 3).tail_waited
    assert not TimedRuns((1.0, 2.0)).tail_waited


def test_lists_the_fastest_with_those_that_its_runs_leave_open():
    steady = [1.0] * 60
    varied = [0.7, 1.4] * 30
    assert untold({"slower": runs([1.2] * 60), "fastest": runs(steady), "open": runs(varied)}) == ["fastest", "open"]
    assert untold({"fastest": runs(steady), "alike": runs([1.01] * 60), "slower": runs([1.5] * 60)}) == []
    assert untold({"fastest": runs(steady)}) == untold({}) == []
