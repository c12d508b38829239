"""Where a gain comes from, as the report tells it: a table of its parts, and the fastest fp32 file of each engine."""

import copy
import json
import re
from dataclasses import replace

from titrant.runtime.report.gain_rows import gain_rows
from titrant.runtime.report.page import html_text, page
from titrant.runtime.report.page.markdown import markdown_text
from titrant.runtime.report.page.summary import summary
from titrant.runtime.report.record_view import read_record
from titrant.schema.gain import Gain
from titrant.schema.gain_parts import GainPart, GainParts, ReductionGain
from titrant.schema.values.canonical import plain

SPEED = Gain("latency", True, "original", "original", False, 4.1, "better", 3.9, 4.3, "wall")


def part(name, before, after, engine, *figures):
    factor, verdict, size = figures
    lower, upper = factor * 0.95, factor * 1.05
    speed = replace(SPEED, against=before, factor=factor, verdict=verdict, lower=lower, upper=upper)
    return GainPart(name, before, after, engine, speed, size)


PARTS = GainParts(
    (
        part("conversion", "original", "script-fp32", "torch", 1.25, "better", 0.98),
        part("engine", "script-fp32", "onnx", "onnxruntime", 1.6, "better", 1.0),
        part("precision", "onnx", "ort-static", "onnxruntime", 2.1, "better", 3.85),
    ),
    part("", "original", "ort-static", "onnxruntime", 4.1, "better", 3.77),
    part("", "other-fp32", "ort-static", "onnxruntime", 1 / 1.3, "worse", 3.9),
)
ROWS = [
    ("conversion", "original → script-fp32", "another file, still in torch", "1.25× faster (1.19–1.31)", "1.02"),
    (
        "engine",
        "script-fp32 → onnx",
        "another engine, onnxruntime, and a file for it",
        "1.60× faster (1.52–1.68)",
        "1.00",
    ),
    ("precision", "onnx → ort-static", "ort.static, in the same engine", "2.1× faster (2.0–2.2)", "0.26"),
    ("all together", "original → ort-static", "about their product", "4.1× faster (3.9–4.3)", "0.27"),
    (
        "over the fastest fp32 file",
        "other-fp32 → ort-static",
        "of any engine timed",
        "1.30× slower (1.24–1.37)",
        "0.26",
    ),
]


def with_parts(made, parts=PARTS):
    made = copy.deepcopy(made)
    for candidate in made["run"]["candidates"]:
        if candidate["status"] == "released":
            candidate["parts"] = plain(parts)
    return made


def timed_beside(made, engines, seconds):
    """Time files beside the candidates, in engines, at so many seconds each."""
    made = with_parts(made)
    for step in made["plan"]["steps"]:
        if step["operator"] == "profile.latency":
            step["params"]["engines"] = engines
            step["inputs"]["models"] = {name: f"{name}.model" for name in engines}
    figures = {"p95": 1, "p99": 1, "throughput": 1, "samples": [], "cpu": [], "waiting": None}
    made["values"]["timings"] = {name: {"1": {"p50": took, **figures}} for name, took in seconds.items()}
    return made


def test_tells_the_parts_of_a_gain_in_a_table(records):
    shown = page(read_record(with_parts(records.released())))
    table = html_text(shown).partition("Where the gain comes from")[2].partition("</table>")[0]
    cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", table)]
    assert cells == [cell for row in ROWS for cell in row]
    gains = plain(summary(shown))["searches"][0]["gains"]
    assert [row["name"] for row in gains][-2:] == ["all together", "over the fastest fp32 file"]
    assert gains[2] == {
        "name": "precision",
        "files": "onnx → ort-static",
        "what": "ort.static, in the same engine",
        "speed": "2.1× faster (2.0–2.2)",
        "size": "0.26",
    }
    json.dumps(gains)


def test_leaves_the_table_out_where_nothing_can_be_told_apart(records):
    shown = page(read_record(with_parts(records.released(), None)))
    assert "Where the gain comes from" not in html_text(shown)


def test_marks_the_fastest_fp32_file_of_each_engine_also_where_it_is_no_candidate(records):
    engines = {"original": "torch", "onnx": "onnxruntime", "ort-static": "onnxruntime", "script-fp32": "torch"}
    seconds = {"original": 9e-5, "onnx": 4e-5, "ort-static": 2e-5, "script-fp32": 3e-5}
    shown = page(read_record(timed_beside(records.released(), engines, seconds)))
    rows = {row.id: row for row in shown.candidates}
    assert {name: row.mark for name, row in rows.items() if row.mark} == {
        "onnx": "fastest fp32 file of onnxruntime",
        "script-fp32": "fastest fp32 file of torch, and of all",
    }
    assert (rows["script-fp32"].what, rows["script-fp32"].outcome) == ("plain conversion, in torch", "timed beside")
    assert rows["script-fp32"].p50.text == "30 µs"
    assert "★ fastest fp32 file of torch, and of all" in html_text(shown)
    assert "plain conversion, in torch; fastest fp32 file of torch, and of all" in html_text(shown)


def test_calls_a_reduction_that_was_not_timed_by_itself_part_of_the_precision_and_no_less():
    both = replace(PARTS, parts=(*PARTS.parts[:2], replace(PARTS.parts[2], part="reduction and precision")))
    cut = ReductionGain("prune.structured", 1.25, "parameters")
    rows = gain_rows(both, "ort.static", (cut, ReductionGain("prune.magnitude", 1.0, "parameters", 0.3)))
    assert (rows[2].name, rows[2].what) == (
        "reduction and precision",
        "prune.structured: compressed 1.25 times, 0.2000 of the parameters are gone; prune.magnitude: compressed 1.00 "
        "times, 0.3000 of the weights are 0 and still there; then ort.static, in the same engine",
    )


def test_says_of_each_reduction_what_it_gave_by_itself_on_every_page(records):
    made = with_parts(records.released())
    kept = {"metric": "accuracy", "kept": 0.9912, "lower": 0.9833, "confidence": 0.95, "rows": 171}
    reductions = (ReductionGain("prune.structured", 1.25, "parameters", trained=True, **kept),)
    for candidate in made["run"]["candidates"]:
        candidate["reductions"] = plain(reductions if candidate["status"] == "released" else ())
    shown = page(read_record(made))
    assert "What each reduction gave by itself" in html_text(shown)
    words = reductions[0].words
    assert words.replace("'", "&#39;") in html_text(shown)
    assert words in markdown_text(shown).replace("\\", "")
    assert summary(shown).searches[0].reductions == reductions
    assert "gave by itself" not in html_text(page(read_record(with_parts(records.released()))))


def test_says_that_weights_lie_otherwise():
    whole = GainPart("", "original", "cast.last", "torch")
    names = ("layout", "precision and layout", "reduction and precision and layout")
    rows = gain_rows(GainParts(tuple(GainPart(name, "plain", "cast.last", "torch") for name in names), whole), "cast")
    assert [row.what for row in rows][:3] == [
        "another layout of the weights, in the same engine",
        "cast; another layout of the weights, in the same engine",
        "fewer weights; then cast; another layout of the weights, in the same engine",
    ]
