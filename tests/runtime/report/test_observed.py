"""What steps saw inside models, as sections of the report: parameters that are not sound first, failures in words."""

import re

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


def test_says_of_what_kind_a_model_is_that_was_not_looked_into(records):
    reason = "it is an OpenVINO IR, and inspect.summary reads ONNX"
    record = records.released()
    (released,) = record["run"]["released"]
    plan = record["plan"] | {"unobserved": {"inspect.summary": {released: reason, "another": reason}}}
    (section,) = sections(read_record(record | {"plan": plan}))
    assert section.title == "Parameters"
    assert section.notes == (f"{released}: nothing was seen: {reason}.",)


OPERATIONS = [
    {"name": f"layers.{place}", "kind": "Linear", "block": ["layers"], "parameters": 20, "flops": 32,
     "inputs": [f"t{place}"], "outputs": [f"t{place + 1}"]}
    for place in range(3)
]  # fmt: skip
GRAPH = {"name": "nets:Net", "operations": OPERATIONS, "inputs": ["t0"], "outputs": ["t3"], "basis": "traced"}


def test_draws_the_architecture_of_each_model_and_says_of_which_there_is_none(records):
    drawn = SUMMARY | {"architecture": GRAPH, "undrawn": ""}
    undrawn = SUMMARY | {"architecture": None, "undrawn": "it decides by values"}
    rows = [
        {"operator": "inspect.summary", "subject": "original", "value": drawn, "failed": ""},
        {"operator": "inspect.summary", "subject": "int8", "value": drawn, "failed": ""},
        {"operator": "inspect.summary", "subject": "other", "value": undrawn, "failed": ""},
    ]
    record = read_record(seen(records.released(), *rows))
    parameters, architecture = sections(record)
    assert len(parameters.inner) == 3
    assert "original: nets:Net: 3 layers, operations between them included, as" in architecture.sentence
    assert len(architecture.pictures) == 1
    assert [part.title for part in architecture.inner] == [
        "original: complexity", "int8: nets:Net", "int8: complexity"
    ]  # fmt: skip
    assert architecture.notes == ("other is not drawn: it decides by values.",)
    html = html_text(page(record))
    assert html.count('id="architecture-original-drawing"') == html.count('id="architecture-int8-drawing"') == 1
    ids = re.findall(r' id="([^"]+)"', html)
    assert [each for each in set(ids) if ids.count(each) > 1] == []


def test_has_no_section_of_what_nobody_asked_for(records):
    assert sections(read_record(records.released())) == ()


HEALTH = {
    "subject": "net", "tensors": [], "answers": [], "rows": 4, "notes": [],
    "findings": [
        {"kind": "nan", "severity": "fault", "layer": "head", "figure": 1.0, "words": "head.<w> holds 1 NaN",
         "helps": "take an earlier one"}
    ],
}  # fmt: skip
ATTENTION = {
    "tokens": [],
    "layers": [
        {
            "layer": "block", "fused": True, "rows": 4, "heads": 1, "queries": 2, "keys": 2, "entropy": [0.5],
            "first": [0.5], "itself": [0.5], "mean": [[0.5, 0.5], [0.5, 0.5]], "by_head": [[[0.5, 0.5], [0.5, 0.5]]],
            "cell": 1, "first_row": [],
        }
    ],
}  # fmt: skip


def test_shows_findings_of_health_and_maps_of_attention(records):
    rows = [
        {"operator": "inspect.health", "subject": "original", "value": HEALTH, "failed": ""},
        {"operator": "inspect.attention", "subject": "original", "value": ATTENTION, "failed": ""},
    ]
    health, attention = sections(read_record(seen(records.released(), *rows)))
    assert [cell if isinstance(cell, str) else cell.words for cell in health.table.rows[0]][:3] == [
        "✕ fault", "original", "head"
    ]  # fmt: skip
    (layer,) = attention.inner
    assert (layer.title, len(layer.pictures)) == ("original: block · 1 head", 1)
    html = html_text(page(read_record(seen(records.released(), *rows))))
    assert "head.&lt;w&gt; holds 1 NaN" in html
    assert "from queries and keys" in html
