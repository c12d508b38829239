"""Older recipes, rewritten with everything else in its place."""

from pathlib import Path

import pytest

from titrant.schema.diagnostics import RecipeError
from titrant.schema.migrations import migrate
from titrant.schema.source import parse

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
    ("text", "words"), [("name: x\n", "does not say"), ("titrant: 9\n", "language 9"), ("a: [", "not closed")]
)
def test_refuses_what_it_does_not_know(text, words):
    with pytest.raises(RecipeError, match=words):
        migrate(text, "x.yaml")
