"""Diagnostic codes: what is raised is explained, what is explained is raised."""

import re
from importlib import resources
from pathlib import Path

import pytest

from titrant.schema.diagnostics.diagnostics import all_codes

ROOT = Path(__file__).parents[3]
FOLDERS = ("schema", "compiler", "runtime", "src/titrant")


def used():
    """Collect the codes in the source text."""
    found = set()
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            found |= set(re.findall(r'"([RPX]\d{3})"', file.read_text("utf-8")))
    return found


def test_explains_every_code_that_is_raised():
    assert sorted(used() - set(all_codes())) == []


def test_raises_every_code_that_is_explained():
    assert sorted(set(all_codes()) - used()) == []


def test_says_something_about_each():
    for code in all_codes().values():
        assert code.title
        assert code.explanation.endswith((".", "`"))


def test_refuses_a_code_that_stands_twice(tmp_path, monkeypatch):
    twice = "R001: {title: A, explanation: B.}\nR001: {title: C, explanation: D.}\n"
    (tmp_path / "codes.yaml").write_text(twice, "utf-8")
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="R001 stands twice"):
        all_codes.__wrapped__()
