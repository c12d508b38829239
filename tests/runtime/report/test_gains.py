"""What is called faster: than the plain conversion first, with an interval, by runs that are named."""

import copy
from dataclasses import replace

import pytest

from titrant.runtime.report.page import page
from titrant.runtime.report.page.markdown import markdown_text
from titrant.runtime.report.record_view import read_record
from titrant.schema.gain import Gain
from titrant.schema.values.canonical import plain

NO_FASTER = Gain("latency", True, "onnx", "plain ONNX", True, 1.02, "alike", 0.98, 1.05, "wall")
FASTER = Gain("latency", True, "original", "the original", False, 4.1, "better", 3.9, 4.3, "wall")


def with_gains(made, *gains):
    made = copy.deepcopy(made)
    for candidate in made["run"]["candidates"]:
        if candidate["status"] == "released":
            candidate["gains"] = plain(gains)
    return made


def timed(p50, *, steal=0, threads=1):
    """Runs of which every `steal`th takes nine times as long and no more CPU time; 0 for none."""
    cpu = [p50] * 60
    wall = [p50 * (9 if steal and place % steal == 0 else 1) for place in range(60)]
    figures = {"p50": p50, "p95": sorted(wall)[57], "p99": sorted(wall)[59], "throughput": 1 / p50}
    return {"1": figures | {"samples": wall, "cpu": cpu, "waiting": 1.0}, "peak_bytes": 5000}


def with_timings(made, chose, judged=None):
    """Give a record other timings: those that chose, and by the released candidate those that judged it."""
    made = copy.deepcopy(made)
    made["values"]["timings"] = chose
    made["values"]["judged_timings"] = {} if judged is None else {"ort-static": judged}
    for candidate in made["plan"]["candidates"]:
        candidate["plain"] = "" if candidate["method"] == "none" else "onnx"
    return made


def shown(made):
    return page(read_record(made))


def savings(made):
    return {saving.name: saving for saving in shown(made).stories[0].savings}


