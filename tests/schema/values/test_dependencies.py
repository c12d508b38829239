"""What stands for a dependency: a file, a folder, a package, a variable, or whether something is there."""

from importlib.metadata import version

import pytest

from titrant.schema.values.dependencies import MISSING, current_digest, dependency_path, relocated, shown
from titrant.schema.values.files import digest_bytes


def test_changes_with_what_it_stands_for(tmp_path, monkeypatch):
    def now():
        names = ("rows.csv", "cases/", "presence:flag", "presence:cases", "variable:TOY_ROWS", "nets.py")
        return [current_digest(name, tmp_path) for name in names]

    before = now()
    assert before == [MISSING] * 6
    (tmp_path / "rows.csv").write_text("a")
    (tmp_path / "cases").mkdir()
    (tmp_path / "flag").touch()
    (tmp_path / "nets.py").write_text("x = 1")
    monkeypatch.setenv("TOY_ROWS", "3")
    after = now()
    assert (after[0], after[2], after[3], after[4]) == (digest_bytes(b"a"), "file", "folder", digest_bytes(b"3"))
    (tmp_path / "cases" / "b").touch()
    (tmp_path / "nets").mkdir()
    assert [place for place, digest in enumerate(now()) if digest != after[place]] == [1]
    (tmp_path / "nets" / "__init__.py").touch()  # a package comes before a module
    assert [place for place, digest in enumerate(now()) if digest != after[place]] == [1, 5]


def test_stands_for_a_package_by_its_version(tmp_path):
    assert current_digest("package:numpy", tmp_path) == version("numpy")
    assert current_digest("package:no-such-package", tmp_path) == MISSING


@pytest.mark.parametrize(
    ("path", "moved"),
    [
        ("rows.csv", "new/rows.csv"), ("cases/", "new/cases/"), ("presence:flag", "presence:new/flag"),
        ("package:numpy", "package:numpy"), ("variable:ROWS", "variable:ROWS"),
    ],
)  # fmt: skip
def test_is_moved_by_its_path_where_it_has_one(path, moved):
    assert relocated(path, lambda place: f"new/{place}") == moved


def test_names_a_variable_as_what_it_is_and_a_path_within_the_folder_as_it_is_there(tmp_path):
    assert (shown("variable:ROWS"), shown("nets.py")) == ("environment variable ROWS", "nets.py")
    assert dependency_path(f"{tmp_path}/a/b/", tmp_path) == "a/b/"
    assert dependency_path("/elsewhere/a", tmp_path) == "/elsewhere/a"
