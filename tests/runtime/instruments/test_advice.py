"""Advice from measured facts: what takes the time, what would quantize it, and which batch pays, if any."""

from dataclasses import replace

import pytest

from titrant.runtime.instruments.advice import MeasuredFacts, advice_from, advice_text
from titrant.runtime.instruments.layers.figures import LayerProfile
from titrant.runtime.instruments.layers.layer import LayerFigures
from titrant.runtime.instruments.layers.roofline import MachineLimits
from titrant.runtime.instruments.measure.figures import BatchTimes, BoundedFigure, ModelTimes


def layer(name, share, precision="fp32", *, flops=1_000_000, moved=1_000_000):
    seconds = share * 1e-3
    return LayerFigures(
        name, "Linear", "", seconds, seconds, share, 1, 10, 40, 40, moved, flops if name else None, precision, "mm"
    )


def profile(*layers, seconds=1e-3, cpu_seconds=1e-3):
    return LayerProfile("net", "torch", "cpu", 1, 8, layers, seconds, cpu_seconds, 0.0, 30, ())


def times(**rates):
    """Batch sizes as b1=(lower, estimate, upper) cases a second."""
    every = []
    for name, (lower, estimate, upper) in rates.items():
        batch = int(name[1:])
        taken = BoundedFigure(batch / estimate, None, None)
        rate = BoundedFigure(estimate, lower, upper)
        every.append(BatchTimes(batch, 30, batch / estimate, taken, taken, taken, None, rate, 1.0))
    return ModelTimes("net", "memory", "", "a torch module", "torch", "cpu", None, None, tuple(every))


def said(facts):
    return {piece.about: piece for piece in advice_from(facts)}


METHODS = {"a": ("ort.static", "openvino.ptq"), "b": ("ort.static",)}


def test_names_the_layers_that_take_most_and_what_quantizes_most_of_them():
    piece = said(MeasuredFacts(profile(layer("a", 0.5), layer("b", 0.4), layer("c", 0.1)), methods=METHODS))["layers"]
    assert piece.words == (
        "2 layers of 3 take 90 % of a batch: a (50 %), b (40 %). ort.static would quantize layers that take 90 %."
    )
    assert piece.line == "quantization: {method: auto}   # times them all"
    assert piece.figure == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("given", "methods", "ending"),
    [
        (profile(layer("a", 0.9)), {}, "; nothing that is installed here quantizes them."),
        (profile(layer("a", 0.9, "int8")), METHODS, "; none of them computes in fp32 any more."),
    ],
)
def test_names_no_line_where_no_method_would_help(given, methods, ending):
    piece = said(MeasuredFacts(given, methods=methods))["layers"]
    assert piece.words.endswith(ending)
    assert piece.line == ""


def test_says_why_what_takes_long_is_left_alone():
    facts = MeasuredFacts(profile(layer("norm", 0.6), layer("a", 0.3)), methods=METHODS, left={"norm": "a layer norm"})
    assert said(facts)["left"].words == "norm takes 60 % of a batch: a layer norm."


def test_says_what_lies_between_the_layers_of_an_engine():
    piece = said(MeasuredFacts(profile(layer("a", 0.7), layer("", 0.3, ""))))["engine"]
    assert piece.words.startswith("30 % of a batch (300 µs) is in no layer")
    assert piece.line.startswith("export: [{format: auto}]")


def test_says_what_waits_for_memory_only_where_the_machine_was_measured():
    slow = profile(layer("a", 0.9, flops=1_000_000, moved=4_000_000))
    measured = MachineLimits({"fp32": 1e11}, 1e10)
    assert "memory" not in said(MeasuredFacts(slow))
    piece = said(MeasuredFacts(slow, limits=measured))["memory"]
    assert piece.figure == pytest.approx(0.9)
    assert "the slowest: a" in piece.words
    fast = profile(layer("a", 0.9, flops=900_000_000, moved=1_000_000))
    assert "memory" not in said(MeasuredFacts(fast, limits=measured))


def test_takes_the_smallest_batch_that_is_about_the_best():
    rates = times(b1=(95, 100, 105), b4=(290, 300, 310), b16=(300, 312, 320))
    piece = said(MeasuredFacts(profile(layer("a", 1.0)), times=rates))["batch"]
    assert piece.words == "batches of 4 answer 3 times as many cases a second as batches of 1, and one takes 13.3 ms."
    assert piece.line.startswith("profile: {batches: [1, 4]}")


def test_says_that_batches_do_not_pay_only_where_the_intervals_show_it():
    alike = times(b1=(98, 100, 102), b8=(100, 104, 108))
    assert said(MeasuredFacts(profile(layer("a", 1.0)), times=alike))["batch"].words.startswith("larger batches do not")
    unsure = times(b1=(50, 100, 200), b8=(60, 140, 300))
    assert "batch" not in said(MeasuredFacts(profile(layer("a", 1.0)), times=unsure))


def test_says_that_the_machine_was_busy():
    assert said(MeasuredFacts(profile(layer("a", 1.0), seconds=3e-3)))["busy"].figure == pytest.approx(3.0)


def test_prints_within_a_hundred_columns_and_says_where_nothing_pays():
    names = [layer(f"encoder.layers.{place}.attention.output", 0.2) for place in range(5)]
    text = advice_text(advice_from(MeasuredFacts(profile(*names), methods=METHODS)))
    assert max(map(len, text.splitlines())) <= 100
    assert advice_text(()) == "nothing that was measured speaks for a change"
    nothing = replace(profile(layer("", 0.1)), layers=())
    assert advice_from(MeasuredFacts(nothing)) == ()
