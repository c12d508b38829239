"""The ladder in the report: a row a rung, with what each gives and why one is missing."""

from titrant.runtime.report.candidates import ladder_rows
from titrant.runtime.report.page import html_text, page
from titrant.runtime.report.page.markdown import markdown_text
from titrant.runtime.report.record_view import read_record
from titrant.schema.gain import Gain
from titrant.schema.record import LadderRung
from titrant.schema.values.canonical import plain

GAIN = Gain("latency", True, "onnx-fp32", "plain ONNX", True, 2.0, "better", 1.9, 2.1)
FAST = LadderRung(
    "ort.static", "ort.static.per_tensor", True, "PASS", "", "model-ort-static.onnx", 2048, 5e-5, GAIN, 4096,
    {"fp32": 1, "int8": 4},
)  # fmt: skip
KEPT_BACK = LadderRung("ort.dynamic", "ort.dynamic", False, "FAIL", "the contract is not kept: retention")


def test_says_what_each_rung_gives():
    fast, kept_back = ladder_rows((FAST, KEPT_BACK))
    assert (fast.verdict, fast.tone, fast.file) == ("PASS", "pass", "outputs/model-ort-static.onnx")
    assert (fast.size, fast.p50, fast.memory) == ("2.0 KiB", "50 µs", "4.0 KiB")
    assert fast.speed == "2.0× faster (1.9–2.1), against plain ONNX"
    assert fast.executed == "layers: 1 in fp32, 4 in int8"
    assert (kept_back.verdict, kept_back.tone) == ("not released: the contract is not kept: retention", "fail")
    assert (kept_back.file, kept_back.speed, kept_back.executed) == ("–", "–", "–")


def test_marks_a_rung_that_is_released_without_proof():
    (row,) = ladder_rows((LadderRung("none", "onnx", True, "NOT PROVEN", file="model-none.onnx"),))
    assert (row.verdict, row.tone) == ("NOT PROVEN", "warn")


def test_stands_in_both_reports_and_only_where_one_was_asked_for(records):
    value = records.released()
    without = page(read_record(value))
    value["run"]["ladder"] = [plain(FAST), plain(KEPT_BACK)]
    with_ladder = page(read_record(value))
    assert "## Ladder" not in markdown_text(without)
    assert "<h2>Ladder</h2>" not in html_text(without)
    assert "| ort.static | ort.static.per\\_tensor | PASS |" in markdown_text(with_ladder)
    text = html_text(with_ladder)
    assert "<h2>Ladder</h2>" in text
    assert "not released: the contract is not kept: retention" in text
