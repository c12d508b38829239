"""Heat maps and groups of bars: well formed, no number lost, readable at one place and at many."""

import math
import re
from xml.etree import ElementTree

import pytest

from titrant.runtime.charts.curve_panels import CurvePanel, curve_panels
from titrant.runtime.charts.grouped_bars import BarGroup, grouped_bars
from titrant.runtime.charts.heat_map import HeatMap, HeatMaps, heat_maps


def chart(size, count=1, value=lambda row, column: (row + column) % 7 / 7, **more):
    labels = tuple(f"token {place}" for place in range(size))
    maps = tuple(
        HeatMap(f"head {number}", [[value(row, column) for column in range(size)] for row in range(size)])
        for number in range(count)
    )
    return HeatMaps("A & <b>", maps, labels, labels, "from", "to", **more)


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("text")]


@pytest.mark.parametrize(("size", "every"), [(1, 1), (12, 1), (128, 5)])
def test_labels_as_many_places_as_have_room(size, every):
    found = texts(heat_maps(chart(size), "map"))
    assert [label for label in found if label and label.startswith("token")] == [
        f"token {place}" for place in range(0, size, every)
    ] * 2


def test_draws_every_cell_once_in_a_shade_of_its_own():
    svg = heat_maps(chart(9, value=lambda row, column: float(row == column)), "map")
    drawn = re.findall(r'class="heat" fill-opacity="1.00" d="([^"]*)"', svg)
    assert len(re.findall("M", drawn[0])) == 9
    assert len(re.findall("<title>token", svg)) == 81


def test_gives_what_is_no_number_a_color_of_its_own():
    svg = heat_maps(chart(3, value=lambda row, column: math.nan if row == 1 else 0.5), "map")
    assert re.findall(r'class="heat-none" d="([^"]*)"', svg) == ["M0 1h3v1h-3z"]
    assert "nan" in svg  # its number, to a pointer


@pytest.mark.parametrize("count", [2, 12, 64])
def test_draws_several_maps_on_one_scale(count):
    svg = heat_maps(chart(4, count, notes=("a note",)), "maps")
    assert texts(svg).count("head 1") == 1
    assert {"a note", "downwards: from; across: to", "0.857"} <= set(texts(svg))


def test_stays_small_at_128_places():
    assert len(heat_maps(chart(128), "map")) < 300_000


def test_draws_bars_from_zero_and_says_every_number():
    groups = (
        BarGroup("gain", {"a": -2.0, "b": 1.0, "c": None}),
        BarGroup("size", {"a": 3e6, "b": math.nan}, {"a": "3 MB"}),
    )
    svg = grouped_bars("Compared", groups, ("a", "b", "c"), "bars")
    assert [text for text in texts(svg) if text not in ("a", "b", "c")] == [
        "Compared", "gain", "-2", "1", "–", "size", "3 MB", "NaN", "–",
    ]  # fmt: skip
    bars = re.findall(r'x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="12"', svg)
    (left, long), (zero, short) = [tuple(map(float, bar)) for bar in bars[:2]]
    assert left + long == pytest.approx(zero, abs=0.2)
    assert long == pytest.approx(2 * short, abs=0.3)


def test_leaves_gaps_where_there_is_no_number():
    panel = CurvePanel("loss", {"train": [3.0, 2.0, math.nan, 1.0, 0.5], "tuning": [math.inf, 2.5]})
    svg = curve_panels("Curves", [panel], "curves")
    lines = re.findall(r'<polyline class="path way0" points="([^"]*)"', svg)
    assert [len(points.split()) for points in lines] == [2, 2]
    assert "left out: 2 NaN or infinite" in texts(svg)


def test_says_what_a_logarithm_leaves_out():
    svg = curve_panels("Curves", [CurvePanel("loss", {"loss": [1.0, 0.0, -1.0, 0.01]}, log=True)], "curves")
    assert {"loss (logarithmic)", "left out: 2 not above 0"} <= set(texts(svg))


@pytest.mark.parametrize("values", [[], [1.0], [math.nan], [0.0, 0.0], [1e-30, 1e30], list(range(100_000))])
@pytest.mark.parametrize("log", [False, True])
def test_draws_lists_of_any_length(values, log):
    svg = curve_panels("Curves", [CurvePanel("x", {"x": values}, log=log)] * 3, "curves")
    ElementTree.fromstring(svg)
    assert len(svg) < 60_000
    assert "nan" not in svg.replace("NaN", "")
