"""The page: escapes what it is given, folds without a script, sorts by numbers, and needs nothing else."""

import re
import sys

import jinja2
import pytest

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.page import write
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn
from titrant.runtime.page.write import page_html, template_environment

TABLE = PageTable(
    (TableColumn("layer"), TableColumn("parameters", numeric=True)),
    (("<b>&", TableCell("1.2 M", 1_200_000, "warn", share=0.5)), ("head", TableCell("10", 10))),
    left_out="… 3 more",
)
PICTURE = ChartPicture('<svg class="chart"><title>a &amp; b</title></svg>', "a & b")
SECTION = PageSection("layers", "Layers <1>", "One & two.", TABLE, (PICTURE,), (PageSection("inner", "Block"),))


def test_escapes_names_and_keeps_pictures():
    page = page_html("net <x>", (SECTION,), brand="titrant inspect")
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;" in page
    assert "net &lt;x&gt;" in page
    assert PICTURE.svg in page


def test_folds_inner_sections_without_a_script():
    page = page_html("net", (SECTION,), brand="titrant inspect")
    assert re.search(r'<details id="inner">\s*<summary[^>]*>Block</summary>', page)


def test_sorts_by_the_number_and_not_by_its_words():
    page = page_html("net", (SECTION,), brand="titrant inspect")
    assert 'data-sort="1200000"' in page
    assert "… 3 more" in page
    assert "--share: 0.5000" in page


def test_loads_nothing_from_elsewhere():
    page = page_html("net", (SECTION,), brand="titrant inspect")
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!#)', page)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "ASSETS", tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "a.jinja").write_text("<b>{{ name }}</b>", "utf-8")
    return tmp_path


def filled(folder):
    return template_environment((folder,)).get_template("a.jinja").render(name="<x>")


def test_compiles_a_template_once_until_it_changes(folder, monkeypatch):
    assert filled(folder) == "<b>&lt;x&gt;</b>"
    compiled = []
    compiling = jinja2.Environment.compile
    monkeypatch.setattr(
        jinja2.Environment, "compile", lambda *given, **named: compiled.append(given) or compiling(*given, **named)
    )
    assert filled(folder) == "<b>&lt;x&gt;</b>"
    assert not compiled
    (folder / "a.jinja").write_text("<i>{{ name }}</i>", "utf-8")
    assert filled(folder) == "<i>&lt;x&gt;</i>"
    assert len(compiled) == 1


@pytest.mark.parametrize("unwritten", ["no rights", "not wanted"])
def test_fills_in_templates_where_what_they_compile_to_cannot_be_kept(folder, monkeypatch, unwritten):
    if unwritten == "no rights":
        monkeypatch.setattr(write.os, "access", lambda *_: False)
    else:
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert filled(folder) == "<b>&lt;x&gt;</b>"
    assert [path.name for path in folder.iterdir()] == ["a.jinja"]
