"""Runs that write one lock at the same moment keep each other's entries."""

import threading
from dataclasses import replace

import pytest
from filelock import FileLock

from titrant.api import lock
from titrant.api.lock import exclusive
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.lock import Evaluation, HardwareClass, Lock, LockEntry, lock_path, lock_text, read_lock, with_entry

HERE = HardwareClass("linux", "x86_64", "3.11", ("avx2",), (), {})
ENTRY = LockEntry("r", "m", "d", Evaluation("e" * 64, 1), "run", "0", HERE, {}, {}, {}, {}, {})
OTHER = replace(ENTRY, hardware=replace(HERE, machine="aarch64"))


class Run:
    """As much of a plan and a record as the lock's own code looks at."""

    name = "x"
    look = None


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(lock, "entry_of", lambda plan, record, looks: ENTRY)
    return tmp_path / "x.yaml"


def test_finds_what_another_run_entered_while_it_waited(recipe):
    path = lock_path(recipe)
    with FileLock(path.with_name(f".{path.name}.lock")):
        late = threading.Thread(target=lock.write, args=(Run(), Run(), recipe))
        late.start()
        late.join(0.3)
        assert late.is_alive()
        path.write_text(lock_text(with_entry(Lock("x"), OTHER), recipe.name))
    late.join(60)
    assert set(read_lock(path).entries) == {HERE.name, OTHER.hardware.name}
    assert sorted(path.name for path in recipe.parent.iterdir()) == ["x.lock.yaml"]


def test_says_that_a_folder_cannot_be_written(recipe):
    recipe.parent.joinpath("file").touch()
    with pytest.raises(RecipeError, match=r"P095: .*x\.lock\.yaml cannot be written"):
        lock.write(Run(), Run(), recipe.parent / "file" / "x.yaml")


def test_lets_go_of_the_file_when_the_work_fails(recipe):
    with pytest.raises(KeyError), exclusive(recipe):
        raise KeyError
    with exclusive(recipe):
        pass
