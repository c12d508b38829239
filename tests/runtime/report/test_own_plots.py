"""Plots of the user's own stand in the report as images, beside numbers and what failed."""

import base64
import re

from titrant.runtime.report.observed import sections
from titrant.runtime.report.page import html_text
from titrant.runtime.report.page.gather import page
from titrant.runtime.report.record_view import read_record

PLOT = {
    "function": "figures:one", "title": "One & <two>", "svg": "", "png": "", "numbers": {}, "width": 20, "height": 10,
    "failed": "",
}  # fmt: skip
SVG = PLOT | {"svg": '<svg xmlns="http://www.w3.org/2000/svg"/>'}


def seen(record, *plots):
    rows = [
        {"operator": "inspect.plots", "subject": subject, "value": {"plots": list(value)}, "failed": ""}
        for subject, value in plots
    ]
    return read_record(record | {"values": dict(record["values"]) | {"observed": rows}})


def test_shows_pictures_as_images_that_run_nothing(records):
    record = seen(records.released(), ("original", [SVG]), ("onnx", [PLOT | {"png": "aaaa"}]))
    (section,) = sections(record)
    (one,) = section.inner
    assert [picture.title for picture in one.pictures] == ["original", "onnx"]
    html = html_text(page(record))
    assert "One &amp; &lt;two&gt;" in html
    held = re.findall(r'<image [^>]*href="data:image/(svg\+xml|png);base64,([^"]*)"', html)
    assert held == [("svg+xml", base64.b64encode(SVG["svg"].encode()).decode()), ("png", "aaaa")]
    assert "img-src data:" in html
    assert "default-src 'none'" in html


def test_puts_numbers_of_all_models_side_by_side(records):
    numbers = ({"a": 1.0, "b": None}, {"a": 2.5, "c": 3.0})
    of_each = [PLOT | {"numbers": own} for own in numbers]
    (section,) = sections(seen(records.released(), ("original", [of_each[0]]), ("onnx", [of_each[1]])))
    table = section.inner[0].table
    assert [column.name for column in table.columns] == ["Number", "original", "onnx"]
    assert [[getattr(cell, "words", cell) for cell in row] for row in table.rows] == [
        ["a", "1", "2.5"], ["b", "–", "–"], ["c", "–", "3"],
    ]  # fmt: skip


def test_says_what_failed(records):
    (section,) = sections(seen(records.released(), ("original", [PLOT | {"failed": "KeyError (figures.py:3)"}])))
    assert section.inner[0].notes == ("original: figures:one drew nothing: KeyError (figures.py:3).",)
