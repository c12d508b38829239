"""What each step of a reduction gave and cost stands in the report, file by file; nothing of it where none reduced."""

import copy
import json
import re

import pytest

from titrant.runtime.report.page import html_text, page
from titrant.runtime.report.page.summary import summary
from titrant.runtime.report.record_view import read_record
from titrant.schema.values.canonical import plain


@pytest.fixture
def record(records):
    """Return a record whose released ort-static goes on from ort-dynamic."""
    record = copy.deepcopy(records.released())
    for candidate in record["plan"]["candidates"]:
        if candidate["id"] == "ort-static":
            candidate["grows"] = "ort-dynamic"
        if candidate["id"] == "ort-dynamic":
            candidate["plain"] = "onnx"
    record["values"]["quality"]["ort-static"]["fine_tuned"] = 0.9725
    return record


def test_lists_every_file_on_the_way_with_what_it_kept_and_took(record):
    grown = page(read_record(record))
    table = html_text(grown).partition("What each step gave and cost")[2].partition("</table>")[0]
    assert re.findall(r"<strong>([\w-]+)</strong>", table) == ["onnx", "ort-dynamic", "ort-static"]
    assert table.count("0.9725") == 1
    assert json.loads(json.dumps(plain(summary(grown))))["searches"][0]["ablation"][2]["beside"] == "0.9725"


def test_shows_the_plain_conversion_as_it_was_measured(record):
    record["values"]["quality"]["onnx"]["retention"] = 0.9931
    first = summary(page(read_record(record))).searches[0].ablation[0]
    assert (first["name"], first["kept"], first["size"]) == ("onnx", "0.9931", "40.2 KiB")


def test_says_nothing_where_no_network_was_reduced(records):
    shown = page(read_record(records.released()))
    assert "What each step gave and cost" not in html_text(shown)
    assert summary(shown).searches[0].ablation == ()


def test_holds_a_training_for_int8_beside_calibration_alone(records):
    text = json.dumps(records.released()).replace("ort-static", "ort-dynamic.qat")
    record = json.loads(text)
    for candidate in record["plan"]["candidates"]:
        if candidate["id"] == "ort-dynamic":
            candidate |= {"plain": "onnx", "method": "ort.static"}
    rows = summary(page(read_record(record))).searches[0].ablation
    assert [(row["name"], row["adds"]) for row in rows[1:]] == [
        ("ort-dynamic", "ort.static"), ("ort-dynamic.qat", "train.quantization_aware")
    ]  # fmt: skip
