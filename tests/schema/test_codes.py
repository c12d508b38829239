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
    keys = set(re.findall(r"^(\w+):", example, re.M))
    kept = [line for line in re.split(r"\n(?=\w)", BASE.strip()) if line.split(":")[0] not in keys]
    return "\n".join([*kept, example]) + "\n"


def found_in(text):
    try:
        parse(text, "x.yaml", folder=Path())
    except RecipeError as error:
        return {one.code for one in error.diagnostics}
    return set()


@pytest.mark.parametrize("code", [one for one in CODES if one.code not in ELSEWHERE], ids=lambda one: one.code)
def test_shows_a_wrong_example_that_has_this_mistake(code):
    assert code.code in found_in(whole(code.wrong))


@pytest.mark.parametrize("code", [one for one in CODES if one.code not in ELSEWHERE], ids=lambda one: one.code)
def test_shows_a_right_example_without_this_mistake(code):
    assert code.code not in found_in(whole(code.right))
