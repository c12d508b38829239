"""What is saved, and which candidate the story is about."""

import copy
import json
import math
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.report.page import page, write_report
from titrant.runtime.report.record_view import Timing, read_record
from titrant.runtime.report.savings import Saving, _bars, _tail, faster


def by_name(record):
    (story,) = page(read_record(record)).stories
    return {saving.name: saving for saving in story.savings}


def test_compares_each_quantity_and_makes_no_overall_score(records):
    found = by_name(records.released())
    assert list(found) == ["size", "latency p50", "latency p95", "throughput", "peak memory", "accuracy"]
    assert (found["size"].words, found["size"].tone) == ("0.31 of the original", "good")
    assert (found["throughput"].words, found["throughput"].after_share) == ("5.13× as many", 1.0)


def test_says_so_when_it_got_worse(records):
    made = copy.deepcopy(records.failed())
    for timing in ("p50", "p95"):
        made["values"]["timings"]["ort-static"]["1"][timing] = 122e-6
    found = by_name(made)
    assert (found["latency p50"].words, found["latency p50"].tone) == ("2.00× slower", "bad")
    assert (found["accuracy"].words, found["accuracy"].tone) == ("−0.1462", "bad")


@given(st.integers(100, 10**9), st.floats(-0.5, 0.5))
def test_calls_a_difference_of_a_percent_neither_better_nor_worse(before, change):
    tone = _bars(Saving("size", "", "", "", ""), before, before * (1 + change)).tone
    if abs(change) < 0.019:
        assert tone == "plain"
    elif abs(change) > 0.021:
        assert tone == ("bad" if change > 0 else "good")


@given(st.integers(0, 2**32), st.floats(0.01, 100), st.integers(10, 500))
def test_gives_the_factor_of_the_95th_percentile_with_its_interval_or_not_at_all(seed, factor, runs):
    samples = [1e-5 * drawn for drawn in np.random.default_rng(seed).lognormal(0, 1, 500)]
    before = timing(sorted(samples))
    after = timing(sorted(factor * seconds for seconds in samples[:runs]))
    saving = _tail(before, after, "")
    numbers = [float(number) for number in re.findall(r"([0-9.]+)×", saving.words)]
    if runs < 73:  # the order statistic above the percentile is the largest of 73
        assert (saving.words, saving.tone, numbers) == ("too few runs to bound a factor", "plain", [])
    elif len(numbers) == 2:  # the interval holds 1: nothing is called faster
        assert saving.tone == "plain"
        assert numbers[0] <= 1.01
        assert numbers[1] >= 0.99
    else:
        estimate, low, high = numbers
        assert low <= estimate <= high
        assert saving.tone in ("plain", "good" if after.p95 < before.p95 else "bad")


def timing(samples):
    p95 = samples[math.ceil(0.95 * len(samples)) - 1]
    return Timing(samples[len(samples) // 2], p95, samples[-1], 1.0, tuple(samples))


def test_leaves_out_what_was_not_measured(records):
    made = copy.deepcopy(records.released())
    made["values"]["timings"] = {}
    assert list(by_name(made)) == ["size", "accuracy"]


def test_calls_less_than_a_two_hundredth_no_difference():
    assert [faster(1.0, 1.004), faster(2.0, 1.0), faster(1.0, 2.0)] == ["as fast", "2.00× faster", "2.00× slower"]


def test_tells_machines_the_same(records, tmp_path):
    write_report(records.inconclusive(), tmp_path, min_cell=1)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert text == json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    assert found["record"] == records.inconclusive()
    summary = found["summary"]
    assert (summary["verdict"], summary["exit"], summary["released"]) == ("INCONCLUSIVE", 5, [])
    assert summary["searches"][0]["weakest"] == "bias"
