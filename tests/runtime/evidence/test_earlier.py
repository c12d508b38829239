"""The change is from the last release before a run; one that can no longer be read is named, and fails nothing."""

import json
import shutil

import pytest

from titrant.runtime.evidence.earlier import earlier_of, last_release
from titrant.runtime.evidence.pack import make_pack
from titrant.runtime.store.home import Home

NAME = "breast-cancer"
STAMPS = ("20260102T030405Z", "20260103T030405Z", "20260104T030405Z", "20260105T030405Z")


@pytest.fixture
def home(records, run_folder, tmp_path):
    """A home with four runs of one recipe: a release, one that failed, one of another recipe, a release."""
    endings = (records.released(), records.failed(), records.released(), records.released())
    for stamp, ending in zip(STAMPS, endings, strict=True):
        made = run_folder(ending, tmp_path / stamp)
        name = "other" if stamp == STAMPS[2] else NAME
        folder = tmp_path / "home" / "runs" / f"{stamp}-{name}-01234567"
        shutil.copytree(made, folder)
        recorded = json.loads((folder / "record.json").read_text("utf-8"))
        (folder / "record.json").write_text(json.dumps({**recorded, "run": folder.name, "name": name}), "utf-8")
    return Home(tmp_path / "home")


def run(home, place):
    return next(path for path in home.runs.iterdir() if path.name.startswith(STAMPS[place]))


def test_finds_the_last_release_of_the_recipe_before_a_run(home):
    assert last_release(home, run(home, 3), NAME) == run(home, 0)
    assert last_release(home, run(home, 1), NAME) == run(home, 0)
    assert last_release(home, run(home, 0), NAME) is None
    assert earlier_of(home, run(home, 0)) is None


def test_names_a_release_that_cannot_be_read(home):
    (run(home, 0) / "report.json").unlink()
    found = earlier_of(home, run(home, 3))
    assert found.run.run == run(home, 0).name
    assert "report.json" in found.unreadable
    make_pack(run(home, 3), ("changes",), found)
    text = (run(home, 3) / "evidence" / "changes.md").read_text("utf-8")
    assert "cannot be told" in text
    assert "report.json" in text


def test_compares_two_runs_that_are_alike(home):
    found = earlier_of(home, run(home, 3))
    assert found.unreadable == ""
    make_pack(run(home, 3), ("changes",), found)
    text = (run(home, 3) / "evidence" / "changes.md").read_text("utf-8")
    assert run(home, 0).name in text
