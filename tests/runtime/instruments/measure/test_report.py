"""How figures read: at most 100 columns whatever the names and numbers, every form the same, nothing said twice."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.instruments.measure.figures import BenchSettings, ModelTimes, SideBySide, TimedInput, batch_times
from titrant.runtime.instruments.measure.picture import picture_of
from titrant.runtime.instruments.measure.report import json_of, markdown_of, page_of, save, text_of
from titrant.runtime.machine.turns import Runs
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.values.canonical import read_back


def timed(seconds, names=("plain", "int8"), batches=(1,), notes=()):
    """Return models of which each run of the n-th takes (n + 1) times as long."""
    asked = BenchSettings(len(seconds))
    runs = {name: Runs(*[[each * (place + 1) for each in seconds]] * 2) for place, name in enumerate(names)}
    by_batch = [batch_times(batch, runs, 1, dict.fromkeys(names, "cpu")) for batch in batches]
    models = tuple(
        ModelTimes(name, f"out/{name}.onnx", "ab" * 32, "an ONNX file", "onnxruntime", "cpu", 2048, None, times, notes)
        for name in names
        for times in [tuple(each[name] for each in by_batch)]
    )
    return SideBySide(
        models, (TimedInput("x", (max(batches), 3), "float32"),), "drawn by shape, seed 0", asked, "CPU X"
    )


GOLDEN = """\
inputs: x (batch, 3) float32; drawn by shape, seed 0
60 runs of each after 10 to warm up, in turns, 1 thread of the CPU (CPU X)
percentiles of the wall clock with 95 % intervals, CPU the median of the process's CPU time; speed
  against the first, run for run

  model  what was timed  digest    form            size  memory
  plain  out/plain.onnx  abababab  onnxruntime  2.0 KiB       –
  int8   out/int8.onnx   abababab  onnxruntime  2.0 KiB       –

batch 1
  model   p50 ms   p95 ms   p99 ms  mean ms  CPU ms  cases/s              speed
  plain  2 (2–2)  2 (2–…)  2 (2–…)        2       2      500                  1
  int8   4 (4–4)  4 (4–…)  4 (4–…)        4       4      250  0.50× (0.50–0.50)

  …: 60 runs cannot bound it; 500 bound a 99th percentile
"""


def test_writes_what_was_timed_and_what_it_took():
    assert text_of(timed([2e-3] * 60)) + "\n" == GOLDEN


def test_prints_in_a_line_a_batch():
    assert str(timed([2e-3] * 60, notes=("the machine was busy",)).models[1]) == (
        "int8: out/int8.onnx, an ONNX file on cpu, 2.0 KiB\n"
        "  batch 1: p50 4 ms (4 ms to 4 ms), p95 4 ms, p99 4 ms, 250 cases/s, 60 runs, 0.50× as fast as the first\n"
        "  the machine was busy"
    )


@settings(max_examples=12)
@given(
    st.lists(st.floats(1e-8, 1e4), min_size=1, max_size=5),
    st.lists(
        st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=60), min_size=1, max_size=3, unique=True
    ),
)
def test_keeps_to_a_hundred_columns(seconds, names):
    lines = text_of(timed(seconds, names, (1, 4096), ("so " * 60,))).splitlines()
    assert max(map(len, lines)) <= 100


def test_reads_the_same_figures_back_from_json():
    result = timed([1e-3, 2e-3, 3e-3], batches=(1, 2))
    assert read_back(SideBySide, json.loads(json_of(result))) == result


def test_escapes_names_in_every_form():
    result = timed([1e-3] * 9, ("<b>|x</b>", "y"))
    assert "<b>" not in page_of(result)
    assert "<b>" not in picture_of(result).svg
    assert r"<b>\|x</b>" in markdown_of(result)


def test_draws_a_row_for_each_model_and_batch():
    svg = picture_of(timed([1e-3] * 9, ("a", "b", "c"), (1, 8))).alone()
    assert len(re.findall("<circle", svg)) == 6
    assert "batch 8" in svg
    assert "var(--" not in svg


def test_writes_no_file_of_another_ending_or_where_it_may_not(tmp_path):
    for name in ("x.xlsx", "x", "gone/x.md"):
        with pytest.raises(RecipeError) as caught:
            save(timed([1e-3]), tmp_path / name)
        assert caught.value.diagnostics[0].code == "X676"
    assert list(tmp_path.iterdir()) == []
