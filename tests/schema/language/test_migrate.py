"""Older recipes, rewritten with everything else in its place."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.migrate import migrate
from titrant.schema.language.parse import parse

DRAFT = """\
# A recipe of the draft.
titrant: 0   # the version
name: 'demo'
optimization_level: balanced  # how far
task: binary_classification
model: {factory: "my_models:Net"}
data:
    source: {csv: rows.csv}
    label: outcome
    split:
        train: 0.5      # fits

        validation: 0.2
        test: 0.3
train: {epochs: 3}
target: {max_latency_ms: 5, max_size_mb: 1.5}
validation: {accuracy_retention: 97, safety: 99.5} # percent
quantization:
    exclude:
    - "head"
"""
PRESENT = """\
# A recipe of the draft.
titrant: 1   # the version
name: 'demo'
level: balanced  # how far
task: binary_classification
model: {factory: "my_models:Net"}
data:
    source: {csv: rows.csv}
    label: outcome
    split:
        train: 0.5      # fits

        tuning: 0.2
        evaluation: 0.3
train: {epochs: 3}
target: {latency: {p95: 5 ms}, size: 1.5 MB}
validation: {retention: 0.97, safety: 0.995} # percent
quantization:
    skip:
    - "head"
"""


def test_rewrites_a_draft_and_keeps_comments_order_and_quotes():
    assert migrate(DRAFT, "x.yaml").text == PRESENT


def test_gives_a_recipe_that_parses():
    recipe = parse(migrate(DRAFT, "x.yaml").text, "x.yaml", folder=Path()).recipe
    assert (recipe.target.size, recipe.validation.retention) == (1_500_000, 0.97)


def test_says_what_it_changed():
    changes = migrate(DRAFT, "x.yaml").changes
    assert "`validation.accuracy_retention: 97` (percent) is `0.97`" in changes
    assert "`data.split.test` is `evaluation`" in changes
    assert changes[-1] == "`titrant` is 1"


def test_changes_nothing_twice():
    once = migrate(DRAFT, "x.yaml")
    again = migrate(once.text, "x.yaml")
    assert (again.text, again.changes) == (once.text, ())


def test_keeps_windows_lines():
    text = DRAFT.replace("\n", "\r\n")
    assert migrate(text, "x.yaml").text == PRESENT.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\n", "does not say"),
        ("titrant: 9\n", "language 9"),
        ("titrant: -1\n", "whole number: 0, 1"),
        ('titrant: "0"\n', "whole number: 0, 1"),
        ("a: [", "not closed"),
    ],
)
def test_refuses_what_it_does_not_know(text, words):
    with pytest.raises(RecipeError, match=words):
        migrate(text, "x.yaml")


def test_leaves_what_is_no_number_or_already_there(tmp_path):
    text = "titrant: 0\nvalidation: {safety: true, retention: none}\ntarget: {max_size_mb: 5, size: 4 MB}\n"
    assert migrate(text, "x.yaml").text == text.replace("titrant: 0", "titrant: 1")


def test_changes_keys_that_go_over_several_lines():
    text = 'titrant: 0\n? "optimization_\\\n  level"\n: balanced\n'
    assert migrate(text, "x.yaml").text == "titrant: 1\n? level\n: balanced\n"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_is_idempotent_and_changes_only_what_it_says(data):
    text = DRAFT
    for _ in range(data.draw(st.integers(0, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = min(len(text), begin + data.draw(st.integers(0, 8)))
        text = text[:begin] + data.draw(st.text("ab0123456789:{}[]-#'\",. \n", max_size=4)) + text[end:]
    try:
        once = migrate(text, "x.yaml")
    except RecipeError:
        return
    again = migrate(once.text, "x.yaml")
    assert (again.text, again.changes) == (once.text, ())
    # Comments, and lines that hold no key of the draft, are as they were.
    assert [line for line in once.text.split("\n") if line.lstrip().startswith("#")] == [
        line for line in text.split("\n") if line.lstrip().startswith("#")
    ]
    assert once.text.count("\n") == text.count("\n")


@pytest.mark.parametrize(("written", "means"), [("1e3", "1000"), ("+5.0", "5.0"), (".5", "0.5"), ("2.", "2")])
def test_writes_numbers_as_a_unit_can_follow_them(written, means):
    found = migrate(f"titrant: 0\ntarget: {{max_size_mb: {written}}}\n", "x.yaml")
    assert f"target: {{size: {means} MB}}" in found.text
