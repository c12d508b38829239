"""Files in a step's parameters are what was planned with before and after the step, and nothing else meanwhile."""

import pytest

from titrant.runtime.worker.given_files import GivenFiles
from titrant.schema.diagnostics.diagnostics import StaleError
from titrant.schema.values.files import digest_file


@pytest.fixture
def given(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("a\n1\n")
    return file, {"sources": {"source": {"csv": {"path": str(file), "digest": digest_file(file)}}}}


def put(file, text):
    """Put another file in the place of one, as editors do."""
    beside = file.with_name("beside")
    beside.write_text(text)
    beside.replace(file)


def test_takes_a_file_that_stayed_as_it_was(given):
    _, params = given
    files = GivenFiles()
    files.check_still(params, files.check(params))


def test_refuses_a_file_that_is_another_one_afterwards(given):
    file, params = given
    files = GivenFiles()
    states = files.check(params)
    put(file, "a\n2\n")
    with pytest.raises(StaleError, match=r"rows\.csv changed while a step read it"):
        files.check_still(params, states)


def test_refuses_a_file_that_was_another_one_for_a_while(given):
    """It holds again what was planned with, but nobody knows what the step read."""
    file, params = given
    files = GivenFiles()
    states = files.check(params)
    put(file, "a\n2\n")
    put(file, "a\n1\n")
    assert files.check(params)
    with pytest.raises(StaleError, match=r"rows\.csv changed while a step read it"):
        files.check_still(params, states)


def test_refuses_a_file_that_is_gone_afterwards(given):
    file, params = given
    files = GivenFiles()
    states = files.check(params)
    file.unlink()
    with pytest.raises(StaleError, match="X350"):
        files.check_still(params, states)


def test_refuses_a_folder_in_which_a_file_was_another_one_for_a_while(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"one")
    lines = f"1.png\0{digest_file(folder / '1.png')}\n"
    (tmp_path / "lines").write_text(lines)
    params = {"folder": {"path": str(folder), "digest": digest_file(tmp_path / "lines")}}
    files = GivenFiles()
    states = files.check(params)
    files.check_still(params, states)
    put(folder / "1.png", "two")
    put(folder / "1.png", "one")
    with pytest.raises(StaleError, match="images changed while a step read it"):
        files.check_still(params, states)
