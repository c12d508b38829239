"""Subgroups side by side on one axis, and how well probabilities hold, without bins of few cases."""

import copy
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.statistics.reliability import (
    Reliability,
    ReliabilityBin,
    reliability,
    without_small_bins,
)
from titrant.runtime.report.page import html_text, page, write_report
from titrant.runtime.report.record_view import read_record


def grouped(records, figures):
    """A record whose contract asks one thing of several groups: group → (estimate, lower, upper, cases)."""
    made = copy.deepcopy(records.released())
    gates = made["plan"]["contract"]["gates"]
    judged = next(one for one in made["run"]["candidates"] if one["status"] == "released")["judgement"]
    for name, (estimate, lower, upper, cases) in figures.items():
        gates.append(gates[0] | {"id": f"bias.{name}", "preset": "bias", "slice": f"subgroup sex.{name}"})
        bounds = {"estimate": estimate, "lower": lower, "upper": upper, "cases": cases}
        judged["results"].append(judged["results"][0] | bounds | {"gate": f"bias.{name}"})
    return page(read_record(made))


def places(picture):
    return {
        name: float(value) for name, value in re.findall(r'class="(asked|bounds|estimate)" x1?="([\d.]+)"', picture)
    }


def test_draws_all_groups_of_one_metric_on_one_axis(records):
    (forest,) = grouped(records, {"f": (1.0, 0.97, 1.02, 90), "m": (0.98, 0.9, 1.04, 30)}).stories[0].forests
    assert forest.title == "Accuracy kept, as a share of the original’s"
    assert [row.slice for row in forest.rows] == ["every case", "subgroup sex.f", "subgroup sex.m"]
    assert len({places(row.picture)["asked"] for row in forest.rows}) == 1
    lower = [places(row.picture)["bounds"] for row in forest.rows]
    assert lower[2] < lower[1] < lower[0]  # 0.9, 0.97 and 0.9758
    sides = [float(re.search(r'height="([\d.]+)"/></svg>', row.picture)[1]) for row in forest.rows]
    assert sides[0] > sides[1] > sides[2]  # 171, 90 and 30 cases


def test_draws_nothing_where_a_metric_is_asked_of_one_slice_only(records):
    assert page(read_record(records.released())).stories[0].forests == ()


def test_leaves_out_of_the_axis_what_is_not_shown(records):
    shown = grouped(records, {"f": (1.0, 0.97, 1.02, 90), "m": (None, None, None, None)})
    assert [row.slice for row in shown.stories[0].forests[0].rows] == ["every case", "subgroup sex.f"]


def test_bins_what_was_predicted_beside_what_came():
    random = np.random.default_rng(1)
    chance = random.random(2000)
    labels = (random.random(2000) < chance).astype(int)
    sure = np.stack([1 - chance, chance], axis=1)
    flat = np.full((2000, 2), 0.5)
    value = reliability(sure, flat, labels, ("no", "yes"), 1)
    assert value.event == "yes"
    assert [each.cases for each in value.original] == [200] * 10
    assert all(abs(each.observed - each.predicted) < 0.1 for each in value.original)
    assert value.candidate == (ReliabilityBin(2000, 0.5, int(labels.sum())),)
    top = reliability(sure, flat, labels, ("no", "yes"), None)
    assert top.event == "the class that is decided for"
    assert top.original[0].predicted >= 0.5
    assert reliability(sure[:0], flat[:0], labels[:0], ("no", "yes"), 1) is None


BINS = st.lists(
    st.tuples(st.integers(1, 40), st.floats(0, 1)).flatmap(
        lambda pair: st.builds(ReliabilityBin, st.just(pair[0]), st.just(pair[1]), st.integers(0, pair[0]))
    ),
    max_size=10,
)


@given(BINS, st.integers(1, 9))
def test_never_shows_a_bin_of_few_cases_of_a_kind_and_loses_no_row(bins, least):
    shown = without_small_bins(Reliability("ill", tuple(bins), ()), least).original
    for each in shown:
        for count in (each.cases, each.events, each.cases - each.events):
            assert count == 0 or count >= least
    if shown:
        assert sum(each.cases for each in shown) == sum(each.cases for each in bins)
        assert sum(each.events for each in shown) == sum(each.events for each in bins)
        mean = sum(each.cases * each.predicted for each in bins)
        assert sum(each.cases * each.predicted for each in shown) == pytest.approx(mean)


def test_shows_no_small_bin_in_any_file_of_the_report(records, tmp_path):
    made = copy.deepcopy(records.released())
    bins = [{"cases": 83, "predicted": 0.1, "events": 3}, {"cases": 97, "predicted": 0.812345, "events": 80}]
    value = {"event": "malignant", "original": bins, "candidate": bins}
    made["values"]["reliability"] = {"ort-static": value}
    write_report(made, tmp_path)
    text = "".join(file.read_text("utf-8") for file in tmp_path.iterdir())
    assert "0.812345" not in text
    assert '"cases":180' in text.replace(" ", "")
    assert "Reliability of ort-static and the original" in html_text(page(read_record(made)))
