"""Files of a run that somebody changed after it are named."""

import json

import pytest

from titrant.runtime.rerun.check import tampered
from titrant.schema.values.files import digest_bytes


@pytest.fixture
def released(tmp_path):
    def make(name, data=b"model", artifact="a"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.onnx").write_bytes(data)
        about = {"files": {"model.onnx": digest_bytes(data)}, "models": [{"file": "model.onnx", "artifact": artifact}]}
        (folder / "titrant.json").write_text(json.dumps(about))
        return folder

    return make


def test_finds_nothing_in_what_is_as_it_was(released):
    assert tampered(released("old"), released("new")) == []


def test_names_a_file_that_is_not_what_the_manifest_says(released):
    old = released("old")
    (old / "model.onnx").write_bytes(b"other")
    assert tampered(old, released("new")) == ["model.onnx"]
    (old / "model.onnx").unlink()
    assert tampered(old, released("other")) == ["model.onnx"]


def test_is_not_fooled_by_a_manifest_that_was_changed_too(released):
    assert tampered(released("old", b"other"), released("new")) == ["model.onnx"]


def test_leaves_another_artifact_to_the_comparison_of_steps(released):
    assert tampered(released("old", b"other", artifact="b"), released("new")) == []


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_names_a_manifest_that_is_gone_or_damaged(released, text):
    old = released("old")
    (old / "titrant.json").unlink()
    if text is not None:
        (old / "titrant.json").write_text(text)
    assert tampered(old, released("new")) == ["titrant.json"]
