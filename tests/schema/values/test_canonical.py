"""What reading JSON back promises: what was written, or a refusal that says where; never something in between."""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from titrant.schema.facts import Bench, DataFacts, Hardware, Layer, ModelFacts
from titrant.schema.gate import Judgement
from titrant.schema.plan import Plan
from titrant.schema.record import RunRecord, StepResult
from titrant.schema.values.canonical import (
    WrongValueError,
    canonical_json,
    indented_json,
    plain,
    read_back,
    without_defaults,
)
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Inner:
    """A part."""

    word: Literal["one", "two"]
    pair: tuple[int, str]


@dataclass(frozen=True)
class Outer:
    """Every kind of field that the records have."""

    number: float
    count: int
    flag: bool
    inner: Inner | None
    items: tuple[Inner, ...]
    table: Mapping[str, Mapping[str, int]]
    either: str | Mapping[str, str]
    shape: tuple[int | str, ...]
    anything: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None


inner = st.builds(Inner, st.sampled_from(["one", "two"]), st.tuples(st.integers(), st.text()))
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.dictionaries(st.text(), st.integers(), max_size=2)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
outer = st.builds(
    Outer,
    number=numbers,
    count=st.integers(-(2**60), 2**60),
    flag=st.booleans(),
    inner=st.none() | inner,
    items=st.lists(inner, max_size=3).map(tuple),
    table=st.dictionaries(st.text(), counts, max_size=2),
    either=st.text() | st.dictionaries(st.text(), st.text(), max_size=2),
    shape=st.lists(st.integers() | st.text(), max_size=3).map(tuple),
    anything=st.dictionaries(st.text(), json_values, max_size=2),
    size=st.none() | st.integers(),
)
adapter = TypeAdapter(Outer)


@given(outer)
def test_gives_back_what_was_written(value):
    assert read_back(Outer, json.loads(canonical_json(value))) == value


@given(outer, st.data())
def test_accepts_and_refuses_what_pydantic_does_in_its_strict_mode(value, data):
    written = plain(value)
    place, parent = written, None
    while isinstance(place, (dict, list)) and place and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        parent, place = (place, key), place[key]
    if parent is not None:
        if data.draw(st.booleans()) and isinstance(parent[0], dict):
            del parent[0][parent[1]]
        else:
            parent[0][parent[1]] = data.draw(json_values)
    try:
        theirs = adapter.validate_json(json.dumps(written), strict=True)
    except ValidationError:
        with pytest.raises(WrongValueError):
            read_back(Outer, written)
    else:
        assert read_back(Outer, written) == theirs


def test_says_where_and_why():
    value = plain(Outer(1.0, 1, True, None, (Inner("one", (1, "a")), Inner("two", (2, "b"))), {}, "x", ()))
    value["items"][1]["pair"][1] = 5
    with pytest.raises(WrongValueError, match=r"^items\.1\.pair\.1: a whole number where text is due$"):
        read_back(Outer, value)
    del value["items"]
    with pytest.raises(WrongValueError, match=r"^items: it is missing$"):
        read_back(Outer, value)


def test_ignores_what_a_newer_version_added():
    assert read_back(Inner, {"word": "one", "pair": [1, "a"], "new": 5}) == Inner("one", (1, "a"))


@pytest.mark.parametrize("kind", [Plan, RunRecord, StepResult, Judgement, Hardware, Bench, ModelFacts, DataFacts])
def test_knows_every_type_that_is_kept_in_files(kind):
    if kind is not Bench:
        with pytest.raises(WrongValueError, match="it is missing"):
            read_back(kind, {})
    with pytest.raises(WrongValueError, match="where a mapping is due"):
        read_back(kind, [])


def test_reads_back_what_was_written_without_its_defaults():
    layers = (Layer("a", "Relu", 0, 0), Layer("b", "Conv", 4, 16, (2, 2), flops=0, groups=2))
    facts = ModelFacts("onnx", "d", 4, 0, 16, layers, (), (), notes=("one",))
    brief = without_defaults(facts)
    assert brief["layers"][0] == {"name": "a", "type": "Relu", "parameters": 0, "weight_bytes": 0}
    assert brief["layers"][1]["flops"] == 0
    assert read_back(ModelFacts, brief) == facts
    assert plain(read_back(ModelFacts, brief)) == plain(facts)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25)
@given(JSON)
def test_indents_what_it_writes_as_json_does(value):
    assert indented_json(value) == json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_writes_no_number_that_json_cannot_hold(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        indented_json({"a": [number]})
