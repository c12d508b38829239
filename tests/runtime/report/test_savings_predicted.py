"""What was predicted stands beside what happened, and says so where it was far off."""

import json
from dataclasses import replace

import pytest

from titrant.runtime.report.page import html_text, page
from titrant.runtime.report.page.summary import summary
from titrant.runtime.report.record_view import read_record
from titrant.runtime.report.savings import loading, off, pair, totals
from titrant.runtime.report.steps import step_rows
from titrant.schema.plan import Prediction
from titrant.schema.values.canonical import plain


@pytest.mark.parametrize(
    ("predicted", "actual", "words"),
    [
        (1.0, 2.0, ""),
        (2.0, 1.0, ""),
        (1.0, 2.1, "2.1× as much"),
        (9.0, 3.0, "3.0× less"),
        (None, 3.0, ""),
        (0, 3.0, ""),
    ],
)
def test_flags_only_what_is_off_by_more_than_two_times(predicted, actual, words):
    assert off(predicted, actual) == words
    assert pair(predicted, actual, "s").off == words
    assert pair(predicted, actual, "s", least=10.0).off == ""


def test_shows_what_was_predicted_before_the_step_ran_and_not_what_the_plan_says_now(records):
    record = read_record(records.released())
    told = {row.id: row for row in step_rows(record)}
    changed = replace(
        record,
        plan=replace(record.plan, steps=tuple(replace(step, prediction=Prediction(9e9)) for step in record.plan.steps)),
    )
    assert {row.id: row for row in step_rows(changed)} == told
    assert told["model"].seconds.predicted == "2.5 s"


def test_adds_up_the_time_of_steps_and_apart_from_it_that_of_loading_libraries(records):
    value = records.released()
    for place, step in enumerate(value["run"]["steps"]):
        if step["result"] and place < 2:
            step["result"]["loads"] = {"torch": 3.0}
            step["result"]["predicted"]["loads"] = {"torch": 2.0, "onnx": 1.0}
    record = read_record(value)
    assert loading(record).words == "4 s → 6 s"
    assert totals(record).actual != "–"
    assert "Loading libraries" in page_text(record)


def page_text(record):
    return html_text(page(record))


def test_tells_what_was_predicted_of_the_released_model(records):
    found = plain(summary(page(read_record(records.released()))))["searches"][0]["savings"]
    rows = {row["name"]: row["predicted"] for row in found}
    assert "predicted (counted)" in rows["size"]
    assert "200 µs predicted (modelled)" in rows["latency p50"]
    assert "2.0 MiB predicted" in rows["peak memory"]
    assert json.dumps(found)


def test_says_nothing_for_results_that_were_kept_before_there_were_predictions(records):
    value = records.released()
    for step in value["run"]["steps"]:
        if step["result"]:
            del step["result"]["predicted"], step["result"]["loads"]
    record = read_record(value)
    assert totals(record).actual == "–"
    assert {row.seconds.predicted for row in step_rows(record)} == {"–"}
