"""Directories: several at once, any number of times, every wrong path named."""

import os

import pytest

from titrant.schema.config.config import ensure_directories
from titrant.schema.diagnostics.diagnostics import RecipeError


def test_makes_several_with_those_above_them_again_and_again(tmp_path):
    for _ in range(2):
        ensure_directories(tmp_path / "a" / "b", tmp_path / "c", str(tmp_path / "d"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c", "d"]


def test_names_every_path_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(RecipeError) as caught:
        ensure_directories(tmp_path / "file" / "x", tmp_path / "ok", tmp_path / "file", tmp_path / "link")
    messages = [one.message for one in caught.value.diagnostics]
    assert messages == [
        f"the directory {tmp_path}/file/x cannot be made: {tmp_path}/file is a file",
        f"the directory {tmp_path}/file cannot be made: {tmp_path}/file is a file",
        f"the directory {tmp_path}/link cannot be made: {tmp_path}/link is a broken link",
    ]
    assert (tmp_path / "ok").is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_says_that_it_may_not_write_there(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RecipeError, match="permission denied"):
        ensure_directories(tmp_path / "locked" / "x")
