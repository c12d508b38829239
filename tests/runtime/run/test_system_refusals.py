"""What the system refuses while a run goes on is one line with its code, wherever it comes from."""

import errno
import os

import pytest

from titrant.runtime.store.home import disk_errors, home_to_read, open_home
from titrant.runtime.worker.parent import Worker
from titrant.schema.diagnostics.diagnostics import InfeasibleError, RecipeError, StepError


@pytest.mark.parametrize("part", ["runs", "results", "unfinished", "."])
def test_says_which_part_of_the_home_went_away(toy, make_plan, part, tmp_path):
    def take_away(event):
        if event["event"] == "measured" and event["step"] == "load":
            # At once: of a folder that is removed file by file, what a worker writes meanwhile is left.
            (toy.home.path / part).rename(tmp_path / "elsewhere")

    with pytest.raises(StepError) as raised:
        toy.run(make_plan((1,)), hear=take_away)
    (found,) = raised.value.diagnostics
    assert (found.code, str(toy.home.path) in found.message) == ("X304", True)


@pytest.mark.parametrize("name", ["elsewhere", "home2/store"])
def test_takes_no_other_missing_file_for_a_part_of_the_home(tmp_path, name):
    home = open_home(tmp_path / "home")
    with pytest.raises(FileNotFoundError), disk_errors(home):
        (tmp_path / name / "x").read_bytes()


def test_starts_no_worker_where_too_few_files_may_be_open(toy, monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda which: (12, 12))
    with pytest.raises(InfeasibleError, match="X305: this process may open 12 files at once, and titrant needs 64"):
        Worker(toy.home, toy.folder, 1, 1).ask({"do": "inspect", "seed": 1, "steps": []})
    assert list(toy.home.unfinished.iterdir()) == list(toy.home.locks.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_says_that_no_more_files_may_be_opened(toy, number):
    with pytest.raises(StepError, match="X305"), disk_errors(toy.home):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("find", [open_home, home_to_read])
def test_refuses_a_home_whose_name_is_not_utf8(tmp_path, find):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(RecipeError, match="X303: the name of the home"):
        find(place)
    assert not place.exists()
