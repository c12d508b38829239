"""What steps saw inside models, as sections of the report: parameters that are not sound first, failures in words."""

from titrant.runtime.report.observed import sections
from titrant.runtime.report.page import html_text
from titrant.runtime.report.page.gather import page
from titrant.runtime.report.record_view import read_record

LINE = {
    "name": "head.weight", "shape": [2, 30], "dtype": "float32", "bytes": 240, "count": 60, "trainable": True,
    "tied": "", "mean": 0.1, "deviation": 0.2, "minimum": -0.5, "maximum": 0.6, "nan": 0, "infinite": 0,
}  # fmt: skip
BAD = LINE | {"name": "head.<bias>", "shape": [2], "count": 2, "bytes": 8, "nan": 1, "mean": None}
SUMMARY = {"lines": [LINE, BAD], "counts": {"total": 62, "trainable": 62, "bytes": 248}}


def seen(record, *rows):
    return record | {"values": dict(record["values"]) | {"observed": list(rows)}}


def test_lists_what_is_not_sound_first_and_says_so(records):
    row = {"operator": "inspect.summary", "subject": "original", "value": SUMMARY, "failed": ""}
    (section,) = sections(read_record(seen(records.released(), row)))
    (model,) = section.inner
    assert model.title == "original: 62 parameters, 62 trainable, 248 B; ✕ 1 with NaN or infinity"
    assert [line[0] for line in model.table.rows] == ["head.<bias>", "head.weight"]
    assert model.table.rows[0][-1].words == "✕ 1 NaN"
    html = html_text(page(read_record(seen(records.released(), row))))
    assert "head.&lt;bias&gt;" in html
    assert '<a href="#parameters">Parameters</a>' in html


def test_says_why_nothing_was_seen(records):
    row = {"operator": "inspect.summary", "subject": "original", "value": None, "failed": "it is scripted"}
    (section,) = sections(read_record(seen(records.released(), row)))
    assert section.notes == ("original: nothing was seen: it is scripted.",)


def test_has_no_section_of_what_nobody_asked_for(records):
    assert sections(read_record(records.released())) == ()
