"""Weights & Biases: as strict as recipe and environment, under an id of the run's own, for a user's loop too."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import titrant
from titrant.runtime.store.run_folder import RECORD
from titrant.runtime.trackers import wandb as tracking
from titrant.runtime.trackers.tracker import TrackedRun
from titrant.runtime.trackers.wandb import MODES, TrackingMode, has_login, mode_here, open_wandb, own_id

VARIABLES = ("WANDB_MODE", "WANDB_DISABLED", "WANDB_API_KEY", "WANDB_DIR", "WANDB_BASE_URL", "WANDB_RUN_ID")
BY_TITRANT = ("ERROR_REPORTING", "SILENT", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR")


@pytest.fixture(autouse=True)
def _nobody_logged_in(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in BY_TITRANT:
        monkeypatch.setenv(f"WANDB_{name}", "x")  # so that what is set beside a run goes with the test
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@given(st.sampled_from(MODES), st.sampled_from(["", *MODES, "dryrun", "run", "OFFLINE", "shared", "nonsense"]),
       st.booleans(), st.booleans())  # fmt: skip
def test_lets_the_environment_only_be_stricter(asked, mode, disabled, key):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", mode)
        patch.setenv("WANDB_DISABLED", "true" if disabled else "")
        patch.setenv("WANDB_API_KEY", "k" * 40 if key else "")
        left = mode_here(asked)
    assert MODES.index(left.mode) >= MODES.index(asked)
    assert (left.mode == asked) == (left.because == "")
    meant = {"dryrun": "offline", "run": "online"}.get(mode.lower(), mode.lower())
    if disabled:
        assert left.mode == "disabled"
    elif meant in MODES:
        assert MODES.index(left.mode) >= MODES.index(meant)
    if not key:
        assert left.mode != "online"


def test_takes_a_key_in_the_environment_or_a_login_of_the_very_server(monkeypatch, tmp_path):
    assert mode_here("online") == TrackingMode("offline", "nobody is logged in: set WANDB_API_KEY, or: wandb login")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert mode_here("online") == TrackingMode("online")
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password p\n")
    assert has_login()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example:8443/x")
    assert not has_login()
    (tmp_path / "netrc").write_text("machine wandb.example login user password p\n")
    assert has_login()


def run_in(folder, name):
    (folder / name).mkdir(parents=True)
    return TrackedRun(name, "x", folder / name, folder, {"plan": "0123456789abcdef"})


def test_has_an_id_of_the_runs_own(tmp_path):
    assert own_id(run_in(tmp_path, "20270101T000000Z-x.y-01234567")) == "20270101T000000Z-x-y-01234567"


def ended(run, *, record=False, process=0):
    """Leave a run as one that ended: with its record, or killed."""
    place = run.own / "wandb.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "process": process}))
    if record:
        (run.folder / RECORD).write_text("{}")


def test_goes_on_under_the_id_of_a_run_that_was_killed_and_once_only(tmp_path):
    first, second, third, other = (
        run_in(tmp_path, f"2027010{day}T000000Z-x-{plan}")
        for day, plan in ((1, "01234567"), (2, "01234567"), (3, "01234567"), (2, "89abcdef"))
    )
    identity = own_id(first)
    ended(first, process=2**22 + 1)  # no process has such a number
    assert own_id(other) == other.run
    assert own_id(second) == identity
    (second.own / "wandb.json").unlink()
    assert own_id(second) == second.run, "the id of the first is taken"
    ended(second, record=True)
    assert own_id(third) == third.run


def test_leaves_a_run_that_is_still_under_way_its_id(tmp_path):
    first, second = (run_in(tmp_path, f"2027010{day}T000000Z-x-01234567") for day in (1, 2))
    own_id(first)
    ended(first, process=os.getpid())
    assert own_id(second) == second.run


def test_does_nothing_where_it_is_disabled(tmp_path, monkeypatch):
    run = run_in(tmp_path, "20270101T000000Z-x-01234567")
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it would fail
    asked = {"project": "p", "mode": "disabled", "entity": "", "group": "", "tags": []}
    tracker = open_wandb(run, asked)
    assert (tracker.mode, tracker.where) == ("disabled", "")
    assert list(run.folder.iterdir()) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert titrant.initialize_wandb("p", mode="disabled") is False
        monkeypatch.setenv("WANDB_MODE", "disabled")
        assert titrant.initialize_wandb("p", mode="online") is False


def test_says_in_one_warning_why_a_users_loop_is_not_tracked(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match=r"this is not tracked: TrackerError: nothing can be written in") as caught:
        assert titrant.initialize_wandb("p", folder=tmp_path / "elsewhere") is False
    assert len(caught) == 1
    assert not (tmp_path / "elsewhere").exists()


LOOP = """
import titrant
first = titrant.initialize_wandb("demo", mode="online", config={"rate": 0.1}, tags=["t"])
import wandb
own = wandb.run.id
again = titrant.initialize_wandb("other")
wandb.log({"loss": 0.5})
print(first, again, own == wandb.run.id, wandb.run.settings.mode, wandb.run.project)
wandb.finish()
print(titrant.initialize_wandb("demo"), wandb.run.id != own)
wandb.finish()
"""


def test_tracks_a_users_loop_without_asking_or_leaving_anything_elsewhere(tmp_path):
    """In a process of its own, as wandb starts another that lives as long; nobody is logged in."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-c", LOOP], cwd=here, env={**environment, "TMPDIR": str(here), "PYTHONPATH": source()},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["True True True offline demo", "True True"]
    assert list(home.iterdir()) == []
    assert [path.name for path in here.iterdir()] == ["wandb"]
    kept = b"".join(path.read_bytes() for path in here.rglob("run-*.wandb"))
    assert b"loss" in kept
    assert all(word.encode() not in kept for word in (os.uname().nodename + ".", str(tmp_path), "requirements.txt"))


def source():
    return os.pathsep.join(filter(None, (str(Path(titrant.__file__).parents[1]), os.environ.get("PYTHONPATH", ""))))


@pytest.mark.parametrize(
    ("written", "is_whole"), [(b"..titrant/closed..", True), (b"..titrant/ended..", True), (b"..titrant/clo", False)]
)
def test_sees_that_wandb_lost_the_end_of_its_file(tmp_path, monkeypatch, written, is_whole):
    """wandb says nothing of a full disk: what is written last is looked for."""
    monkeypatch.setattr(tracking, "_STILL_SECONDS", 0.0)
    (tmp_path / "run.wandb").write_bytes(written)
    assert tracking._is_whole(tmp_path / "run.wandb") is is_whole
    assert not tracking._is_whole(tmp_path / "none.wandb")
