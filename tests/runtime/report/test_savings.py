"""What is saved, and which candidate the story is about."""

import copy
import json

from titrant.runtime.report.page import page, write_report
from titrant.runtime.report.record_view import read_record
from titrant.runtime.report.savings import faster


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


def test_leaves_out_what_was_not_measured(records):
    made = copy.deepcopy(records.released())
    made["values"]["timings"] = {}
    assert list(by_name(made)) == ["size", "accuracy"]


def test_calls_less_than_a_two_hundredth_no_difference():
    assert [faster(1.0, 1.004), faster(2.0, 1.0), faster(1.0, 2.0)] == ["as fast", "2.00× faster", "2.00× slower"]


def test_tells_machines_the_same(records, tmp_path):
    write_report(records.inconclusive(), tmp_path)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert text == json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    assert found["record"] == records.inconclusive()
    summary = found["summary"]
    assert (summary["verdict"], summary["exit"], summary["released"]) == ("INCONCLUSIVE", 5, [])
    assert summary["searches"][0]["weakest"] == "bias"
