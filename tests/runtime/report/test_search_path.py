"""The path of a search stands in the report: what was tried to mend a candidate, what it kept, and how fast it is."""

import copy
import re

import pytest

from titrant.runtime.report.page import html_text, page
from titrant.runtime.report.record_view import read_record

MIX = {
    "int8": ["net.0"],
    "leave": ["out"],
    # 12.5 µs where fp32 takes 14.2, and so told by a clock by which it took 11.36.
    "predicted": {"seconds": 10e-6, "damage": 0.002, "speedup_over_int8": 0.9, "speedup_over_fp32": 1.136},
    "frontier": [
        {"leave": [], "seconds": 8.8e-6, "damage": 0.3},
        {"leave": ["out"], "seconds": 10e-6, "damage": 0.002},
    ],
}


@pytest.fixture
def searched(records):
    """Return a record in which ort-static is a mixture that mends ort-dynamic, whose plain conversion is onnx."""
    record = copy.deepcopy(records.released())
    for candidate in record["plan"]["candidates"]:
        if candidate["id"] == "ort-static":
            candidate |= {"mends": "ort-dynamic", "allocation": "ort-static.allocation.allocation"}
        if candidate["id"] == "ort-dynamic":
            candidate["plain"] = "onnx"
    record["values"]["quality"]["ort-static"]["lower"] = 0.981
    record["values"]["proposals"] = {"ort-static": MIX}
    return page(read_record(record))


def section(text, start, end):
    part = text[text.index(start) :]
    return part[: part.index(end)]


def test_draws_what_was_tried_and_lists_it_beside_what_was_predicted(searched):
    part = section(html_text(searched), '<section id="search">', "</section>")
    assert part.count("<svg") == 1
    for words in (
        "ort-dynamic, which is to keep 0.95",
        "mixture: 1 of 2 regions in int8",
        "0.9810",
        "12.5 µs",
        "11 µs",
    ):
        assert words in part
    assert "The frontier as it was predicted: 2 mixtures" in part
    assert "Latency of 1 mixture as predicted within 5%" in part


def test_lists_the_plain_conversion_first_by_the_numbers_of_the_picture(searched):
    part = section(html_text(searched), '<section id="search">', "</section>")
    rows = re.findall(r'<td class="number">(.)</td><td class="name"><strong>(onnx|ort-\w+)', part)
    assert rows == [("1", "onnx"), ("2", "ort-dynamic"), ("3", "ort-static")]
    drawn = re.findall(r"<title>(\d)\. ([\w-]+)", part)
    assert drawn == rows


def test_says_nothing_where_nothing_was_to_be_mended(records):
    text = html_text(page(read_record(records.released())))
    assert 'id="search"' not in text
