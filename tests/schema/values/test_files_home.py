"""Where titrant keeps what it makes."""

from pathlib import Path

import pytest

from titrant.schema.values.files import home_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", ".titrant"), ("a/b", "a/b"), ("/a", "/a"), ("~nobody-of-this-name/x", "~nobody-of-this-name/x")],
)
def test_is_absolute_and_made_by_nobody(tmp_path, monkeypatch, given, expected):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TITRANT_HOME", given)
    assert home_path() == tmp_path / expected
    assert list(tmp_path.iterdir()) == []


def test_follows_the_users_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TITRANT_HOME", "~/kept")
    assert home_path() == Path(tmp_path / "kept")
