import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.home import open_home
from titrant.runtime.store.tensor_difference import stored_difference, tensor_difference
from titrant.schema.record import Artifact


@pytest.fixture
def folder(tmp_path):
    def make(name, **tensors):
        place = tmp_path / name
        place.mkdir()
        save_file(tensors, place / "weights.safetensors")
        return place

    return make


def test_finds_the_tensor_that_is_furthest_off_by_its_own_scale(folder):
    old = folder("old", large=np.array([100.0, 50.0]), small=np.array([0.5, 1.0]), same=np.arange(3))
    new = folder("new", large=np.array([101.0, 50.0]), small=np.array([0.5, 0.9]), same=np.arange(3))
    found = tensor_difference(old, new)
    assert found.tensor == "weights.safetensors: small"
    assert found.relative == pytest.approx(0.1)
    assert found.absolute == pytest.approx(0.1)
    assert (found.differing, found.compared) == (2, 3)


def test_says_what_is_no_number(folder):
    old = folder("old", a=np.zeros(2), b=np.zeros(2))
    new = folder("new", a=np.zeros(3), c=np.zeros(2))
    found = tensor_difference(old, new)
    assert found.absolute is None
    assert "only the recorded weights.safetensors has b" in found.note
    assert "shape (2,) and (3,)" in found.note
    (old / "about.json").write_text(json.dumps({"name": "one", "n": 1}))
    (new / "about.json").write_text(json.dumps({"name": "two", "n": 1}))
    assert "about.json differs outside its numbers" in tensor_difference(old, new).note


def test_measures_numbers_in_json_and_what_is_not_finite(folder):
    old, new = folder("old", a=np.array([1.0])), folder("new", a=np.array([np.nan]))
    (old / "value.json").write_text(json.dumps({"deep": [{"loss": 2.0}]}))
    (new / "value.json").write_text(json.dumps({"deep": [{"loss": 1.0}]}))
    found = tensor_difference(old, new)
    assert (found.tensor, found.relative) == ("value.json: deep[0].loss", 0.5)
    assert "not finite" in found.note


def test_compares_artifacts_of_a_store_and_says_when_one_is_gone(tmp_path):
    store = Store(open_home(tmp_path / "home"))
    one, two = store.put("value", {"x": 1.0}), store.put("value", {"x": 4.0})
    assert stored_difference(store, one, two, tmp_path / "scratch").relative == 0.75
    gone = Artifact("value", "0" * 64, 1)
    assert "not in this home's store" in stored_difference(store, gone, two, tmp_path / "other").note
