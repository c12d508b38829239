"""Properties: whatever comes in, a recipe or an error comes out, and what is written reads the same."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.diagnostics.render import as_json, render_all
from titrant.schema.language.parse import parse
from titrant.schema.language.write import dump
from titrant.schema.recipe.recipe import recipe_value, written
from titrant.schema.values.canonical import canonical_json

BASE = (Path(__file__).parents[1] / "mistakes" / "base.yaml").read_text("utf-8")
FULL = (Path(__file__).parents[1] / "full.yaml").read_text("utf-8")
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(text, overrides=()):
    """Parse; an error is rendered too, since that must not fail either."""
    try:
        return parse(text, "x.yaml", folder=Path(), overrides=overrides)
    except RecipeError as error:
        found = error.diagnostics
    assert found
    assert render_all(found)
    assert json.dumps([as_json(one) for one in found])
    return None


@QUIET
@given(st.text())
def test_answers_any_text_with_a_recipe_or_an_error(text):
    outcome(text)


@QUIET
@given(st.data())
def test_answers_a_damaged_recipe_with_a_recipe_or_an_error(data):
    text = data.draw(st.sampled_from([BASE, FULL]))
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = min(len(text), begin + data.draw(st.integers(0, 12)))
        piece = data.draw(
            st.text("abz:{}[]-#'\"&*!|>%@`, \n\t?~.0123456789", max_size=6) | st.just(text[end : end + 20])
        )
        text = text[:begin] + piece + text[end:]
    outcome(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PATHS = """
name task seed model model.args model.inputs model.output data data.source data.sources data.split data.split.train
data.transform data.subgroups data.subgroups.age.values target.latency target.size train.class_weights train.early_stop
train.watch_gradients reduction.pruning quantization.method search.space search.budget memory.guard batching export
export[0] validation.safety validation.bias validation.gates validation.operating_point report.evidence tracking.mlflow
nonsense validation.nonsense
""".split()  # noqa: SIM905 - a list of these would be a page


@QUIET
@given(st.sampled_from(PATHS), values)
def test_answers_any_value_anywhere_with_a_recipe_or_an_error(path, value):
    outcome(BASE, [f"{path}={json.dumps(value)}"])


@QUIET
@given(st.text(max_size=30))
def test_answers_any_flag_with_a_recipe_or_an_error(flag):
    outcome(BASE, [flag])


@QUIET
@given(st.dictionaries(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=12), values))
def test_writes_arguments_that_read_the_same(args):
    text = dump({"args": args})
    recipe = outcome(BASE.replace("  args: {features: 30}\n", "").replace("model:\n", f"model:\n{indented(text)}"))
    if recipe is not None:  # else a text held an invisible character
        assert json.loads(canonical_json(recipe.recipe.model.args)) == json.loads(json.dumps(args))


def indented(text):
    return "".join(f"  {line}\n" for line in text.splitlines())


@pytest.mark.parametrize("text", [BASE, FULL], ids=["base", "full"])
def test_prints_a_recipe_that_parses_to_the_same(text):
    recipe = outcome(text).recipe
    again = outcome(dump(written(recipe))).recipe
    assert again == recipe
    assert recipe_value(again) == recipe_value(recipe)
    assert written(again) == written(recipe)


# The sections of the full recipe, and values that some other key of the language takes.
SECTIONS = re.split(r"^(?=\w)", FULL.partition("\n")[2], flags=re.M)[1:]
PIECES = st.sampled_from("""
none|auto|0.5|1|8|97|true|text|"0.5"|5 ms|2 KiB|[]|{}|[1, 2]|[a]|onnx|a:b|accuracy|2027-01-31|1.5|balanced|all|class x|
standardize|2 s|{kept: 0.9}|1e-7|"1e5"|"no"|"ü # x"|'it''s'|[batch, 3]|{low: 1, high: 2}|{column: c, values: {a: [1]}}
""".replace("\n", "").split("|"))  # fmt: skip


@st.composite
def recipes(draw):
    """Draw a text that is like the full recipe, but for sections left out and other values."""
    needed = ("titrant", "name", "task", "model", "data", "train")
    sections = [one for one in SECTIONS if one.startswith(needed) or draw(st.integers(0, 3))]
    lines = "".join(sections).split("\n")
    for _ in range(draw(st.integers(0, 2))):
        number = draw(st.integers(0, len(lines) - 1))
        if places := list(re.finditer(r"(?<=: )[^][{},:\"]+", lines[number])):
            match = draw(st.sampled_from(places))
            lines[number] = lines[number][: match.start()] + draw(PIECES) + lines[number][match.end() :]
    return "\n".join(lines)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(recipes())
def test_prints_any_recipe_so_that_it_parses_to_the_same_and_has_a_place_for_every_path(text):
    parsed = outcome(text)
    assume(parsed is not None)
    again = outcome(dump(written(parsed.recipe)))
    assert again is not None
    assert again.recipe == parsed.recipe
    assert canonical_json(recipe_value(again.recipe)) == canonical_json(recipe_value(parsed.recipe))
    assert dump(written(again.recipe)) == dump(written(parsed.recipe))
    lines = text.split("\n")
    for path in parsed.source.paths():
        for part in ("key", "value"):
            place = parsed.source.place(path, part)
            assert place.text == lines[place.line - 1]
            assert place.text[place.column - 1 : place.column - 1 + place.width].strip()
        if isinstance(path[-1], str):
            key = parsed.source.place(path)
            assert key.text[key.column - 1 : key.column - 1 + key.width].strip("'\"") == path[-1]
    for section, value in written(parsed.recipe).items():
        keys = value if isinstance(value, dict) else ()
        assert all(parsed.source.has(path) for path in [(section,), *((section, key) for key in keys)])


def test_gives_the_same_value_to_the_same_recipe_in_another_order():
    other = "\n".join(reversed(BASE.replace("\n  ", "\r").strip().split("\n"))).replace("\r", "\n  ")
    assert canonical_json(recipe_value(outcome(other).recipe)) == canonical_json(recipe_value(outcome(BASE).recipe))


def test_has_every_default_in_the_value():
    value = recipe_value(outcome(BASE).recipe)
    assert value["quantization"]["method"] == "auto"
    assert value["target"]["latency"]["p95"] == 0.005
    assert value["train"]["early_stop"] == {"metric": "tuning loss", "patience": 5}
