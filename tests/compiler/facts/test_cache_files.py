"""File digests: right, remembered, and never believed too early."""

import os
import time

from blake3 import blake3

from titrant.compiler.facts.cache import DigestedFile, FileDigests


def aged(path, seconds=10):
    """Make a file look as if it had been left alone; its ctime is still now."""
    past = time.time() - seconds
    os.utime(path, (past, past))


def test_is_the_blake3_of_the_content(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"abc")
    large.write_bytes(b"x" * (3 << 20))
    digests = FileDigests()
    assert digests.of(small) == blake3(b"abc").hexdigest()
    assert digests.of(large) == blake3(b"x" * (3 << 20)).hexdigest()


def test_does_not_remember_a_file_that_was_just_written(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    aged(file)
    digests = FileDigests(tmp_path / "facts" / "files.json")
    digests.of(file)
    digests.save()
    assert not (tmp_path / "facts").exists()


def test_remembers_a_file_that_was_left_alone(tmp_path, monkeypatch):
    file, memory = tmp_path / "weights", tmp_path / "facts" / "files.json"
    file.write_bytes(b"one")
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr("titrant.compiler.facts.cache.time.time_ns", lambda: later)
    first = FileDigests(memory)
    expected = first.of(file)
    first.save()
    monkeypatch.setattr("titrant.compiler.facts.cache.digest_file", None)  # reading it again would fail
    assert FileDigests(memory).of(file) == expected


def test_sees_a_change_of_a_remembered_file(tmp_path, monkeypatch):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr("titrant.compiler.facts.cache.time.time_ns", lambda: later)
    digests = FileDigests(tmp_path / "files.json")
    before = digests.of(file)
    file.write_bytes(b"two")
    assert digests.of(file) != before


def test_digests_a_folder_by_names_and_content(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder / "cats").mkdir(parents=True)
        (tmp_path / folder / "cats" / "1.png").write_bytes(b"1")
        (tmp_path / folder / "2.png").write_bytes(b"2")
    digests = FileDigests()
    same = digests.of(tmp_path / "a")
    assert same == digests.of(tmp_path / "b")
    (tmp_path / "b" / "2.png").rename(tmp_path / "b" / "3.png")
    assert digests.of(tmp_path / "b") != same


def test_begins_anew_with_a_damaged_memory(tmp_path):
    memory, file = tmp_path / "files.json", tmp_path / "file"
    memory.write_text("{broken")
    file.write_bytes(b"abc")
    assert FileDigests(memory).of(file) == blake3(b"abc").hexdigest()


def test_goes_on_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file where the folder should be")
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr("titrant.compiler.facts.cache.time.time_ns", lambda: later)
    digests = FileDigests(tmp_path / "occupied" / "files.json")
    digests.of(file)
    digests.save()


def test_writes_a_file_as_steps_hold_it(tmp_path):
    assert DigestedFile(tmp_path / "x", "00").as_param() == {"path": str(tmp_path / "x"), "digest": "00"}
