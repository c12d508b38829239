"""Charts drawn by hand: everything stays inside the picture, better is upwards, and no library is loaded for one."""

import re
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import titrant
from titrant.runtime.charts.scatter import Mark, Scatter, scatter_svg
from titrant.runtime.charts.series import Curve, Line, curve, latency, throughput
from titrant.runtime.charts.svg import Scale, scale, spread

NUMBERS = st.floats(1e-7, 1e7, allow_nan=False)
SIGNED = st.one_of(NUMBERS, NUMBERS.map(lambda value: -value), st.just(0.0))


def numbers(svg):
    assert "nan" not in svg
    assert "inf" not in svg
    return [float(value) for value in re.findall(r' (?:x|y|cx|cy|x1|x2|y1|y2)="(-?[\d.]+)"', svg)]


def drawn(chart):
    return scatter_svg(chart, "test")


def chart(marks, asked=None, *, less=False):
    return Scatter("t", tuple(marks), "x", "y", str, str, asked, less)


def places(svg):
    """The centers of the numbered marks, in their order."""
    found = re.findall(r'<text class="number-in" x="([\d.]+)" y="([\d.]+)">', svg)
    return [(float(x), float(y)) for x, y in found]


@given(st.lists(SIGNED, min_size=1, max_size=12), st.sampled_from([None, True, False]))
def test_holds_every_value_and_only_ticks_inside(values, log):
    along = scale(values, 10, 110, log=log)
    assert along.low < along.high
    assert all(10 - 1e-6 <= along.at(value) <= 110 + 1e-6 for value in values)
    ticks = along.ticks()
    room = 1e-9 * max(abs(along.low), abs(along.high))
    assert all(along.low - room <= tick <= along.high + room for tick in ticks)
    assert len(set(ticks)) == len(ticks) <= 12


def test_steps_by_round_numbers():
    assert Scale(0.0, 1.0, 0, 100).ticks() == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert Scale(5e-6, 3e-5, 0, 100, log=True).ticks() == (5e-6, 7e-6, 1e-5, 2e-5, 3e-5)
    assert Scale(1.0, 100.0, 0, 100, log=True).at(10.0) == pytest.approx(50)


MARKS = st.lists(
    st.builds(Mark, st.just("a"), NUMBERS, SIGNED, st.sampled_from(["reference", "plain", "other"]), st.booleans()),
    min_size=1,
    max_size=14,
)


@settings(max_examples=40)
@given(MARKS, st.one_of(st.none(), SIGNED), st.booleans())
def test_draws_every_point_inside_the_picture(marks, asked, less):
    svg = drawn(chart(marks, asked, less=less))
    assert svg.count('class="number-in"') == len(marks)
    assert svg.count('class="ring"') == sum(mark.chosen for mark in marks)
    assert all(-25 <= number <= 665 for number in numbers(svg))


@pytest.mark.parametrize("less", [False, True])
def test_draws_better_further_up_and_faster_further_left(less):
    marks = [Mark("bad", 2e-5, 0.9 if less else 0.5), Mark("good", 1e-5, 0.5 if less else 0.9)]
    (bad, good) = places(drawn(chart(marks, less=less)))
    assert good[1] < bad[1]
    assert good[0] < bad[0]


@pytest.mark.parametrize("less", [False, True])
def test_shades_what_misses_the_threshold(less):
    svg = drawn(chart([Mark("a", 1.0, 0.9), Mark("b", 2.0, 0.5)], 0.7, less=less))
    top, height = map(
        float, re.search(r'class="missed" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', svg).groups()
    )
    missed = [top <= y <= top + height for _, y in places(svg)]
    assert missed == ([True, False] if less else [False, True])


def test_points_down_at_what_lies_far_below_and_keeps_the_rest_apart():
    marks = [Mark("a", 1.0, 0.98), Mark("b", 2.0, 0.97), Mark("broken", 3.0, 0.04)]
    svg = drawn(chart(marks, 0.95))
    assert svg.count("↓") == 1
    a, b, _ = places(svg)
    assert b[1] - a[1] > 20


def test_moves_numbers_apart_that_would_stand_on_each_other():
    found = places(drawn(chart([Mark(str(place), 1e-5 * (1 + 1e-4 * place), 0.98) for place in range(6)])))
    apart = [((x - u) ** 2 + (y - v) ** 2) ** 0.5 for (x, y), (u, v) in combinations(found, 2)]
    assert min(apart) > 15


@given(st.lists(st.floats(-1e3, 1e3), max_size=10), st.floats(0.1, 50))
def test_spreads_labels_without_changing_their_order(positions, least):
    moved = spread(positions, least)
    order = sorted(range(len(positions)), key=lambda place: positions[place])
    steps = [moved[after] - moved[before] for before, after in pairwise(order)]
    assert all(step >= least - 1e-9 for step in steps)


def test_names_lines_at_their_ends_and_for_a_screen_reader():
    lines = [Line("original", {1: 6e-5, 32: 3e-4}, "reference"), Line("a<b>", {1: 1e-5, 32: 4e-5}, "chosen")]
    for svg in (latency(lines), throughput(lines)):
        assert "a&lt;b&gt;" in svg
        assert svg.count('class="series-name') == 2
        assert re.search(r"<desc [^>]*>original; a&lt;b&gt;</desc>", svg)


def test_marks_the_epoch_that_was_kept():
    svg = curve(
        Curve("Loss", {"train rows": [0.7, 0.4], "tuning rows": [0.8, 0.5]}, mark=2, mark_words="dashed: 2"), "c"
    )
    assert 'class="mark-line"' in svg
    assert "epoch (dashed: 2)" in svg
    assert svg.count('class="path way') == 2


def test_loads_no_library_to_draw():
    folder = Path(titrant.__file__).parent / "runtime"
    files = {path.name for path in folder.rglob("*.py") if "matplotlib" in path.read_text("utf-8")}
    # Its folder of settings is named, and what a plot of the user's own returns may be its figure: no one loads it.
    assert files == {"user_code.py", "own_plot.py", "clean_svg.py", "plots.py"}
    assert not [
        path for path in folder.rglob("*.py") if re.search(r"(import|from) matplotlib", path.read_text("utf-8"))
    ]
