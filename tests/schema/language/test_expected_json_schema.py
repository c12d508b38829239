"""JSON Schema for editors: it agrees with the parser on what each key may hold."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.expected import recipe_schema
from titrant.schema.language.parse import parse
from titrant.schema.language.spans import Origin
from titrant.schema.language.yaml_source import split_lines
from titrant.schema.language.yaml_tree import compose, plain_value

HERE = Path(__file__).parents[1]
BASE = (HERE / "mistakes" / "base.yaml").read_text("utf-8")
FULL = (HERE / "full.yaml").read_text("utf-8")
SCHEMA = recipe_schema()
# What ties keys together, and what is no question of shape.
BEYOND = {"R020", "R021", "R022", "R027"}


@cache
def validator():
    from jsonschema import Draft202012Validator  # a second to load, in those workers alone that need it

    return Draft202012Validator(SCHEMA)


def value_of(text):
    root, found = compose(text, Origin("x", Path(), split_lines(text)))
    assert root is not None
    assert not found
    return json.loads(json.dumps(plain_value(root)))


def codes_of(text):
    try:
        parse(text, "x", folder=Path())
    except RecipeError as error:
        return {one.code for one in error.diagnostics}
    return set()


def test_is_a_schema():
    type(validator()).check_schema(SCHEMA)


@pytest.mark.parametrize("text", [BASE, FULL], ids=["base", "full"])
def test_accepts_recipes(text):
    assert [error.message for error in validator().iter_errors(value_of(text))] == []


def test_describes_every_key():
    models = [SCHEMA, *SCHEMA["$defs"].values()]
    keys = [(key, found) for model in models for key, found in model.get("properties", {}).items()]
    assert len(keys) > 150
    # A transform's options stand under its name, which needs no words of its own.
    assert [key for key, found in keys if "description" not in found and "$ref" not in found] == []


def refused():
    for file in ("keys", "values", "shapes"):
        for block in (HERE / "mistakes" / f"{file}.txt").read_text("utf-8").split("## ")[1:]:
            title, _, rest = block.partition("\n")
            given, _, wanted = rest.partition("\n>>\n")
            line, _, replacement = given.removeprefix("@@ ").partition("\n")
            text = BASE.replace(f"{line}\n", f"{replacement}\n" if replacement else "")
            by_itself = not set(re.findall(r"^error\[(R\d+)\]", wanted, re.M)) & (BEYOND | {"R007"})
            # `8.0` is a whole number to JSON; a percentage might be a source's name.
            beyond = ("[a, b]: 1", "2027-02-30", "bits: 8.0", "epochs: 30.0", "train: 60%")
            if by_itself and not any(piece in text for piece in beyond):
                yield f"{file}: {title}", text


def test_refuses_what_the_parser_refuses():
    cases = list(refused())
    assert len(cases) > 100
    assert [title for title, text in cases if validator().is_valid(value_of(text))] == []


# Not 1.0: to JSON Schema it is an integer, to a recipe it is not.
PIECES = st.sampled_from("""
none|auto|0.5|1|0|-1|8|97|true|text|"0.5"|5 ms|2 KiB|[]|{}|[1, 2]|[a]|{a: 1}|a:b|onnx|{kept: 0.9}|{at_least: 0.9}|
accuracy|m:N|[{format: onnx}]|2027-01-31|1.5|{low: 1, high: 2}|balanced|all|class x|subgroup a.b|standardize|null|
[standardize, {impute: {}}]|[batch, 3]|{threshold: 0.5}|2 s|{train: 0.5}|{csv: x}|{minutes: 1}|{}|cuda:0|
0.4 B|1.5 B|0.001 KiB|0.0009 KB
""".replace("\n", "").split("|"))  # fmt: skip


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
def test_agrees_with_the_parser_on_recipes_with_one_other_value(data):
    lines = FULL.split("\n")
    places = [
        (number, match) for number, line in enumerate(lines) for match in re.finditer(r"(?<=: )[^][{},:\"]+", line)
    ]
    number, match = data.draw(st.sampled_from(places))
    lines[number] = lines[number][: match.start()] + data.draw(PIECES) + lines[number][match.end() :]
    text = "\n".join(lines)
    codes = codes_of(text)
    assume(not codes & (BEYOND | {"R005", "R026"}))
    assert validator().is_valid(value_of(text)) == (not codes)
