"""The codes of a recipe's mistakes: each that is used can be explained, and each that is explained is used."""

import re
from pathlib import Path

import pytest

from titrant.schema.codes.recipe import CODES
from titrant.schema.diagnostics import RecipeError
from titrant.schema.source import parse

ROOM = Path(__file__).parents[2] / "schema"
BASE = (Path(__file__).parent / "mistakes" / "base.yaml").read_text("utf-8")
# Their examples are command lines, other files or encodings; their own tests are in test_source.py.
ELSEWHERE = {"R001", "R002", "R003", "R009", "R010", "R023", "R024", "R028"}


def used():
    files = [file for file in ROOM.rglob("*.py") if file.parent.name != "codes"]
    return {code for file in files for code in re.findall(r'"(R0\d\d)"', file.read_text("utf-8"))}


def test_explains_exactly_the_codes_that_are_used():
    assert sorted(used()) == [one.code for one in CODES]


def whole(example):
    """Put the lines of an example in place of the same sections of base.yaml."""
    keys = {match for match in re.findall(r"^(\w+):", example, re.M)}
    kept = [line for line in re.split(r"\n(?=\w)", BASE.strip()) if line.split(":")[0] not in keys]
    return "\n".join([*kept, example]) + "\n"


@pytest.mark.parametrize("code", [one for one in CODES if one.code not in ELSEWHERE], ids=lambda one: one.code)
def test_shows_a_wrong_example_that_has_this_mistake(code):
    with pytest.raises(RecipeError) as caught:
        parse(whole(code.wrong), "x.yaml", folder=Path())
    assert code.code in {one.code for one in caught.value.diagnostics}


@pytest.mark.parametrize("code", [one for one in CODES if one.code not in ELSEWHERE], ids=lambda one: one.code)
def test_shows_a_right_example_without_this_mistake(code):
    try:
        parse(whole(code.right), "x.yaml", folder=Path())
    except RecipeError as error:
        assert code.code not in {one.code for one in error.diagnostics}
