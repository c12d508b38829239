"""A chart by itself: one file that needs nothing else, well formed, in its own colors."""

from xml.etree import ElementTree

import pytest

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.series import Curve, curve
from titrant.schema.diagnostics.diagnostics import RecipeError

DRAWN = ChartPicture(curve(Curve("Loss & <more>", {"loss": [3.0, 2.0, 1.5]}), "loss"), "Loss & <more>")


def test_saves_a_well_formed_picture_with_its_own_colors(tmp_path):
    file = DRAWN.save(tmp_path / "loss.svg")
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in file.read_text(encoding="utf-8")
    assert "var(" not in file.read_text(encoding="utf-8")
    assert DRAWN._repr_svg_() == file.read_text(encoding="utf-8")


def test_saves_a_page_that_reads_nothing_else(tmp_path):
    text = DRAWN.save(str(tmp_path / "loss.html")).read_text(encoding="utf-8")
    assert "<title>Loss &amp; &lt;more&gt;</title>" in text
    assert "http" not in text


@pytest.mark.parametrize("name", ["loss", "loss.bmp"])
def test_refuses_a_form_that_no_picture_has(tmp_path, name):
    with pytest.raises(RecipeError) as refused:
        DRAWN.save(tmp_path / name)
    assert refused.value.diagnostics[0].code == "X662"
    assert not list(tmp_path.iterdir())
