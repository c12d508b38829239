"""Gates on time, size and memory."""

from dataclasses import replace

import numpy as np
import pytest

from titrant.runtime.contract.judge import judge

LABELS = np.array([1] * 63 + [0] * 108)


def timings(samples):
    ordered = sorted(samples)
    p50, p95, p99 = np.quantile(ordered, (0.5, 0.95, 0.99))
    timing = {"p50": p50, "p95": p95, "p99": p99, "samples": ordered, "throughput": 8 / p50}
    return {"8": timing, "peak_bytes": 5000, "peak_samples": [4600, 5000, 4500, 4900, 4800]}


def test_judges_latency_by_the_order_statistic(evidence, gate):
    latency = gate("order_statistic", "latency_p95", "at_most", 0.005, preset="target", unit="s")
    found = evidence(LABELS, LABELS, LABELS, timing_batch=8)
    steady = replace(found, figures=timings([0.004] * 59))
    assert judge(latency, steady).verdict == "PASS"
    assert judge(latency, steady).method == "order statistics, of runs after the choice"
    assert judge(latency, replace(found, figures=timings([0.004] * 58 + [0.006]))).verdict == "INCONCLUSIVE"
    assert judge(latency, replace(found, figures=timings([0.006] * 59))).verdict == "FAIL"
    short = judge(latency, replace(found, figures=timings([0.001] * 58)))
    assert (short.verdict, short.needed_cases) == ("INCONCLUSIVE", 59)
    assert "58 runs, and 59 are needed" in short.reason
    assert judge(latency, found).verdict == "INCONCLUSIVE"


def test_takes_the_bound_of_latency_further_where_slow_runs_come_in_spells(evidence, gate):
    quiet = list(np.random.default_rng(1).lognormal(np.log(0.001), 0.03, 160))
    slowed = [seconds * 1.4 if 40 <= place < 56 else seconds for place, seconds in enumerate(quiet)]

    def judged(samples, blocks, limit=0.005):
        latency = gate("order_statistic", "latency_p95", "at_most", limit, unit="s")
        figures = timings(samples)
        figures["8"] |= {"samples": samples, "blocks": blocks}
        return judge(latency, evidence(LABELS, LABELS, LABELS, figures=figures, timing_batch=8))

    passed = judged(quiet, [2] * 80)
    assert (passed.verdict, passed.cases) == ("PASS", 80)
    assert "blocks" in passed.method
    slowest = max(slowed)
    near = judged(slowed, [2] * 80, limit=1.2 * slowest)  # another spell of 1.4 upon the one that was seen
    assert near.verdict == "INCONCLUSIVE"
    assert near.upper > 1.2 * slowest
    assert "spells" in near.reason
    far = judged(slowed, [2] * 80)
    assert far.verdict == "PASS"
    assert "spells" in far.reason
    assert judged(slowed, [2] * 80, limit=0.0005).verdict == "FAIL"
    assert judged(slowed, [2] * 80, limit=0.0009).verdict == "INCONCLUSIVE"
    few = judged(quiet[:120], [2] * 60)
    assert (few.verdict, "60 blocks of runs, and 63 are needed" in few.reason) == ("INCONCLUSIVE", True)


@pytest.mark.parametrize("metric", ["latency_p95", "peak_memory"])
def test_leaves_time_and_memory_open_for_a_model_that_failed_in_timing(evidence, gate, metric):
    failed = evidence(LABELS, LABELS, LABELS, figures={"failed": "a node failed"})
    test = "counted" if metric == "peak_memory" else "order_statistic"
    result = judge(gate(test, metric, "at_most", 1e9, preset="target"), failed)
    assert (result.verdict, result.estimate) == ("INCONCLUSIVE", None)
    assert metric == "peak_memory" or "it failed while it was timed: a node failed" in result.reason


def test_judges_throughput_by_the_median(evidence, gate):
    found = evidence(LABELS, LABELS, LABELS, timing_batch=8, figures=timings([0.004] * 59))
    result = judge(gate("order_statistic", "throughput", "at_least", 1900.0, unit="cases/s"), found)
    assert (result.verdict, result.estimate) == ("PASS", 2000.0)


def test_counts_every_run_of_a_block_offline(evidence, gate):
    """One run in six is ten times slower: the median of runs does not see it, the cases of a block wait for it."""
    samples = [0.004, 0.004, 0.04, 0.004, 0.004, 0.004] * 5

    def judged(threshold, blocks):
        figures = timings(samples)
        figures["8"] |= {"samples": samples, "blocks": blocks}
        found = evidence(LABELS, LABELS, LABELS, timing_batch=8, figures=figures)
        return judge(gate("offline_blocks", "throughput", "at_least", threshold, unit="cases/s"), found)

    passed = judged(799.0, [6] * 5)
    assert (passed.verdict, round(passed.estimate), passed.cases) == ("PASS", 800, 5)
    assert "at the median of 5 blocks of runs at batch 8" in passed.reason
    assert judged(801.0, [6] * 5).verdict == "FAIL"
    short = judged(10.0, [10] * 3)
    assert (short.verdict, "3 blocks of runs, and 5 are needed" in short.reason) == ("INCONCLUSIVE", True)


def test_judges_size_as_it_was_counted(evidence, gate):
    found = evidence(LABELS, LABELS, LABELS, size=2000, figures=timings([1.0]))
    size = gate("counted", "size", "at_most", 2000.0, preset="target", unit="B")
    assert judge(size, found).verdict == "PASS"
    assert judge(replace(size, threshold=1999.0), found).verdict == "FAIL"
    assert judge(size, replace(found, size=None)).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("limit", "verdict"), [(5000.0, "PASS"), (4999.0, "INCONCLUSIVE"), (4500.0, "INCONCLUSIVE"), (4499.0, "FAIL")]
)
def test_judges_memory_by_the_largest_of_five_processes(evidence, gate, limit, verdict):
    found = evidence(LABELS, LABELS, LABELS, figures=timings([1.0]))
    memory = gate("counted", "peak_memory", "at_most", limit, preset="target", unit="B")
    result = judge(memory, found)
    assert (result.verdict, result.estimate) == (verdict, 5000.0)
    assert "the largest of 5 processes" in result.reason
    few = replace(found, figures={**found.figures, "peak_samples": [4500] * 4})
    assert judge(memory, few).verdict == "INCONCLUSIVE"
    assert "5 processes are needed" in judge(memory, few).reason
