"""What `titrant show schema` says of keys that a later version brings."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.api.show import LATER, recipe_schema
from titrant.compiler.bind.availability import does_nothing_yet, later_keys, later_of

SCHEMA = recipe_schema()


def at(path):
    node = SCHEMA
    for part in path:
        while "$ref" in node or "properties" not in node:
            inner = node.get("$ref") or next(one["$ref"] for one in node.get("anyOf", ()) if "$ref" in one)
            node = SCHEMA["$defs"][inner.rpartition("/")[2]]
        node = node["properties"][part]
    return node


@pytest.mark.parametrize("path", ["search.sampler"])
def test_says_that_an_active_default_does_nothing_yet(path):
    said = at(path.split("."))
    assert said["description"].endswith(f"({LATER})")
    assert "default" not in said


def test_leaves_a_key_that_works_as_it_is():
    said = at(("reproducibility", "deterministic"))
    assert (said["default"], LATER in said["description"]) == (True, False)
    layout = at(("memory", "layout"))
    assert (layout["default"], LATER in layout["description"]) == ("auto", False)
    assert at(("train", "accumulate"))["default"] == 1  # later, and what its default says is so


@given(st.sampled_from(sorted(later_keys())), st.lists(st.sampled_from(("a", "pattern", "mode")), max_size=2))
def test_knows_what_lies_under_a_key_of_a_later_version(pattern, below):
    path = (*("name" if part == "*" else part for part in pattern), *below)
    key, harmless = later_of(path)
    assert harmless == later_keys()[pattern]
    assert len(key) == len(pattern)
    for default in harmless:
        assert below or default == "auto" or not does_nothing_yet(path, default)
    assert does_nothing_yet(path, "auto")


def test_prints_it():
    printed = subprocess.run([sys.executable, "-m", "titrant", "show", "schema"], capture_output=True, check=True)
    assert json.loads(printed.stdout) == json.loads(json.dumps(SCHEMA))
