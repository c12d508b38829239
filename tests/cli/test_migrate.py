"""`titrant migrate`: in place, whole or not at all, and nothing under --check."""

import os
import stat

import pytest

from titrant.cli.main import main

DRAFT = "# kept\ntitrant: 0  # old\nname: 'demo'\noptimization_level: balanced\n"
PRESENT = "# kept\ntitrant: 1  # old\nname: 'demo'\nlevel: balanced\n"


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "old.yaml").write_text(DRAFT)
    return tmp_path / "old.yaml"


def test_rewrites_in_place_and_says_what_it_changed(recipe, capsys):
    assert main(["migrate", str(recipe)]) == 0
    assert recipe.read_text() == PRESENT
    assert capsys.readouterr().out == (
        f"{recipe}: rewritten\n  `optimization_level` is `level`\n  `titrant` is 1\n"
    )  # fmt: skip
    before = recipe.stat()
    assert main(["migrate", str(recipe)]) == 0
    assert capsys.readouterr().out == f"{recipe}: up to date\n"
    assert (recipe.stat().st_ino, recipe.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_writes_nothing_under_check_and_exits_6(recipe, capsys):
    assert main(["migrate", "--check", str(recipe)]) == 6
    assert "out of date; `titrant migrate` would change\n  `optimization_level` is `level`" in capsys.readouterr().out
    assert recipe.read_text() == DRAFT
    recipe.write_text(PRESENT)
    assert main(["migrate", "--check", str(recipe)]) == 0


def test_goes_through_many_files_whatever_is_wrong_with_one(recipe, tmp_path, capsys):
    (tmp_path / "newer.yaml").write_text("titrant: 9\n")
    other = tmp_path / "other.yaml"
    other.write_text(DRAFT)
    assert main(["migrate", str(recipe), str(tmp_path / "newer.yaml"), str(other)]) == 2
    assert (recipe.read_text(), other.read_text()) == (PRESENT, PRESENT)
    assert "install a titrant that speaks language 9" in capsys.readouterr().err


def test_keeps_permissions_links_line_ends_and_the_byte_order_mark(tmp_path):
    real = tmp_path / "real.yaml"
    real.write_bytes(b"\xef\xbb\xbf" + DRAFT.replace("\n", "\r\n").encode())
    real.chmod(0o640)
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    assert main(["migrate", str(tmp_path / "link.yaml")]) == 0
    assert (tmp_path / "link.yaml").is_symlink()
    assert real.read_bytes() == b"\xef\xbb\xbf" + PRESENT.replace("\n", "\r\n").encode()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "real.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_says_that_it_may_not_write(recipe, capsys):
    recipe.parent.chmod(0o500)
    assert main(["migrate", str(recipe)]) == 2
    recipe.parent.chmod(0o700)
    assert "cannot be rewritten: permission denied" in capsys.readouterr().err
    assert recipe.read_text() == DRAFT
