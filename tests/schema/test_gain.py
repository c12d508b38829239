"""What a candidate gains, in words: with the interval of every factor, and plainly where it is nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.schema.gain import Gain, gain_words, gains_words, leading_gain, speed_words, throughput_words

PLAIN = Gain("latency", True, "onnx-fp32", "plain ONNX", True, 1.6, "better", 1.5, 1.7, "wall")
ORIGINAL = Gain("latency", True, "original", "the original", False, 4.1, "better", 3.9, 4.3, "wall")
SIZE = Gain("size", False, "onnx-fp32", "plain ONNX", True, 1 / 0.26, "better")
ALIKE = replace(PLAIN, factor=1.02, verdict="alike", lower=0.98, upper=1.05)
WORSE = replace(PLAIN, factor=1 / 1.9, verdict="worse", lower=1 / 2.0, upper=1 / 1.8)
UNTOLD = replace(PLAIN, factor=1.1, verdict="unknown", lower=0.6, upper=2.1, clock="cpu", busy=True)


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        (
            (PLAIN, ORIGINAL, SIZE),
            "it is 1.60× faster than plain ONNX (1.50–1.70) and 4.1× faster than the original (3.9–4.3)",
        ),
        ((ALIKE,), "it is no faster than plain ONNX (1.02×, 0.98–1.05)"),
        (
            (ALIKE, ORIGINAL, SIZE),
            "it is no faster than plain ONNX (1.02×, 0.98–1.05); it is 4.1× faster than the original (3.9–4.3) and "
            "0.26 of the size of plain ONNX",
        ),
        (
            (replace(ALIKE, factor=1.07, lower=1.05, upper=1.09),),
            "it is hardly faster than plain ONNX (1.07×, 1.05–1.09)",
        ),
        (
            (replace(ALIKE, factor=1.04, lower=1.02, upper=1.06),),  # one file, timed twice
            "it is no faster than plain ONNX (1.04×, 1.02–1.06)",
        ),
        (
            (replace(ALIKE, factor=0.95, lower=0.93, upper=0.97),),
            "it is no faster than plain ONNX (0.95×, 0.93–0.97)",
        ),
        (
            (WORSE, ORIGINAL),
            "it is 1.90× slower than plain ONNX (1.80–2.00); it is 4.1× faster than the original (3.9–4.3)",
        ),
        (
            (ALIKE, replace(WORSE, against="original", title="the original", plain=False)),
            "it is no faster than plain ONNX (1.02×, 0.98–1.05); it is 1.90× slower than the original (1.80–2.00)",
        ),
        ((UNTOLD,), "the machine was too busy to tell whether it is faster than plain ONNX (0.60–2.10×)"),
        (
            (replace(UNTOLD, busy=False),),
            "the runs vary too much to tell whether it is faster than plain ONNX (0.60–2.10×)",
        ),
        ((ORIGINAL,), "it is 4.1× faster than the original (3.9–4.3)"),
        (
            (replace(PLAIN, busy=True, clock="cpu"), ORIGINAL),
            "it is 1.60× faster than plain ONNX (1.50–1.70) and 4.1× faster than the original (3.9–4.3) "
            "(by CPU time, since the machine was busy)",
        ),
        ((replace(SIZE, first=True),), "it is 0.26 of the size of plain ONNX"),
        (
            (replace(SIZE, first=True, factor=1.02, verdict="alike"),),
            "it is no smaller in size than plain ONNX (0.98 of it)",
        ),
        (
            (replace(SIZE, first=True, factor=0.5, verdict="worse"), replace(SIZE, objective="peak_memory")),
            "it is larger in size than plain ONNX (2.00 of it); it is 0.26 of the peak memory of plain ONNX",
        ),
        ((SIZE,), ""),
        ((), ""),
    ],
)
def test_says_what_is_gained_and_what_is_not(gains, words):
    assert gains_words(gains) == words


def test_leads_with_the_plain_conversion_and_only_without_one_with_the_original():
    assert leading_gain((ORIGINAL, PLAIN)) is PLAIN
    assert leading_gain((ORIGINAL, SIZE)) is ORIGINAL
    assert leading_gain((SIZE,)) is None


def test_says_a_speed_without_the_other_model():
    assert speed_words(PLAIN) == "1.60× faster (1.50–1.70)"
    assert speed_words(ALIKE) == "no faster (1.02×, 0.98–1.05)"
    assert speed_words(WORSE) == "1.90× slower (1.80–2.00)"
    assert speed_words(UNTOLD) == "the machine was too busy to tell (0.60–2.10×)"
    assert throughput_words(WORSE) == "0.53× as many (0.50–0.56)"
    assert throughput_words(UNTOLD) == "the machine was too busy to tell (0.60–2.10×)"
    assert speed_words(replace(PLAIN, lower=None, upper=None)) == "1.60× faster"
    few = replace(UNTOLD, lower=None, upper=None)
    assert speed_words(few) == throughput_words(few) == "there are too few runs to tell"


@given(st.floats(0.01, 500), st.floats(1.0, 3.0), st.sampled_from(("better", "worse", "alike", "unknown")))
def test_never_calls_faster_what_was_not_found_to_be(factor, spread, verdict):
    gain = replace(PLAIN, factor=factor, lower=factor / spread, upper=factor * spread, verdict=verdict)
    if (verdict == "better" and factor <= 1) or (verdict == "worse" and factor >= 1):
        return
    words = gain_words(gain)
    assert ("× faster than" in words) == (verdict == "better")
    assert ("× slower than" in words) == (verdict == "worse")
    assert "–" in words
