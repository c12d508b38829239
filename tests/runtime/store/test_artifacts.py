"""Artifacts by content: kept once, verified when read, never used when damaged."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

from titrant.runtime.store.artifacts import DamagedError, Store, identify_value
from titrant.runtime.store.home import open_home
from titrant.runtime.values import Outputs
from titrant.schema.values.files import digest_bytes


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


def blob(home, digest):
    return home.store / "blake3" / digest[:2] / digest


def only_file(store, artifact):
    (found,) = store.manifest(artifact).files.values()
    return found.digest


def test_gives_the_same_artifact_for_the_same_value_and_keeps_it_once(home):
    store = Store(home)
    first, second = store.put("value", {"b": 1, "a": [1, 2]}), store.put("value", {"a": [1, 2], "b": 1})
    assert first == second == identify_value({"a": [1, 2], "b": 1})
    assert sum(path.is_file() for path in (home.store / "blake3").rglob("*")) == 2
    assert list(home.unfinished.iterdir()) == []


def test_reads_back_what_was_put(home, tmp_path):
    outputs = Outputs("tuning", {"z": np.arange(6, dtype="f4").reshape(3, 2), "a": np.ones(3, "f4")})
    artifact = Store(home).put("outputs", outputs)
    found = Store(home).get(artifact, tmp_path / "here")
    assert found.role == "tuning"
    assert list(found.arrays) == ["z", "a"]
    np.testing.assert_array_equal(found.arrays["z"], outputs.arrays["z"])


def test_counts_the_seconds_that_files_took_to_reach_the_disk(home, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("titrant.runtime.store.artifacts.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(os, "fsync", lambda _: clock.append(clock.pop() + 2.0))
    store = Store(home)
    store.put("value", 1)
    assert store.disk_seconds == 4.0  # the value and its manifest
    store.put("value", 1)
    assert store.disk_seconds == 4.0


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "empty"])
def test_never_uses_a_damaged_file(home, tmp_path, damage, same_process):
    store = Store(home)
    artifact = store.put("value", {"a": "x" * 100})
    path = blob(home, only_file(store, artifact))
    data = path.read_bytes()
    path.chmod(0o644)
    if damage == "remove":
        path.unlink()
    else:
        flipped = data[:50] + bytes([data[50] ^ 1]) + data[51:]
        path.write_bytes({"truncate": data[:50], "flip": flipped, "empty": b""}[damage])
    store = store if same_process else Store(home)
    assert not store.has(artifact)
    with pytest.raises(DamagedError):
        store.get(artifact, tmp_path / "here")
    assert store.put("value", {"a": "x" * 100}) == artifact
    assert store.get(artifact, tmp_path / "again") == {"a": "x" * 100}


def test_finds_a_flipped_byte_even_when_the_file_looks_untouched(home, tmp_path):
    store = Store(home)
    artifact = store.put("value", {"a": "x" * 100})
    path = blob(home, only_file(store, artifact))
    times = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DamagedError):
        Store(home).get(artifact, tmp_path / "here")


def test_treats_a_damaged_manifest_as_absent(home):
    store = Store(home)
    artifact = store.put("value", {"a": 1})
    path = blob(home, artifact.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    assert not Store(home).has(artifact)


def test_takes_a_copied_store_whose_times_are_lost(home):
    store = Store(home)
    artifact = store.put("value", {"a": 1})
    for path in (home.store / "blake3").rglob("*"):
        os.utime(path)
    assert Store(home).has(artifact)


def test_gives_copies_that_may_be_written_without_touching_the_store(home, tmp_path):
    store = Store(home)
    artifact = store.put("value", {"a": 1})
    store.materialize(artifact, tmp_path / "copy", copy=True)
    (tmp_path / "copy" / "value.json").write_text("{}")
    assert store.value(artifact) == {"a": 1}


@pytest.mark.parametrize("length", range(0, 21, 4))
def test_ignores_what_a_crash_left_unfinished(home, length):
    """Every prefix of a write lies beside the store until it is whole."""
    store = Store(home)
    data = b'{"a":1234567890123}\n'
    unfinished = home.unfinished / "put-x-1-abc"
    unfinished.mkdir()
    (unfinished / "value.json").write_bytes(data[:length])
    assert not store.has(identify_value({"a": 1234567890123}))
    assert digest_bytes(data) != digest_bytes(data[:length]) or length == len(data)
