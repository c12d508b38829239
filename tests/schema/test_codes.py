"""Diagnostic codes: what is raised is explained, what is explained is raised."""

import re
from pathlib import Path

from titrant.schema.codes import all_codes

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("schema", "compiler", "runtime", "src/titrant")


def used():
    """Collect the codes in the source text, outside the tables that explain them."""
    found = set()
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            if "codes" not in file.relative_to(ROOT).parts:
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
