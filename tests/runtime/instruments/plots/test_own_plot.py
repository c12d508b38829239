"""What a plot of the user's own returns is shown as a picture or as numbers, and can do nothing else."""

import base64
import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch  # noqa: TID253

import titrant
from titrant.runtime.instruments.plots.clean_svg import clean_svg, svg_size
from titrant.runtime.instruments.plots.own_plot import MOST_BYTES, drawn
from titrant.schema.diagnostics.diagnostics import StepError

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 20 10"'
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def plot(answer):
    return drawn("figures:one", "One", answer)


def test_takes_pictures_figures_texts_and_bytes():
    pyplot = pytest.importorskip("matplotlib.figure")
    figure = pyplot.Figure(figsize=(2, 1))
    axes = figure.subplots()
    for answer in (
        figure,
        axes,
        titrant.plots.compare({"a": {"x": 1}}),
        f"{HEAD}/>",
        '<svg width="20px" height="10"/>',
    ):
        shown = plot(answer)
        assert ElementTree.fromstring(shown.svg).tag.endswith("svg")
        assert (shown.width > 0, shown.png, shown.failed) == (True, "", "")
    assert (plot(PNG).width, plot(PNG).height, base64.b64decode(plot(PNG).png)) == (1, 1, PNG)
    assert (plot(f"{HEAD}/>").width, plot(f"{HEAD}/>").height) == (20, 10)


def test_takes_numbers():
    shown = plot({"a": np.float32(1.5), "b": torch.tensor(2), "nan": math.nan, 3: True})
    assert shown.numbers == {"a": 1.5, "b": 2.0, "nan": None, "3": 1.0}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "it returns a NoneType"),
        ([1, 2], "it returns a list"),
        (b"GIF89a", "it returns a bytes"),
        ("loss: 3", "it is not well formed"),
        ("<html/>", "its first element is not svg"),
        (f"{HEAD}>", "it is not well formed"),
        ('<!DOCTYPE svg [<!ENTITY a "aaaa">]><svg>&a;</svg>', "defines entities"),
        (f"{HEAD}>{' ' * MOST_BYTES}</svg>", "and 1,048,576 can be shown"),
        (PNG + b" " * MOST_BYTES, "and 1,048,576 can be shown"),
        ({"x": "fast"}, "it returns a str under 'x', and no number"),
        ({"x": [1, 2]}, "it returns a list under 'x'"),
        ({str(number): 1 for number in range(201)}, "it returns 201 numbers"),
    ],
)
def test_refuses_what_a_report_cannot_show(answer, words):
    with pytest.raises(StepError, match=words) as refused:
        plot(answer)
    assert refused.value.diagnostics[0].code == "X693"


@pytest.mark.parametrize(
    "inside",
    [
        "<script>run()</script>",
        "<foreignObject><div xmlns='http://www.w3.org/1999/xhtml'>run</div></foreignObject>",
        "<rect onclick='run()'/>",
        "<rect ONLOAD='run()'/>",
        "<a href='javascript:run()'><rect/></a>",
        "<image href='http://run/x.png'/>",
        "<image xlink:href='//run/x.png'/>",
        "<image href='data:image/svg+xml;base64,run'/>",
        "<use href='run.svg#a'/>",
        "<style>@import url(run.css);</style>",
        "<rect style='fill: url(http://run/)'/>",
        "<rect fill=\"url( 'http://run/')\"/>",
        "<animate attributeName='href' to='javascript:run()'/>",
        "<set attributeName='onclick' to='run()'/>",
        "<?xml-stylesheet href='run.css'?>",
        "<x:script xmlns:x='http://www.w3.org/2000/svg'>run()</x:script>",
        "<iframe xmlns='http://www.w3.org/1999/xhtml' src='run'/>",
    ],
)
def test_takes_out_what_runs_or_reads_elsewhere(inside):
    assert "run" not in clean_svg(f"{HEAD}>{inside}</svg>")


def test_keeps_what_draws():
    inside = '<style>.a { fill: red }</style><g class="a" id="b"><path d="M0 0h1"/></g>'
    inside += '<use href="#b"/><rect fill="url(#g)"/>'
    cleaned = clean_svg(
        f'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x">{HEAD}>{inside}</svg>'
    )
    assert [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(cleaned).iter()] == [
        "svg", "style", "g", "path", "use", "rect",
    ]  # fmt: skip
    assert all(part in cleaned for part in ('href="#b"', 'fill="url(#g)"', 'd="M0 0h1"', 'class="a"'))
    assert "fill: red" in cleaned


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('viewBox="0 0 30 40"', (30, 40)),
        ('viewBox="0,0,30,40" width="3"', (30, 40)),
        ('width="30pt" height="40px"', (30, 40)),
        ('width="100%"', (640, 400)),
        ('viewBox="0 0 0 0"', (640, 400)),
        ("", (640, 400)),
    ],
)
def test_finds_the_size_of_a_picture(attributes, size):
    assert svg_size(f"<svg {attributes}/>") == size
