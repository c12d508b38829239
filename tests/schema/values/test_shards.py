"""Shards of weights: an index names the files beside it, or says why it is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.schema.values.shards import ShardIndexError, index_beside, read_index, shards_of


def index(folder, value, name="model.safetensors.index.json"):
    file = folder / name
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return file


def test_lists_each_file_once(tmp_path):
    places = {"a": "two.bin", "b": "one.bin", "c": "two.bin"}
    file = index(tmp_path, {"metadata": {"total_size": 3}, "weight_map": places})
    assert read_index(file) == places
    assert shards_of(file) == (tmp_path / "one.bin", tmp_path / "two.bin")
    assert shards_of(tmp_path / "model.safetensors") == ()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "weight_map"),
        ({"weight_map": {}}, "weight_map"),
        ({"weight_map": {"a": 3}}, "weight_map"),
        ({"weight_map": {"a": "../w.bin"}}, "beside its index"),
        ({"weight_map": {"a": "/etc/passwd"}}, "beside its index"),
        ({"weight_map": {"a": ".."}}, "beside its index"),
        ({"weight_map": {"a": ""}}, "beside its index"),
    ],
)
def test_says_why_a_file_is_no_index(tmp_path, value, why):
    with pytest.raises(ShardIndexError, match=why):
        read_index(index(tmp_path, value))


def test_says_that_a_file_cannot_be_read(tmp_path):
    with pytest.raises(ShardIndexError, match="cannot be read"):
        read_index(tmp_path / "gone.index.json")


@given(st.binary(max_size=60))
def test_never_fails_otherwise_on_any_bytes(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "w.index.json"
    file.write_bytes(content)
    with pytest.raises(ShardIndexError):
        read_index(file)


def test_finds_the_index_that_a_shard_belongs_to(tmp_path):
    file = index(tmp_path, {})
    assert index_beside(tmp_path / "model-00001-of-00003.safetensors") == file
    for name in ("model.safetensors", "other-00001-of-00003.safetensors", "model-of-3.safetensors", "a-1-of-2"):
        assert index_beside(tmp_path / name) is None
