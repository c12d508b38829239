"""Diagnostics as text and JSON."""

import json

from titrant.schema.diagnostics.diagnostics import Diagnostic, Place
from titrant.schema.diagnostics.render import as_json, render


def test_keeps_to_a_hundred_columns():
    place = Place("x.yaml", 3, 150, 6, "a" * 149 + "b" * 6 + "c" * 200, "key")
    text = render(Diagnostic("R014", "word " * 60, place, "help " * 60))
    assert max(map(len, text.split("\n"))) <= 100


def test_shows_the_token_of_a_long_line():
    place = Place("x.yaml", 3, 150, 6, "a" * 149 + "b" * 6 + "c" * 200)
    *_, line, caret = render(Diagnostic("R014", "wrong", place)).split("\n")
    begin = caret.index("^")
    assert line[begin : begin + 6] == "bbbbbb"
    assert caret[begin:] == "^^^^^^"


def test_puts_the_caret_under_the_token_after_wide_letters():
    place = Place("x.yaml", 1, 6, 2, "日本: ab")
    *_, line, caret = render(Diagnostic("R014", "wrong", Place("x.yaml", 1, 5, 2, "日本: ab"))).split("\n")
    # Two wide letters take four columns of a terminal, and so the caret stands two further right than in the text.
    assert caret.index("^") == line.index("ab") + 2
    assert place.width == 2


def test_shows_a_tab_as_one_space():
    *_, line, caret = render(Diagnostic("R006", "tab", Place("x.yaml", 1, 1, 1, "\ta: 1"))).split("\n")
    assert line == " 1 |  a: 1"
    assert caret == "   | ^"


def test_marks_the_end_of_a_line():
    *_, caret = render(Diagnostic("R005", "end", Place("x.yaml", 1, 5, 1, "a: 1"))).split("\n")
    assert caret == "   |     ^"


def test_writes_a_diagnostic_without_a_place():
    assert render(Diagnostic("R001", "gone", help="look")) == "error[R001]: gone\n  help: look"


def test_writes_json_that_an_editor_can_read():
    one = Diagnostic("R012", "unknown", Place("x.yaml", 7, 3, 4, "  blok: 1", "a.blok"), "did you mean `block`?")
    assert json.loads(json.dumps(as_json(one))) == {
        "code": "R012",
        "severity": "error",
        "message": "unknown",
        "help": "did you mean `block`?",
        "where": {"file": "x.yaml", "line": 7, "column": 3, "width": 4, "key": "a.blok", "text": "  blok: 1"},
    }