FILE = " (breast-cancer.onnx, 12.8 KiB, 0.31 of the original)"
ON = ", on AMD EPYC 7B13."
RELEASED = f"Released “ort-static”{FILE}: the contract is kept"
SENTENCES = {
    "nothing over plain ONNX": (
        (NO_FASTER,),
        f"{RELEASED}; it is no faster than plain ONNX (1.02×, 0.98–1.05){ON}",
    ),
    "something over plain ONNX": (
        (replace(NO_FASTER, factor=2.1, verdict="better", lower=1.9, upper=2.3), FASTER),
        f"{RELEASED}; it is 2.1× faster than plain ONNX (1.9–2.3) and 4.1× faster than the original (3.9–4.3){ON}",
    ),
    "less than plain ONNX": (
        (replace(NO_FASTER, factor=0.5, verdict="worse", lower=0.48, upper=0.52), FASTER),
        f"{RELEASED}; it is 2.0× slower than plain ONNX (1.9–2.1); it is 4.1× faster than the original (3.9–4.3){ON}",
    ),
    "too busy to tell": (
        (replace(NO_FASTER, factor=1.2, verdict="unknown", lower=0.5, upper=2.9, clock="cpu", busy=True),),
        f"{RELEASED}; the machine was too busy to tell whether it is faster than plain ONNX (0.50–2.90×){ON}",
    ),
    "no figures": ((), f"{RELEASED}."),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_says_in_the_first_line_what_is_gained(records, name):
    gains, sentence = SENTENCES[name]
    made = with_gains(records.released(), *gains)
    assert shown(made).headline.sentence == sentence
    assert f"**{sentence}**" in markdown_text(shown(made))


def test_says_so_of_what_is_not_proven_too(records):
    sentence = shown(with_gains(records.not_proven(), NO_FASTER)).headline.sentence
    assert sentence == (
        f"Released “ort-static” (12.8 KiB, 0.31 of the original), not proven; it is no faster than plain ONNX "
        f"(1.02×, 0.98–1.05){ON}"
    )


def test_compares_by_the_runs_that_judged_and_says_so(records):
    chose = {"original": timed(90e-6), "onnx": timed(40e-6), "ort-static": timed(10e-6)}
    judged = {"original": timed(90e-6), "onnx": timed(40e-6), "ort-static": timed(30e-6)}
    rows = savings(with_timings(records.released(), chose, judged))
    assert rows["latency p50"].words == "3.0× faster (3.0–3.0)"
    assert rows["latency p50"].after == "30 µs"
    assert rows["latency p95"].after == "30 µs"
    assert rows["latency p50"].note == "one batch of 1, one thread, runs after the choice"
    assert rows["latency p50 against onnx"].words == "1.33× faster (1.33–1.33)"
    assert (rows["latency p50 against onnx"].before, rows["latency p50 against onnx"].tone) == ("40 µs", "good")
    rows = savings(with_timings(records.released(), chose))
    assert (rows["throughput"].words, rows["throughput"].tone) == ("9.0× as many (9.0–9.0)", "good")
    assert (rows["latency p50"].after, rows["latency p50"].note) == (
        "10 µs",
        "one batch of 1, one thread, the runs that chose",
    )
    assert "Latency: one batch of 1, one thread, the runs that chose." in markdown_text(
        shown(with_timings(records.released(), chose))
    )


def test_calls_a_gap_below_a_tenth_neither_better_nor_worse(records):
    chose = {"original": timed(90e-6), "onnx": timed(90e-6), "ort-static": timed(85e-6)}
    row = savings(with_timings(records.released(), chose))["latency p50"]
    assert (row.words, row.tone) == ("hardly faster (1.06×, 1.06–1.06)", "plain")


def test_gives_no_factor_of_slowest_runs_that_waited_for_the_machine(records):
    """tab/09: a p95 of 8.5 ms beside a p50 of 145 µs was "214.52× faster"."""
    chose = {"original": timed(90e-6, steal=10), "ort-static": timed(30e-6)}
    row = savings(with_timings(records.released(), chose))["latency p95"]
    assert (row.before, row.after) == ("810 µs", "30 µs")
    assert (row.words, row.tone) == ("no factor: the machine was busy, and the slowest runs waited for it", "plain")


def test_advises_by_pairs_whether_a_candidate_is_slower_in_larger_batches(records):
    chose = {"original": timed(90e-6), "ort-static": timed(30e-6)}
    chose["original"]["32"], chose["ort-static"]["32"] = timed(1e-3)["1"], timed(2e-3)["1"]
    advice = shown(with_timings(records.released(), chose)).advice
    assert (
        "“ort-static” is 2.0× slower (2.0–2.0) than the original in batches of 32: serve it in batches of 1." in advice
    )


def test_says_which_candidate_a_busy_machine_left_untold(records):
    chose = {"original": timed(90e-6), "ort-static": timed(30e-6), "ort-dynamic": timed(30e-6)}
    # Several threads: there is no CPU time to go by.
    waited = chose["ort-dynamic"]["1"] | {"samples": [20e-6, 200e-6] * 30, "cpu": [], "waiting": 4.0}
    chose["ort-dynamic"]["1"] = waited
    advice = shown(with_timings(records.released(), chose)).advice
    assert advice == (
        "The machine was too busy to tell whether “ort-dynamic” would be faster than “ort-static”: run it again on a "
        "quieter one, which times them anew.",
    )
    chose["ort-dynamic"]["1"] = waited | {"waiting": 1.0}
    assert shown(with_timings(records.released(), chose)).advice == ()


def test_draws_the_plain_conversion_that_is_no_candidate(records):
    from titrant.runtime.report.candidates import shown_candidates
    from titrant.runtime.report.page.pictures import pictures
    from titrant.runtime.report.page.quality import quality_chart

    chose = {"original": timed(90e-6), "torchscript-fp32": timed(40e-6), "ort-static": timed(30e-6)}
    record = read_record(with_timings(records.released(), chose))
    speed = pictures(record, quality_chart(record, shown_candidates(record))).speed
    assert "torchscript-fp32" in speed[0]
