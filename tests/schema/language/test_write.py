"""Writing YAML."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from titrant.schema.config.values import json_types
from titrant.schema.language.spans import Origin
from titrant.schema.language.write import dump, flow, update
from titrant.schema.language.yaml_source import split_lines
from titrant.schema.language.yaml_tree import compose, plain_value

TEXT = """\
# A recipe.
titrant: 1  # the version
name: 'demo'
train:
  epochs: 3   # few

  optimizer: sgd
export: [{format: onnx}]
"""


def test_quotes_text_that_would_be_something_else():
    text = dump({"a": "no", "b": "1e5", "c": "true", "d": "", "e": "0o7", "f": "2024-01-01", "g": "<<", "h": "plain"})
    assert 'b: "1e5"' in text
    assert "h: plain" in text
    assert 'd: ""' in text


def test_keeps_comments_order_and_quotes_when_a_value_changes():
    text = update(TEXT, {("train", "epochs"): 5})
    assert text == TEXT.replace("epochs: 3", "epochs: 5")


def test_adds_what_is_missing():
    text = update(TEXT, {("target", "threads"): 2, ("export", 0, "opset"): 17})
    assert "target:\n  threads: 2\n" in text
    assert "export: [{format: onnx, opset: 17}]\n" in text
    assert text.startswith("# A recipe.\n")


def test_refuses_a_text_that_is_no_mapping():
    with pytest.raises(ValueError, match="not a mapping"):
        update("- a\n", {("a",): 1})


SCALARS = st.text(max_size=12) | st.integers(-9, 9) | st.booleans()


@settings(max_examples=60, deadline=None)
@example("\n")
@example(["a\nb", "a\u2028b"])
@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3)))
def test_writes_values_in_one_line_that_stand_between_brackets(value):
    text = f"a: {{b: {flow(value)}}}  # and more\n"
    assert text.count("\n") == 1
    root, found = compose(text, Origin("x", Path(), split_lines(text)))
    assert [one for one in found if one.code != "R004"] == []  # an escape that is seen
    assert json_types(plain_value(root)) == {"a": {"b": value}}
