"""Folders for work in progress: swept when the process that made them is gone, left alone while it runs."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.runtime.store.home import host, open_home, row_key
from titrant.runtime.store.locks import sweep, unfinished_folder

PURPOSES = ("put", "worker", "clean", "bench")
DAY = 86_400.0
# In another process: hold a folder until told to let go.
HOLD = """
import sys
from pathlib import Path
from titrant.runtime.store.home import Home
from titrant.runtime.store.locks import unfinished_folder
with unfinished_folder(Home(Path(sys.argv[1])), sys.argv[2]) as folder:
    (folder / "value.json").write_text("{")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


def holder(home, purpose="put"):
    """Start a process that writes in a folder; return it and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.path), purpose], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, home.unfinished / os.path.basename(process.stdout.readline().strip())  # noqa: PTH119


def left_by(home, pid):
    """Make what an earlier version left, which held no lock."""
    folder = home.unfinished / f"put-{host()}-{pid}-abcdefgh"
    folder.mkdir()
    (folder / "value.json").write_text("{")
    return folder


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.sampled_from(PURPOSES), st.floats(-400 * DAY, 400 * DAY), st.booleans())
def test_leaves_what_a_running_process_makes_whatever_the_clock_says(home, purpose, seconds, inside):
    with unfinished_folder(home, purpose) as folder:
        if inside:
            (folder / "value.json").write_text("{")
        then = folder.stat().st_mtime + seconds
        os.utime(folder, (then, then))
        sweep(home)
        assert folder.is_dir()
    assert not folder.exists()
    assert list(home.locks.iterdir()) == []


def test_leaves_what_another_process_makes_though_the_clock_was_set(home):
    process, folder = holder(home)
    os.utime(folder, (0, 0))
    sweep(home)
    assert folder.is_dir()
    process.communicate("")
    assert not folder.exists()


def test_leaves_what_another_machine_makes(home):
    folder = home.unfinished / "put-elsewhere-1-abcdefgh"
    folder.mkdir()
    sweep(home)
    assert folder.is_dir()


@pytest.mark.parametrize("waited_for", [True, False])
def test_removes_what_a_killed_process_left(home, waited_for):
    process, folder = holder(home)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    if waited_for:
        process.wait()
    sweep(home)
    assert not folder.exists()
    assert list(home.locks.iterdir()) == []
    process.communicate()


def test_removes_what_was_left_without_a_lock_even_where_a_process_has_its_number(home):
    folder = left_by(home, os.getpid())
    sweep(home)
    assert not folder.exists()


def test_gives_the_folder_back_where_somebody_removed_it_meanwhile(home):
    with unfinished_folder(home, "put") as folder:
        shutil.rmtree(folder)
    assert list(home.unfinished.iterdir()) == []


def test_keeps_one_key_for_the_names_of_rows_to_its_owner(tmp_path):
    home = open_home(tmp_path / "home")
    key = row_key(home)
    assert len(key) == 32
    assert row_key(home) == key
    assert stat.S_IMODE((home.path / "row.key").stat().st_mode) == 0o600
    assert list(home.unfinished.iterdir()) == []
    assert row_key(open_home(tmp_path / "other")) != key


def test_makes_a_key_anew_that_a_crash_cut_short(tmp_path):
    home = open_home(tmp_path / "home")
    (home.path / "row.key").write_bytes(b"short")
    assert len(row_key(home)) == 32


def test_agrees_on_one_key_where_several_begin_at_once(tmp_path):
    home = open_home(tmp_path / "home")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: row_key(home), range(32)))
    assert len(keys) == 1
