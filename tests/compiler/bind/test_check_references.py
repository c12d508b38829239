"""Where the modules of a recipe are looked for."""

from pathlib import Path

from titrant.compiler.bind.check_references import find_module


def test_looks_in_the_folder_that_is_current_now_and_not_in_the_one_that_was(tmp_path, monkeypatch):
    for name in ("before", "now"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"only_{name}.py").write_text("", "utf-8")
    monkeypatch.chdir(tmp_path / "before")
    assert find_module("only_before", Path()) is not None
    monkeypatch.chdir(tmp_path / "now")
    assert find_module("only_now", Path()).origin == "recipe"
    assert find_module("only_before", Path()) is None


def test_takes_titrants_own_modules_from_titrant(tmp_path):
    (tmp_path / "titrant").mkdir()
    (tmp_path / "titrant" / "recipes.py").write_text("", "utf-8")
    assert find_module("titrant.recipes.models", tmp_path).origin == "environment"
