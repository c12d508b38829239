"""Digests of headers: what large weights are told apart by before anybody reads their values."""

import json
import os
import zipfile

import pytest

from titrant.compiler.facts import cache
from titrant.compiler.facts.cache import LARGE_BYTES, PREFIX, header_digest


def sparse(file, name="w", size=LARGE_BYTES):
    text = json.dumps({name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        opened.truncate(8 + len(text) + size)
    return file


def test_leaves_small_files_to_their_content(tmp_path):
    assert header_digest(sparse(tmp_path / "w.safetensors", size=100)) is None


def test_tells_headers_and_sizes_apart(tmp_path):
    digests = [
        header_digest(sparse(tmp_path / f"{place}.safetensors", name, size))
        for place, (name, size) in enumerate([("w", LARGE_BYTES), ("v", LARGE_BYTES), ("w", LARGE_BYTES + 1)])
    ]
    assert all(digest.startswith(PREFIX) for digest in digests)
    assert len(set(digests)) == 3


def test_does_not_depend_on_values_or_place(tmp_path):
    one, other = sparse(tmp_path / "a.safetensors"), sparse(tmp_path / "b.safetensors")
    with other.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    assert header_digest(one) == header_digest(other)


@pytest.mark.slow
def test_tells_checkpoints_apart_by_their_check_sums(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "LARGE_BYTES", 1 << 20)  # what is no hole takes a second to write
    digests = set()
    for value in (b"\0", b"x"):
        file = tmp_path / f"{value.hex()}.pt"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("w/data.pkl", b"the same")
            archive.writestr("w/data/0", value * cache.LARGE_BYTES)
        digests.add(header_digest(file))
        file.unlink()
    assert len(digests) == 2


def test_has_nothing_to_say_of_a_large_file_that_is_no_archive(tmp_path):
    file = tmp_path / "w.pt"
    with file.open("wb") as opened:
        opened.truncate(LARGE_BYTES)
    assert header_digest(file) is None
    assert header_digest(tmp_path / "gone.pt") is None
