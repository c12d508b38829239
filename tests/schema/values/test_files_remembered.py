"""A remembered answer that was damaged is no answer: it is asked for anew."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.schema.values.canonical import canonical_json, sha256
from titrant.schema.values.files import remember, remembered

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
FACTS = {"model": {"inputs": [{"name": "x", "shape": ["batch", 4]}], "bytes": 120}, "dependencies": [], "parts": ["a"]}


def places(value, way=()):
    """Yield the way to every part of a value."""
    yield way
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from places(inner, (*way, name))


@SHARED
@given(data=st.data(), other=JSON)
def test_takes_no_answer_of_which_any_part_was_changed(tmp_path, data, other):
    remember(place := tmp_path / "facts.json", FACTS)
    damaged = json.loads(place.read_bytes())
    way = data.draw(st.sampled_from([way for way in places(FACTS) if way]))
    inner = damaged
    for part in way[:-1]:
        inner = inner[part]
    if data.draw(st.booleans()) and isinstance(inner, dict):
        del inner[way[-1]]
    else:
        inner[way[-1]] = other
    place.write_text(json.dumps(damaged))
    assert remembered(place) in ({}, FACTS)
    if json.dumps(damaged, sort_keys=True) != json.dumps({**FACTS, "sealed": damaged["sealed"]}, sort_keys=True):
        assert remembered(place) == {}


@SHARED
@given(length=st.integers(0, 400))
def test_takes_no_answer_that_was_cut(tmp_path, length):
    remember(place := tmp_path / "facts.json", FACTS)
    whole = place.read_bytes()
    place.write_bytes(whole[:length])
    assert remembered(place) == (FACTS if length >= len(whole) else {})


@SHARED
@given(answer=st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_reads_back_what_it_wrote_and_what_earlier_versions_did(tmp_path, answer):
    remember(place := tmp_path / "facts.json", answer)
    assert remembered(place) == answer
    place.write_text(json.dumps(FACTS))
    assert remembered(place) == FACTS


def test_returns_an_answer_as_it_will_be_read_back(tmp_path):
    answer = {"z": [{"b": 1, "a": (2,)}], "a": None}
    kept = remember(place := tmp_path / "facts.json", answer)
    assert kept == remembered(place) == {"a": None, "z": [{"a": [2], "b": 1}]}
    assert list(kept) == ["a", "z"]
    written = json.loads(place.read_text())
    assert place.read_text() == canonical_json(written)
    assert written["sealed"] == sha256(kept)
